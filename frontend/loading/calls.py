"""Backend calls off the event loop, whose answers come back as messages."""

import asyncio
from collections.abc import Callable

from textual.dom import DOMNode
from textual.message import Message
from textual.worker import Worker

from backend.errors import CharlieError
from frontend.messages import CallFailed


def ask[Answer](
    reply_to: DOMNode,
    call: Callable[[], Answer],
    answered: Callable[[Answer], Message],
    failed: Callable[[str], Message] = CallFailed,
    *,
    latest_of: str = "",
) -> Worker[None]:
    """Runs the blocking `call` in a thread and posts what comes of it to `reply_to`, which may have closed by then.

    Of calls with the same `latest_of` only the answer to the last one comes back.
    """

    async def asking() -> None:
        try:
            answer = await asyncio.to_thread(call)
        except CharlieError as error:
            reply_to.post_message(failed(str(error)))
        else:
            reply_to.post_message(answered(answer))

    return reply_to.run_worker(
        # Not a coroutine yet: a call that a later one takes the place of may never begin.
        asking,
        group=latest_of or "asked",
        exclusive=bool(latest_of),
        exit_on_error=False,
    )
