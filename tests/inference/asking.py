"""What the tests of inference servers ask."""

from collections.abc import Callable
from typing import Any

from backend.inference.chat import ChatMessage
from backend.inference.remote import RemoteEngine

KEY = "k3y-of-the-person"
MARKER = "Xyzzyqua"
TEXT = "Met Sarah Miller at Cafe Luna in Lisbon after yoga class."
SCHEMA = {
    "type": "object",
    "properties": {"entities": {"type": "array", "items": {"type": "string", "maxLength": 8}, "maxItems": 2}},
    "required": ["entities"],
    "additionalProperties": False,
}
PROMPT = [ChatMessage("system", "Find names."), ChatMessage("user", f"I met {MARKER}.")]

type Connect = Callable[..., RemoteEngine]


def answer(engine: RemoteEngine, **options: Any) -> str:
    """What it says within SCHEMA."""
    return engine.complete(PROMPT, **{"schema": SCHEMA, "max_tokens": 200} | options).text
