"""Every error Charlie raises on purpose, and one thing that is not an error.

CharlieError
├── SettingsError           a bad value; names the key and where it came from
├── EntryInvalid            empty, too long, a null byte, a date that does not parse
├── GoldInvalid             annotated entries that are not as they should be; carries file, line and what is wrong
├── PromptInvalid           a compiled prompt that cannot be used; carries the file
├── StorageError
│   ├── StorageUnavailable  the embedded server cannot start, or has gone
│   ├── StorageClosing      shutdown has begun; nothing was written
│   ├── EpisodeNotFound     carries the uuid
│   └── EntityNotFound      carries what was asked for by length only
└── InferenceError
    ├── ModelUnknown        carries the name and the nearest ones there are
    ├── DownloadFailed      a model could not be fetched; says what is kept and what to do
    ├── ReadingUnavailable  no model can read now; entries wait
    │   ├── WeightsMissing  carries the path looked at and the command that fetches them
    │   ├── WeightsUnusable truncated, not GGUF, wrong kind, crashed the probe
    │   ├── ModelTooLarge   carries need and available, in bytes
    │   └── ReadingDeferred the person's own wish: not on battery, not while they type
    └── ReadingFailed       this entry could not be read this time
        ├── ContextOverflow carries tokens and limit
        └── AnswerUnreadable carries a length, never the text
Stopped                     not an error: the task saw the shutdown event and left

Messages hold ids, counts, paths and advice; never words of a journal.
"""

from pathlib import Path


class CharlieError(Exception):
    """Anything that went wrong in a way Charlie knows; the message says what to do next."""


class SettingsError(CharlieError):
    """A setting has a value that cannot be used."""

    def __init__(self, key: str, source: str, problem: str) -> None:
        super().__init__(f"{key} (from {source}): {problem}")
        self.key = key
        self.source = source


class EntryInvalid(CharlieError):
    """What was to be saved is not an entry; nothing was written."""


class GoldInvalid(CharlieError):
    """Annotated entries cannot be used; nothing was scored against them."""

    SHOWN = 20

    def __init__(self, defects: tuple[str, ...]) -> None:
        """Each of `defects` names a file, a line and what is wrong; the message holds the first twenty."""
        more = len(defects) - self.SHOWN
        shown = [*defects[: self.SHOWN], f"and {more} more"] if more > 0 else defects
        super().__init__("\n".join(shown))
        self.defects = defects


class PromptInvalid(CharlieError):
    """A file is no compiled prompt; readers go on with the plain one."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path.name} is no compiled prompt ({problem})")
        self.path = path


class StorageError(CharlieError):
    """The database could not do what was asked."""


class StorageUnavailable(StorageError):
    """The embedded server cannot be started or has gone; drafts keep the text."""


class StorageClosing(StorageError):
    """Charlie is shutting down; nothing was written."""


class EpisodeNotFound(StorageError):
    """No entry has this uuid."""

    def __init__(self, uuid: str) -> None:
        super().__init__("no entry has this uuid: 'charlie list' shows the entries there are")
        self.uuid = uuid


class EntityNotFound(StorageError):
    """No person, place, group or activity goes by this name or uuid."""

    def __init__(self) -> None:
        super().__init__("nothing by that name: 'charlie entities' shows what is known")


class InferenceError(CharlieError):
    """A model could not do what was asked."""


class ModelUnknown(InferenceError):
    """No model goes by this name."""

    def __init__(self, name: str, nearest: tuple[str, ...]) -> None:
        meant = f"did you mean {' or '.join(nearest)}?" if nearest else "'charlie models list' shows those there are"
        super().__init__(f"no model is called {name[:80]}: {meant}")
        self.name = name
        self.nearest = nearest


class DownloadFailed(InferenceError):
    """A model could not be fetched; the message says what is kept of it and what to do next."""


class ReadingUnavailable(InferenceError):
    """No model can read at present: entries stay pending and the queue waits as a whole."""


class WeightsMissing(ReadingUnavailable):
    """The weights file is not where the settings say."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"no model file at {path}: choose one with 'charlie models use PATH'")
        self.path = path


class WeightsUnusable(ReadingUnavailable):
    """The weights file is there and cannot be used: truncated, not GGUF, wrong kind, or it crashed."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path.name} cannot be used: {reason}. Choose another with 'charlie models use PATH'")
        self.path = path
        self.reason = reason


class ModelTooLarge(ReadingUnavailable):
    """The model needs more memory than the machine has free; `advice` says in numbers what would fit."""

    def __init__(self, name: str, need_bytes: int, available_bytes: int, advice: str = "") -> None:
        advice = advice or "choose a smaller model with 'charlie models use PATH'"
        super().__init__(
            f"{name} needs {need_bytes / 2**20:,.0f} MB and {available_bytes / 2**20:,.0f} MB are free: "
            f"close other programs, {advice}, "
            "or set memory_override = true"
        )
        self.need_bytes = need_bytes
        self.available_bytes = available_bytes


class ReadingDeferred(ReadingUnavailable):
    """Reading waits because the settings say so, for `retry_s` seconds at least; no entry is given up for that."""

    def __init__(self, reason: str, retry_s: float) -> None:
        super().__init__(reason)
        self.retry_s = retry_s


class ReadingFailed(InferenceError):
    """This entry could not be read this time; it is tried again, then given up."""


class ContextOverflow(ReadingFailed):
    """A prompt is longer than the model's context."""

    def __init__(self, n_tokens: int, limit_tokens: int) -> None:
        super().__init__(f"a prompt of {n_tokens} tokens does not fit a context of {limit_tokens}")
        self.n_tokens = n_tokens
        self.limit_tokens = limit_tokens


class AnswerUnreadable(ReadingFailed):
    """The model's answer does not validate, or ended at the token limit."""

    def __init__(self, n_chars: int, problem: str) -> None:
        super().__init__(f"the model's answer of {n_chars} characters {problem}")
        self.n_chars = n_chars


class Stopped(Exception):
    """The task saw the shutdown event and left; its entry stays pending."""
