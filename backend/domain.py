"""Frozen values that cross the boundaries between the parts of Charlie.

Words of a journal are left out of every `repr`, so that none gets into a log or a traceback by that way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

MAX_ENTRY_CHARS = 1_000_000


class EpisodeStatus(StrEnum):
    """Where an entry stands between being saved and being read."""

    PENDING_NODES = "pending_nodes"
    PENDING_EDGES = "pending_edges"
    DEAD = "dead"
    # Never stored: an entry that has left the ledger.
    DONE = "done"


class EntityType(StrEnum):
    """What kinds of thing a reader looks for."""

    PERSON = "Person"
    PLACE = "Place"
    GROUP = "Group"
    ACTIVITY = "Activity"


class Origin(StrEnum):
    """Who said so. What a person said outranks every reader and survives re-reading."""

    READER = "reader"
    PERSON = "person"


class ReaderKind(StrEnum):
    """Which of the two readers made a reading."""

    TAGGER = "tagger"
    LLM = "llm"


@dataclass(frozen=True, slots=True)
class Episode:
    """One journal entry, exactly as written."""

    uuid: str
    journal: str
    text: str = field(repr=False)
    # What the writer called it; empty when the first line serves (see `text.title_of`).
    title: str = field(repr=False)
    # Aware, in the writer's own UTC offset: when what is told happened.
    valid_at: datetime
    # Aware UTC: when it was saved first.
    created_at: datetime
    # Raised by every save, from 1.
    revision: int
    # Where it came from: "screen", "command", "import".
    source: str

    @property
    def local_day(self) -> date:
        """The writer's own calendar day."""
        return self.valid_at.date()


@dataclass(frozen=True, slots=True)
class EpisodeSummary:
    """A line of the home screen."""

    uuid: str
    journal: str
    # Given or taken from the first line; one line, never empty.
    title: str = field(repr=False)
    # The beginning of what follows the title; one line, may be empty.
    preview: str = field(repr=False)
    valid_at: datetime
    status: EpisodeStatus


@dataclass(frozen=True, slots=True)
class PageCursor:
    """Where the next page of a list begins: strictly below (valid_at, uuid), newest first."""

    valid_at_us: int
    uuid: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries, newest first, and where the next ones begin (None at the end)."""

    episodes: tuple[EpisodeSummary, ...]
    next: PageCursor | None


@dataclass(frozen=True, slots=True)
class Span:
    """A place in the text where something is named."""

    # Unicode code points of the text exactly as written; end exclusive.
    start: int
    end: int
    surface: str = field(repr=False)
    # 0 to 1, as the reader puts it; 1.0 where it does not say.
    confidence: float


@dataclass(frozen=True, slots=True)
class FoundEntity:
    """What a reader found in one text, before it is matched with what is known."""

    name: str = field(repr=False)
    type: EntityType
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who made a reading, so that a better reader can redo exactly what an older one did."""

    reader: ReaderKind
    # SHA-256 of the weights file (or the server's model name), hex, first 16 digits.
    weights: str
    # SHA-256 of instructions and answer schema, hex, first 16 digits; empty for the tagger.
    prompt: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader found in one text or in a piece of it."""

    entities: tuple[FoundEntity, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class KnownName:
    """A name that an entity of the journal already goes by."""

    # The name in the form that is compared (see `graph.names.key_of`).
    key: str = field(repr=False)
    entity_uuid: str
    type: EntityType


@dataclass(frozen=True, slots=True)
class ResolvedEntity:
    """A found entity and which entity of the journal it is."""

    uuid: str
    is_new: bool
    # The name in the form that is compared.
    key: str = field(repr=False)
    found: FoundEntity


@dataclass(frozen=True, slots=True)
class Doubt:
    """A name that a reader is not sure of: no entity of the journal until a person says so."""

    # The name in the form that is compared; with the type it says which one of an entry this is.
    key: str = field(repr=False)
    name: str = field(repr=False)
    type: EntityType
    # At least one.
    spans: tuple[Span, ...]

    @property
    def confidence(self) -> float:
        """Of the place that the reader is surest of, 0 to 1."""
        return max(span.confidence for span in self.spans)


@dataclass(frozen=True, slots=True)
class WaitingDoubt:
    """A line of what waits for a person's word."""

    episode_uuid: str
    journal: str
    # Of the entry, in the writer's own UTC offset.
    valid_at: datetime
    # With its first place only.
    doubt: Doubt
    n_places: int
    # The entry's words around that place, and where in them it begins.
    around: str = field(repr=False)
    at: int


@dataclass(frozen=True, slots=True)
class Corrections:
    """What a person said about one entry; it outranks every reader."""

    # Surfaces that are not an entity here.
    rejected: frozenset[str] = field(default=frozenset(), repr=False)
    # (start, end) of mentions that the person made.
    kept: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class ReadingOutcome:
    """What a reading brought; counts only."""

    # Entities found in the entry; of these new to the journal, and already known.
    n_entities: int
    n_new: int
    n_known: int
    # Names that wait for a person's word.
    n_unsure: int = 0
    # False when the entry was saved again meanwhile and nothing was written.
    is_written: bool = True


@dataclass(frozen=True, slots=True)
class Entity:
    """A person, place, group or activity that entries mention."""

    uuid: str
    name: str = field(repr=False)
    type: EntityType
    # How many entries mention it, and how often altogether.
    n_episodes: int = 0
    n_mentions: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Mention:
    """One place in one entry where an entity is named."""

    entity_uuid: str
    start: int
    end: int
    surface: str = field(repr=False)
    confidence: float
    reader: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Connection:
    """An entity in an entry with the places that name it."""

    entity: Entity
    mentions: tuple[Mention, ...]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What Redis knows of an entry that waits, or was given up."""

    uuid: str
    journal: str
    status: EpisodeStatus
    revision: int
    # Larger goes first; what was just written is above what was imported.
    priority: int
    # Readings that failed, crashes of the process and unexplained deaths while it was read.
    attempts: int
    crashes: int
    kills: int
    # Unix seconds before which it is not tried again; 0 when due now.
    due_at_s: float
    # Why it is dead or what went wrong last; no words of the journal.
    reason: str
    # Revision whose draft by the tagger is in the graph; 0 for none.
    drafted_revision: int
    created_at_s: float


class ModelState(StrEnum):
    """Where a model stands."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    UNLOADING = "unloading"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What the manager holds, as the status line shows it."""

    state: ModelState
    # File name of the model that reads, or empty.
    name: str
    # "llm", "tagger", "embedding", or empty.
    kind: str
    # Loads since the process began.
    loads: int
    # Resident memory of the process that holds the models, MiB.
    resident_mb: float
    # While loading, 0 to 1.
    progress: float = 0.0
    context_tokens: int = 0
    # Texts that it reads together.
    parallel: int = 0
    # Of the texts that an instruct model has in work together: part of their prompts that has been read, 0 to 1, and
    # tokens of their answers so far. None and 0 while nothing is in work.
    prompt_progress: float | None = None
    answer_tokens: int = 0
    # Tokens a second: of the answers once there are any, else of the prompts. 0 until it has been measured.
    tokens_per_s: float = 0.0
    # Until all of them are answered; None while that cannot be told.
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """What instruct models have done since the process began."""

    # Tokens of prompts; those of them that had been read before; tokens of answers.
    prompt: int = 0
    reused: int = 0
    generated: int = 0

    def __add__(self, other: "TokenCounts") -> "TokenCounts":
        return TokenCounts(self.prompt + other.prompt, self.reused + other.reused, self.generated + other.generated)

    def __sub__(self, other: "TokenCounts") -> "TokenCounts":
        return TokenCounts(self.prompt - other.prompt, self.reused - other.reused, self.generated - other.generated)


@dataclass(frozen=True, slots=True)
class Status:
    """One snapshot of what is going on, for the screen and `charlie status`."""

    # Number of entries in each journal.
    journals: Mapping[str, int]
    pending: int
    dead: int
    model: ModelStatus
    # "tagger" or "llm": who reads new entries.
    reader: str
    # uuid of the entry being read, or empty.
    reading_uuid: str = ""
    # Why reading is paused and what to do; empty while it goes on.
    problem: str = ""
    # Who runs the worker: "this process", "process 123", "nobody".
    worker: str = "nobody"
    # Something worth knowing that needs nothing done; empty as a rule.
    notice: str = ""
    # Places in entries that readers were not sure of and that wait for a person's word.
    unsure: int = 0


@dataclass(frozen=True, slots=True)
class Draft:
    """Text that was typed and not saved yet."""

    # uuid of the entry being edited, or empty for a new one.
    episode_uuid: str
    journal: str
    text: str = field(repr=False)
    saved_at: datetime


class ChangeKind(StrEnum):
    """What an event says has changed."""

    SAVED = "saved"
    DELETED = "deleted"
    # A draft or final reading is in the graph.
    READ = "read"
    # The ledger changed: queued, retried, given up.
    QUEUED = "queued"
    # The worker's own state: model loading, reading begun, paused.
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Change:
    """Something changed; the receiver asks for what it shows."""

    kind: ChangeKind
    uuid: str = ""
    journal: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)
