"""Everything that happened and that a screen is told: answers of the backend, changes, choices of the person.

Answers carry what they answer, so that a late one can be told from the one that is wanted now.
"""

from collections.abc import Sequence

from textual.message import Message

from backend.domain import Change, Doubt, Draft, Entity, Episode, Page, Status
from frontend.state.doubts import Doubtful
from frontend.state.entry import EntryView
from frontend.state.settings_view import SettingsView


class BackendOpened(Message):
    """The database answers."""


class BackendFailed(Message):
    """The database cannot be opened."""

    def __init__(self, problem: str) -> None:
        super().__init__()
        self.problem = problem


class LoadingProgressed(Message):
    """The database is loading a large journal; `fraction` is 0 to 1."""

    def __init__(self, fraction: float) -> None:
        super().__init__()
        self.fraction = fraction


class CallFailed(Message):
    """The backend refused or could not do what was asked; `problem` says what to do."""

    def __init__(self, problem: str) -> None:
        super().__init__()
        self.problem = problem


class ChangesArrived(Message):
    """The inbox of changes is no longer empty. Posted from the backend's thread."""


class ChangesSeen(Message):
    """Changes of the last tenth of a second, oldest first."""

    def __init__(self, changes: Sequence[Change]) -> None:
        super().__init__()
        self.changes = tuple(changes)


class StatusArrived(Message):
    """A fresh snapshot of what is going on."""

    def __init__(self, status: Status) -> None:
        super().__init__()
        self.status = status


class PageArrived(Message):
    """Entries for the end of the list that began with `generation`."""

    def __init__(self, generation: int, page: Page) -> None:
        super().__init__()
        self.generation = generation
        self.page = page


class EntriesArrived(Message):
    """The list from its top, to take the place of the one shown."""

    def __init__(self, generation: int, page: Page) -> None:
        super().__init__()
        self.generation = generation
        self.page = page


class DraftsArrived(Message):
    """What was typed and never saved, newest first, by draft id."""

    def __init__(self, drafts: Sequence[tuple[str, Draft]]) -> None:
        super().__init__()
        self.drafts = tuple(drafts)


class EntryArrived(Message):
    """An entry with its connections; `view.episode.uuid` says which."""

    def __init__(self, view: EntryView) -> None:
        super().__init__()
        self.view = view


class EntryMissing(Message):
    """The entry asked for is not there any more, or cannot be had now."""

    def __init__(self, uuid: str, problem: str) -> None:
        super().__init__()
        self.uuid = uuid
        self.problem = problem


class DraftFailed(Message):
    """What is being typed cannot be written to disk; `problem` says what to do."""

    def __init__(self, problem: str) -> None:
        super().__init__()
        self.problem = problem


class DraftRecovered(Message):
    """What is being typed is on disk again."""


class EntrySaved(Message):
    """The text is on disk."""

    def __init__(self, uuid: str, text: str) -> None:
        super().__init__()
        self.uuid = uuid
        self.text = text


class EntryWritten(Message):
    """The editor is closed; this is the entry that was in it."""

    def __init__(self, uuid: str) -> None:
        super().__init__()
        self.uuid = uuid


class EntryDeleted(Message):
    """The entry is gone from the journal and can be brought back."""

    def __init__(self, uuid: str, journal: str) -> None:
        super().__init__()
        self.uuid = uuid
        self.journal = journal


class EntityRejected(Message):
    """The person said: this is not an entity here."""

    def __init__(self, journal: str, entity: Entity) -> None:
        super().__init__()
        self.journal = journal
        self.entity = entity


class DoubtsArrived(Message):
    """The entries that wait for the person's word."""

    def __init__(self, doubtful: Doubtful) -> None:
        super().__init__()
        self.episodes = doubtful.episodes
        self.has_more = doubtful.has_more


class DoubtDecided(Message):
    """The person said whether it is right."""

    def __init__(self, journal: str, doubt: Doubt, is_right: bool) -> None:
        super().__init__()
        self.journal = journal
        self.doubt = doubt
        self.is_right = is_right


class JournalsArrived(Message):
    """The journals there are, with their number of entries."""

    def __init__(self, journals: Sequence[tuple[str, int]]) -> None:
        super().__init__()
        self.journals = tuple(journals)


class EntryFetched(Message):
    """An entry that is to be edited."""

    def __init__(self, episode: Episode) -> None:
        super().__init__()
        self.episode = episode


class Undid(Message):
    """A change to `journal` was taken back; `kind` is empty when there was none."""

    def __init__(self, kind: str, journal: str) -> None:
        super().__init__()
        self.kind = kind
        self.journal = journal


class Retried(Message):
    """So many entries that had been given up wait again."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count


class SettingsArrived(Message):
    """What is set, and the models on this machine."""

    def __init__(self, view: SettingsView) -> None:
        super().__init__()
        self.view = view


class ModelChosen(Message):
    """New entries are read with this model from now on."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class SelfTestProgressed(Message):
    """How far a self-test is, in words. Posted from its thread."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words


class SelfTestEnded(Message):
    """What a self-test comes to, line by line; `is_good` is None where it was stopped or could not be made."""

    def __init__(self, words: Sequence[str], is_good: bool | None) -> None:
        super().__init__()
        self.words = tuple(words)
        self.is_good = is_good


class SettingKept(Message):
    """A choice is written to the settings file."""
