"""Renders a conversation with the model's own template, and turns it into tokens."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Never

from jinja2 import Template, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from backend.inference.loader import LoadedModel

# Templates that print the date would change the prompt from day to day, and nothing read before could be reused.
_TODAY: Final = datetime(2025, 1, 1, tzinfo=UTC)
_CHATML: Final = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
_PLAIN: Final = (
    "{% for message in messages %}{{ message.role | capitalize }}: {{ message.content }}\n\n{% endfor %}Assistant: "
)


# Sets of instructions whose tokens are remembered; the application has a handful.
_KEPT_BEGINNINGS: Final = 16

type Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation."""

    role: Role
    content: str


class ChatTemplate:
    """The model's template, or a plain one where the file has none or a broken one."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = _to_json
        environment.globals |= {"raise_exception": _refuse, "strftime_now": _TODAY.strftime}
        self._beginnings: dict[tuple[tuple[ChatMessage, ...], Role], tuple[int, ...]] = {}
        self._bos = model.special_token("bos")
        self._eos = model.special_token("eos")
        fallback = _CHATML if len(model.tokenize("<|im_start|>", parse_special=True)) == 1 else _PLAIN
        self._fallback = environment.from_string(fallback)
        try:
            self._template = environment.from_string(model.chat_template or fallback)
        except TemplateError:
            self._template = self._fallback

    def render(self, messages: Sequence[ChatMessage]) -> str:
        """The whole prompt; a thinking model is told not to think."""
        # Some families know no system turn and say so by an exception: then it opens the first user turn.
        for turns in (messages, _without_system(messages)):
            with suppress(TemplateError):
                return self._render(self._template, turns)
        return self._render(self._fallback, messages)

    def tokens(self, messages: Sequence[ChatMessage]) -> list[int]:
        """The prompt's tokens. What a message says is never read as a control token, whatever it spells."""
        model = self._model
        marked = [index for index, message in enumerate(messages) if self._spells_control(message.content)]
        marks = {f"\ue000{index}\ue001": messages[index].content for index in marked}
        by_content = {content: mark for mark, content in marks.items()}
        shown = [ChatMessage(turn.role, by_content.get(turn.content, turn.content)) for turn in messages]
        found: list[int] = []
        for piece, is_content in _split(self.render(shown), marks):
            found.extend(model.tokenize(piece, parse_special=not is_content))
        if self._bos is not None and model.adds_bos and found[:1] != [self._bos[0]]:
            found.insert(0, self._bos[0])
        return found

    def fixed_tokens(self, messages: Sequence[ChatMessage]) -> tuple[int, ...]:
        """The tokens with which the prompt begins whatever the last message says; the others are instructions.

        What two renderings with different last messages have in common, which holds for any template.
        """
        key = tuple(messages[:-1]), messages[-1].role
        known = self._beginnings.get(key)
        if known is None:
            one, other = (self.tokens([*key[0], ChatMessage(key[1], text)]) for text in ("0", "?"))
            known = tuple(one[: common(one, other)])
            if len(self._beginnings) >= _KEPT_BEGINNINGS:
                self._beginnings.clear()
            self._beginnings[key] = known
        return known

    def _spells_control(self, content: str) -> bool:
        if "<" not in content and "[" not in content:  # every family's control tokens have one or the other
            return False
        return self._model.tokenize(content, parse_special=True) != self._model.tokenize(content)

    def _render(self, template: Template, messages: Sequence[ChatMessage]) -> str:
        return template.render(
            messages=[{"role": message.role, "content": message.content} for message in messages],
            add_generation_prompt=True,
            enable_thinking=False,
            bos_token=self._bos[1] if self._bos else "",
            eos_token=self._eos[1] if self._eos else "",
        )


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))


def _split(text: str, marks: dict[str, str]) -> list[tuple[str, bool]]:
    """`text` in pieces: template (False), and what stood where a mark is (True)."""
    pieces = [(text, False)]
    for mark, content in marks.items():
        divided: list[tuple[str, bool]] = []
        for piece, is_content in pieces:
            before, found, after = (piece, "", "") if is_content else piece.partition(mark)
            divided.append((before, is_content))
            if found:
                divided.extend([(content, True), (after, False)])
        pieces = divided
    return [(piece, is_content) for piece, is_content in pieces if piece]


def _without_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    others = [message for message in messages if message.role != "system"]
    if not system or not others:
        return others or [ChatMessage("user", system)]
    return [ChatMessage(others[0].role, f"{system}\n\n{others[0].content}"), *others[1:]]


def _to_json(value: Any, indent: int | None = None, **_options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> Never:
    raise TemplateError(message)
