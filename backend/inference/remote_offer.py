"""What an inference server offers, found out by asking: its models, how an answer is bound, how text is counted.

Servers differ in what they understand, and worse, in what they accept and ignore. So a form counts as binding only
when a question whose one allowed answer is a word that no model would say is answered with that word.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from backend.errors import ReadingUnavailable
from backend.inference.remote_http import ANSWER_WITHIN_S, Answer, Server
from backend.inference.remote_text import content_of, parsed
from backend.inference.weights import read_json, remember

_NONSENSE: Final = "zorblattic"
_TRIAL_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": [_NONSENSE]}},
    "required": ["answer"],
    "additionalProperties": False,
}
_TRIAL_QUESTION: Final = "Name a colour. Answer with a JSON object that has one key, answer."
_TRIAL_TOKENS: Final = 48
# How thinking is switched off where the chat template knows how: llama-server, vLLM, SGLang.
NO_THINKING: Final[dict[str, Any]] = {"chat_template_kwargs": {"enable_thinking": False}}
# Statuses of a server that does not know what it was asked for. llama_cpp.server says 500 to a form that it lacks.
NOT_UNDERSTOOD: Final = (400, 415, 422)
_NOT_UNDERSTOOD_IN_TRIALS: Final = (*NOT_UNDERSTOOD, 500, 501)
_MOST_NAMED: Final = 5


class Form(StrEnum):
    """How a schema is sent, the surest first."""

    # OpenAI's way: llama-server, vLLM, SGLang, Ollama, LM Studio.
    JSON_SCHEMA = "json_schema"
    # llama_cpp.server's.
    OBJECT_WITH_SCHEMA = "json_object with schema"
    # Any JSON object; the schema stands in the prompt.
    OBJECT = "json_object"
    # The schema stands in the prompt, and nothing binds.
    PLAIN = "plain"

    @property
    def binds(self) -> bool:
        """Whether the server lets the model say nothing else."""
        return self in (Form.JSON_SCHEMA, Form.OBJECT_WITH_SCHEMA)

    @property
    def weaker(self) -> "tuple[Form, ...]":
        """This form and those to fall back to, in order."""
        forms = tuple(Form)
        return forms[forms.index(self) :]

    def fields(self, schema: dict[str, Any]) -> dict[str, Any]:
        """What a request carries in this form."""
        match self:
            case Form.JSON_SCHEMA:
                named = {"name": "answer", "schema": schema, "strict": True}
                return {"response_format": {"type": "json_schema", "json_schema": named}}
            case Form.OBJECT_WITH_SCHEMA:
                return {"response_format": {"type": "json_object", "schema": schema}}
            case Form.OBJECT:
                return {"response_format": {"type": "json_object"}}
            case Form.PLAIN:
                return {}


@dataclass(frozen=True, slots=True)
class Offer:
    """What works with one model of one server."""

    form: Form
    # Whether it takes what is meant for the model's chat template.
    takes_template_options: bool
    # Whether an answer may be asked for as a stream; found out by doing it.
    streams: bool = True


@dataclass(frozen=True, slots=True)
class OfferMemory:
    """What was found out about servers, kept in a file: asking again would cost a reading's time at every load."""

    path: Path
    key: str

    def recall(self) -> Offer | None:
        """What was found out; None where nothing was, or nothing that can be read."""
        known = read_json(self.path).get(self.key)
        try:
            streams = known.get("streams", True) is True  # type: ignore[attr-defined] # or caught
            return Offer(Form(known["form"]), known["takes_template_options"] is True, streams)  # type: ignore[index]
        except (AttributeError, TypeError, KeyError, ValueError):
            return None

    def keep(self, offer: Offer) -> None:
        """Remember it in place of what was."""
        remember(self.path, {**read_json(self.path), self.key: asdict(offer)})

    def forget(self) -> None:
        """Have it found out anew at the next load."""
        known = read_json(self.path)
        if known.pop(self.key, None) is not None:
            remember(self.path, known)


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Where a server counts tokens, and how it is asked."""

    url: str
    # Name of the field that has the text, and what else is sent.
    field: str
    more: dict[str, Any]

    def count(self, server: Server, text: str) -> int | None:
        """Tokens of a text; None when the server does not say."""
        answer = server.post(self.url, {self.field: text, **self.more})
        if answer.status != 200 or not isinstance(answer.body, dict):
            return None
        counted, tokens = answer.body.get("count"), answer.body.get("tokens")
        return counted if isinstance(counted, int) else len(tokens) if isinstance(tokens, list) else None


def choose_model(server: Server, wanted: str | None) -> dict[str, Any]:
    """The server's own entry (it has an `id`) of the model that is wanted, or of the only one there is.

    Raises ReadingUnavailable: no inference server, a refused key, or a model that it does not serve.
    """
    served = served_models(server)
    names = named(served)
    if not served:
        raise ReadingUnavailable(f"{server.url} serves no model: load one there")
    if wanted is None and len(served) > 1:
        raise ReadingUnavailable(f"{server.url} serves several models: set llm_model to one of {names}")
    # Ollama's names end in a tag, which people leave out.
    found = [entry for entry in served if wanted in (None, entry["id"]) or entry["id"] == f"{wanted}:latest"]
    if not found:
        raise ReadingUnavailable(f"{server.url} does not serve the model of llm_model; it serves {names}")
    return found[0]


def served_models(server: Server) -> list[dict[str, Any]]:
    """What the server lists. Raises ReadingUnavailable as `choose_model`."""
    answer = server.get(f"{server.url}/models")
    if answer.status == 404:
        raise ReadingUnavailable(f"{server.url} is no inference server: as a rule the address ends in /v1")
    if answer.status != 200:
        raise refusal(server, answer)
    listed = answer.body.get("data") if isinstance(answer.body, dict) else None
    if listed is None and isinstance(answer.body, dict) and answer.body.get("object") == "list":
        listed = []  # Ollama without any model says null
    if not isinstance(listed, list):
        raise not_inference(server)
    return [entry for entry in listed if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def named(served: list[dict[str, Any]]) -> str:
    """The models' names for a message: the first few, without control characters."""
    names = ["".join(c for c in entry["id"][:100] if c.isprintable()) for entry in served]
    return ", ".join(names[:_MOST_NAMED]) + (
        f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    )


def find_offer(server: Server, model: str, stopping: Callable[[], bool] | None = None) -> Offer:
    """Ask the model up to five short questions. Raises ReadingUnavailable when it answers none."""
    base = {
        "model": model,
        "messages": [{"role": "user", "content": _TRIAL_QUESTION}],
        "max_tokens": _TRIAL_TOKENS,
        "temperature": 0.0,
        "seed": 0,
    }

    def ask(**fields: Any) -> Answer:
        url = f"{server.url}/chat/completions"
        return server.post(url, base | fields, within_s=ANSWER_WITHIN_S, stopping=stopping)

    options: dict[str, Any] = NO_THINKING
    plain = ask(**options, max_tokens=1)
    if plain.status in _NOT_UNDERSTOOD_IN_TRIALS:
        options = {}
        plain = ask(max_tokens=1)
    if plain.status != 200:
        raise refusal(server, plain)
    if content_of(plain.body) is None:
        raise not_inference(server)
    for form in Form:
        if form is Form.PLAIN:
            break
        answer = ask(**options, **form.fields(_TRIAL_SCHEMA))
        if answer.status == 200 and _is_bound(answer, form):
            return Offer(form, bool(options))
        if answer.status != 200 and answer.status not in _NOT_UNDERSTOOD_IN_TRIALS:
            raise refusal(server, answer)
    return Offer(Form.PLAIN, bool(options))


def find_tokenizer(server: Server, model: str) -> Tokenizer | None:
    """How this server counts tokens, or None where it does not."""
    known = (
        Tokenizer(f"{server.root}/tokenize", "content", {}),  # llama-server
        Tokenizer(f"{server.root}/tokenize", "prompt", {"model": model, "add_special_tokens": False}),  # vLLM
        Tokenizer(f"{server.root}/extras/tokenize/count", "input", {"model": model}),  # llama_cpp.server
    )
    return next((way for way in known if way.count(server, "one two three") in range(3, 20)), None)


def find_context(server: Server, entry: dict[str, Any]) -> int | None:
    """Tokens of the context that the server gives to one request, where it says so."""
    meta = entry.get("meta")
    said = [entry.get("max_model_len"), meta.get("n_ctx") if isinstance(meta, dict) else None]  # vLLM, llama-server
    props = server.get(f"{server.root}/props")  # llama-server
    if props.status == 200 and isinstance(props.body, dict):
        defaults = props.body.get("default_generation_settings")
        said.append(defaults.get("n_ctx") if isinstance(defaults, dict) else None)
    # Ollama cuts off what does not fit and says nothing, so its limit has to be known. It tells of loaded models.
    running = server.get(f"{server.root}/api/ps")
    models = running.body.get("models") if running.status == 200 and isinstance(running.body, dict) else None
    for model in models if isinstance(models, list) else []:
        if isinstance(model, dict) and entry["id"] in (model.get("name"), model.get("model")):
            said.append(model.get("context_length"))
    return min((number for number in said if isinstance(number, int) and number > 0), default=None)


def refusal(server: Server, answer: Answer) -> ReadingUnavailable:
    """What a status other than 200 means; the server's own words may quote the request, and are left out."""
    status = answer.status
    if status in (401, 403):
        problem = "the key is refused or missing: set llm_api_key (or CHARLIE_LLM_API_KEY)"
    elif status == 404:
        problem = f"the model is not there any more; it serves {named(served_models(server)) or 'none'}"
    elif status == 429:
        problem = "too many requests (status 429)"
    elif status == 503:
        problem = "the server is busy or still loads its model (status 503)"
    elif status >= 500:
        problem = f"the server has a problem of its own (status {status}): its log tells which"
    elif 300 <= status < 400:
        problem = f"the server sends elsewhere (status {status}): set llm_url to the final address"
    else:
        problem = f"the server refuses to answer (status {status})"
    return ReadingUnavailable(f"{server.url}: {problem}")


def not_inference(server: Server) -> ReadingUnavailable:
    """Something answers, and not as an inference server does."""
    return ReadingUnavailable(f"{server.url} is no inference server: set llm_url to one that speaks OpenAI's API")


def _is_bound(answer: Answer, form: Form) -> bool:
    found = parsed(content_of(answer.body) or "")
    return found == {"answer": _NONSENSE} if form.binds else isinstance(found, dict)
