"""Backend calls off the event loop, whose answers come back as messages."""

import asyncio
from collections.abc import Callable

from textual.message import Message
from textual.message_pump import MessagePump

from backend.errors import CharlieError
from frontend.messages import CallFailed


async def ask[Answer](
    reply_to: MessagePump,
    call: Callable[[], Answer],
    answered: Callable[[Answer], Message],
    failed: Callable[[str], Message] = CallFailed,
) -> None:
    """Runs the blocking `call` in a thread and posts what comes of it to `reply_to`, which may have closed by then."""
    try:
        answer = await asyncio.to_thread(call)
    except CharlieError as error:
        reply_to.post_message(failed(str(error)))
    else:
        reply_to.post_message(answered(answer))
