"""The instruct model of an OpenAI-compatible server (llama-server, vLLM, Ollama), with the contract of `Engine`.

The server batches, keeps prefixes and applies its own template; here are the questions what it offers, its refusals
in our errors, and the check of every answer. Journal text goes into requests and nowhere else.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from backend.errors import AnswerUnreadable, ContextOverflow, InferenceError, ReadingFailed, ReadingUnavailable
from backend.inference.chat import ChatMessage
from backend.inference.progress import Bell, Progress
from backend.inference.remote_http import ANSWER_WITHIN_S, Answer, Server
from backend.inference.remote_offer import (
    NO_THINKING,
    NOT_UNDERSTOOD,
    Form,
    Offer,
    OfferMemory,
    Tokenizer,
    choose_model,
    find_context,
    find_offer,
    find_tokenizer,
    named,
    not_inference,
    refusal,
    served_models,
)
from backend.inference.remote_stream import EventStream, Streams
from backend.inference.remote_text import bare, checked, content_of, finish_of, most_tokens
from backend.inference.scheduler import EngineTotals
from backend.inference.sequences import Completion
from backend.settings import Settings

_CACHE_NAME: Final = "servers.json"
# What a template puts round a message, tokens; a dozen at the most in those that are listed.
_ROUND_MESSAGE: Final = 16
# Room for the schema in the prompt where nothing else binds.
_SCHEMA_ROOM: Final = 512
_STREAMED: Final = {"stream": True, "stream_options": {"include_usage": True}}
_IN_ONE_PIECE: Final = {"stream": False}
# How servers say that a prompt is too long: llama-server, vLLM and OpenAI, llama_cpp.server, Ollama.
_OVERFLOW: Final = re.compile(r"context (?:size|length|window)|context_(?:size|length)|prompt (?:is )?too long", re.I)
_LIMIT: Final = re.compile(r"(?:context (?:length|window|size)(?: is(?: only)?| of|) ?\(?)(\d+)", re.I)


class RemoteEngine:
    """One model of one server; every method may be called from any thread, requests run side by side."""

    def __init__(
        self,
        server: Server,
        model: str,
        offer: Offer,
        tokenizer: Tokenizer | None,
        n_ctx_tokens: int,
        memory: OfferMemory,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Made by `connect`; owns `server`. `n_ctx_tokens` is what prompt and answer may have together."""
        self._server = server
        self._offer = offer
        self._tokenizer = tokenizer
        self._n_ctx_tokens = n_ctx_tokens
        self._memory = memory
        self._streams = Streams()
        self._bell = Bell(on_progress, self._streams.progress)
        self._counting = threading.Lock()
        self.totals = EngineTotals()
        # The server's name of the model.
        self.name = model
        # Which model read, for `Provenance`: 16 hex digits of SHA-256 of "url:model".
        self.weights = memory.key

    @property
    def form(self) -> Form:
        """How answers are bound to their schema."""
        return self._offer.form

    @property
    def n_ctx_tokens(self) -> int:
        """Tokens that prompt and answer may have together; less once the server has named a smaller limit."""
        return self._n_ctx_tokens - (0 if self.form.binds else _SCHEMA_ROOM)

    @property
    def progress(self) -> Progress | None:
        """How far everything in work is together; None while nothing is, and where the server does not stream."""
        return self._streams.progress()

    @property
    def counts_exactly(self) -> bool:
        """Whether `count_tokens` asks the server's own tokenizer, instead of guessing high."""
        return self._tokenizer is not None

    @property
    def is_closed(self) -> bool:
        """Whether the connection has been given up."""
        return self._server.is_closed

    def close(self) -> None:
        """Cut off what is under way and let the server go. Idempotent."""
        self._server.close()

    def count_tokens(self, text: str) -> int:
        """Tokens of a text: exactly where the server counts, which takes a round trip, else rather too many.

        White space alone is never worth the trip: cutting up a long text asks for every gap between two sentences.
        """
        counted = self._tokenizer.count(self._server, text) if self._tokenizer and text.strip() else None
        return most_tokens(text) if counted is None else counted

    def complete(
        self,
        prompt: Sequence[ChatMessage] | Sequence[int],
        *,
        schema: dict[str, Any] | None = None,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        stopping: Callable[[], bool] | None = None,
    ) -> Completion:
        """The model's answer to a conversation; with a `schema`, JSON that satisfies it.

        Raises:
            ContextOverflow: prompt and `max_tokens` do not fit the context.
            AnswerUnreadable: cut off at `max_tokens`, withheld, not JSON, or outside the schema.
            ReadingFailed: the server refuses this one request.
            ReadingUnavailable: no answer, a refused key, a model that is gone, a server in trouble.
            InferenceError: the model has been unloaded, or `prompt` is not a conversation.
            Stopped: `stopping` said so.
        """
        messages = [turn for turn in prompt if isinstance(turn, ChatMessage)]
        if not messages or len(messages) != len(prompt):
            raise InferenceError("a server reads messages, not tokens")
        n_prompt = self._check_fits(messages, max_tokens)
        base = {"model": self.name, "max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        answer = self._answered(base, messages, schema, stopping, n_prompt)
        if answer.status != 200:
            raise self._refusal(answer, n_prompt + max_tokens)
        text = self._text(answer, schema, max_tokens)
        usage = answer.body.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        completion = Completion(
            text,
            n_prompt=_number(counts.get("prompt_tokens"), n_prompt),
            n_reused=_number((counts.get("prompt_tokens_details") or {}).get("cached_tokens"), 0),
            n_generated=_number(counts.get("completion_tokens"), 0),
            finish_reason="stop",
        )
        self._count(completion)
        return completion

    def _count(self, done: Completion) -> None:
        with self._counting:
            held = self.totals
            self.totals = EngineTotals(
                held.tokens_prompt + done.n_prompt,
                held.tokens_reused + done.n_reused,
                held.tokens_generated + done.n_generated,
            )

    def _check_fits(self, messages: Sequence[ChatMessage], max_tokens: int) -> int:
        """Tokens of the prompt, rather too many; counted exactly only when it may not fit."""
        limit = self.n_ctx_tokens - max_tokens
        n_round = _ROUND_MESSAGE * len(messages)
        n_prompt = n_round + sum(most_tokens(message.content) for message in messages)
        if n_prompt > limit and self.counts_exactly:
            n_prompt = n_round + sum(self.count_tokens(message.content) for message in messages)
        if n_prompt > limit:
            raise ContextOverflow(n_prompt + max_tokens, self.n_ctx_tokens)
        return n_prompt

    def _answered(
        self,
        base: dict[str, Any],
        messages: Sequence[ChatMessage],
        schema: dict[str, Any] | None,
        stopping: Callable[[], bool] | None,
        n_prompt: int,
    ) -> Answer:
        """The answer in the surest form that the server takes for this schema."""
        answer = Answer(400, None)
        options = NO_THINKING if self._offer.takes_template_options else {}
        for form in self.form.weaker if schema is not None else (Form.PLAIN,):
            fields = form.fields(schema) if schema is not None else {}
            told = messages if schema is None or form.binds else _with_schema(messages, schema)
            turns = [{"role": turn.role, "content": turn.content} for turn in told]
            answer = self._ask({**base, **options, **fields, "messages": turns}, stopping, n_prompt)
            if not _is_misunderstood(answer):
                break
            # It took the trial and not this: another server by now, or a schema beyond its means.
            self._memory.forget()
        return answer

    def _ask(self, body: dict[str, Any], stopping: Callable[[], bool] | None, n_prompt: int) -> Answer:
        """One answer, as a stream where the server does that, else in one piece."""

        def post(stream: EventStream | None, more: dict[str, Any]) -> Answer:
            return self._server.post(
                f"{self._server.url}/chat/completions",
                {**body, **more},
                within_s=ANSWER_WITHIN_S,
                stopping=stopping,
                stream=stream,
                on_wait=self._bell.ring,
            )

        if not self._offer.streams:
            return post(None, _IN_ONE_PIECE)
        with self._streams.opened(n_prompt) as stream:
            answer = post(stream, _STREAMED)
        if stream.has_begun and not (stream.is_silent or stream.is_cut):
            return answer
        if not stream.has_begun and not _is_misunderstood(answer):
            return answer
        plain = post(None, _IN_ONE_PIECE)
        # A refused stream is one thing, a refused request (then both are) another. And a server that lets a new
        # request drive out a streamed one (llama_cpp.server) is asked for whole answers from now on.
        if stream.is_cut or (not stream.has_begun and plain.status == 200):
            self._offer = replace(self._offer, streams=False)
            self._memory.keep(self._offer)
        return plain

    def _text(self, answer: Answer, schema: dict[str, Any] | None, max_tokens: int) -> str:
        content = content_of(answer.body)
        if content is None:
            raise not_inference(self._server)
        reason = finish_of(answer.body)
        if reason == "length":
            raise AnswerUnreadable(len(content), f"reached its limit of {max_tokens} tokens before it ended")
        if reason == "content_filter":
            raise AnswerUnreadable(len(content), "was withheld by the server")
        if schema is None:
            return bare(content)
        try:
            return checked(content, schema)
        except AnswerUnreadable:
            if self.form.binds:
                self._memory.forget()  # it bound once and does not now: ask again at the next load
            raise

    def _refusal(self, answer: Answer, n_tokens: int) -> InferenceError:
        if _is_overflow(answer):
            said = _said_limit(answer)
            if said is not None:
                # The next try plans its pieces by this.
                self._n_ctx_tokens = min(self._n_ctx_tokens, said)
            return ContextOverflow(max(n_tokens, self._n_ctx_tokens + 1), self._n_ctx_tokens)
        if _is_unknown_model(answer):
            names = named(served_models(self._server)) or "none"
            return ReadingUnavailable(f"{self._server.url} does not serve the model any more; it serves {names}")
        if answer.status in NOT_UNDERSTOOD or answer.status == 413:
            return ReadingFailed(f"{self._server.url} refuses the request (status {answer.status})")
        return refusal(self._server, answer)


def connect(
    settings: Settings,
    *,
    stopping: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] | None = None,
) -> RemoteEngine:
    """The model that `llm_url` and `llm_model` name, once its server has answered; the caller closes it.

    A model is asked a few short questions the first time; afterwards it takes some milliseconds. `on_progress` is as
    in `Engine`, and hears of servers that stream.

    Raises:
        ReadingUnavailable: no server, no inference server, a refused key, no such model; says what to do.
        Stopped: `stopping` said so.
    """
    if settings.llm_url is None:
        raise ReadingUnavailable("no inference server is set: set llm_url")
    server = Server(settings.llm_url, settings.llm_api_key, stopping=stopping)
    try:
        entry = choose_model(server, settings.llm_model)
        model: str = entry["id"]
        memory = OfferMemory(settings.run_dir / _CACHE_NAME, _weights(settings.llm_url, model))
        offer = memory.recall()
        if offer is None:
            offer = find_offer(server, model)
            memory.keep(offer)
        tokenizer = find_tokenizer(server, model)
        n_ctx_tokens = min(settings.n_ctx_tokens, find_context(server, entry) or settings.n_ctx_tokens)
        return RemoteEngine(server, model, offer, tokenizer, n_ctx_tokens, memory, on_progress)
    except BaseException:
        server.close()
        raise


def _weights(url: str, model: str) -> str:
    return hashlib.sha256(f"{url}:{model}".encode()).hexdigest()[:16]


def _with_schema(messages: Sequence[ChatMessage], schema: dict[str, Any]) -> list[ChatMessage]:
    told = f"Answer with one JSON object and nothing else. It satisfies this JSON schema:\n{json.dumps(schema)}"
    if messages[0].role == "system":
        return [ChatMessage("system", f"{messages[0].content}\n\n{told}"), *messages[1:]]
    return [ChatMessage("system", told), *messages]


def _error(answer: Answer) -> dict[str, Any]:
    """What the server says went wrong; for patterns only, as it may quote the request."""
    body = answer.body if isinstance(answer.body, dict) else {}
    error = body.get("error", body)
    return error if isinstance(error, dict) else {"message": str(error)}


def _is_overflow(answer: Answer) -> bool:
    said = " ".join(str(value) for value in _error(answer).values())
    return answer.status in (400, 413, 422) and _OVERFLOW.search(said) is not None


def _is_unknown_model(answer: Answer) -> bool:
    return answer.status in NOT_UNDERSTOOD and _error(answer).get("code") == "model_not_found"


def _is_misunderstood(answer: Answer) -> bool:
    """Whether the server does not know the form of the request, rather than refusing what it says."""
    return answer.status in NOT_UNDERSTOOD and not _is_overflow(answer) and not _is_unknown_model(answer)


def _said_limit(answer: Answer) -> int | None:
    error = _error(answer)
    found = _LIMIT.search(str(error.get("message")))
    limit = error.get("n_ctx") or (int(found[1]) if found else 0)
    return limit if isinstance(limit, int) and limit >= 1024 else None


def _number(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise
