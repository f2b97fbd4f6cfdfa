"""Pure: what a server's answer says, made strict; and how many tokens a text has at most."""

import json
import re
from functools import lru_cache
from typing import Any, Final

from jsonschema import Draft202012Validator

from backend.errors import AnswerUnreadable

_FENCED: Final = re.compile(r"```(?:json)?\s*\n(.*?)\n?\s*```", re.DOTALL | re.IGNORECASE)
_THOUGHT_END: Final = "</think>"
_WORD: Final = re.compile(r"[A-Za-z]+")
_BLANK: Final = re.compile(r"(?<=\S) (?=[A-Za-z])")
# Longer runs of letters are keys and addresses, of which a token holds less.
_LONGEST_WORD: Final = 16


def content_of(body: Any) -> str | None:
    """The text of a chat completion; empty when it has none (a thought alone), None when it is no completion."""
    try:
        content = body["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return None
    return content if isinstance(content, str) else "" if content is None else None


def finish_of(body: Any) -> str:
    """Why a chat completion ended: "stop", "length" and others."""
    return str(body["choices"][0].get("finish_reason") or "stop")


def parsed(text: str) -> Any:
    """The JSON value of an answer, or None."""
    try:
        return json.loads(bare(text))
    except (ValueError, RecursionError):
        return None


def bare(text: str) -> str:
    """An answer without the thought before it and the fence round it."""
    text = text.strip()
    # What begins as JSON has no thought before it, and may well spell the mark inside.
    if not text.startswith(("{", "[")) and (text.startswith("<think>") or _THOUGHT_END in text):
        # Many templates open the thought themselves, so that only its end is in the answer.
        text = text.partition(_THOUGHT_END)[2].strip()
    fenced = _FENCED.fullmatch(text)
    return fenced[1].strip() if fenced else text


def checked(text: str, schema: dict[str, Any]) -> str:
    """The JSON of an answer that satisfies `schema`. Raises AnswerUnreadable, without a word of it."""
    value = parsed(text)
    if value is None:
        raise AnswerUnreadable(len(text), "is not JSON")
    if not _validator(json.dumps(schema, sort_keys=True)).is_valid(value):
        raise AnswerUnreadable(len(text), "does not fit its schema")
    return bare(text)


def most_tokens(text: str) -> int:
    """More tokens than a text has by any vocabulary of 32,000 or more, at about one and a half times those of English.

    A word takes a third of its letters, rounded up; every digit, sign and white space is one, but for the blank before
    a word; other scripts and pictures take a token a byte.
    """
    letters = tokens = 0
    for word in _WORD.finditer(text):
        length = word.end() - word.start()
        letters += length
        tokens += -(-length // 3) if length <= _LONGEST_WORD else length
    return tokens + len(text.encode("utf-8", "surrogatepass")) - letters - len(_BLANK.findall(text))


@lru_cache(maxsize=8)
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema))
