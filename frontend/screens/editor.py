"""Writing: a text, its draft on disk as it grows, and saving it."""

import asyncio
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widgets import TextArea

from backend.domain import Draft, Episode
from backend.errors import CharlieError
from backend.text import title_of
from frontend.loading.draft_keeper import DraftKeeper
from frontend.messages import CallFailed, DraftFailed, DraftRecovered, EntrySaved
from frontend.screens.base import CharlieScreen
from frontend.state.wording import plural
from frontend.widgets.journal_area import JournalArea
from frontend.widgets.key_hints import Hint, KeyHints
from frontend.widgets.status_line import Problem
from frontend.widgets.title_bar import TitleBar

# Typing is on disk after this long at the latest, seconds.
DRAFT_DELAY_S = 0.4
_HINTS: tuple[Hint, ...] = (
    ("escape", "save and close", "screen.save_and_close"),
    ("ctrl+s", "save", "screen.save"),
    ("ctrl+q", "quit, draft kept", "app.quit"),
    ("f1", "help", "app.help"),
    ("ctrl+z", "undo typing", "screen.undo_typing"),
)


class EditorScreen(CharlieScreen):
    """One entry being written: a new one, an existing one, or a draft left over."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "save_and_close", "Save and close", priority=True),
        Binding("ctrl+s", "save", "Save", priority=True),
    ]

    def __init__(
        self, keeper: DraftKeeper, *, journal: str, episode: Episode | None = None, draft: Draft | None = None
    ) -> None:
        super().__init__(name="editor")
        self._keeper = keeper
        self._journal = journal
        self._uuid = keeper.episode_uuid
        self._title = episode.title if episode else ""
        # What the entry holds on disk.
        self._saved_text = episode.text if episode else ""
        self._initial_text = draft.text if draft else self._saved_text
        self._timer: Timer | None = None
        self._closes_when_saved = False
        self._is_saving = False
        # Why the last save, and the last draft, did not come about.
        self._save_problem = ""
        self._draft_problem = ""

    def compose(self) -> ComposeResult:
        yield TitleBar(id="title")
        yield JournalArea(self._initial_text, id="area")
        yield Problem(id="problem")
        yield KeyHints(_HINTS)

    def on_mount(self) -> None:
        self._area = self.query_one(JournalArea)
        self._problem = self.query_one(Problem)
        self._problem.show("")
        self._area.action_go_to_end()
        self._area.focus()
        self.call_after_refresh(self._show_title)

    def on_unmount(self) -> None:
        self.keep_draft()

    @property
    def _is_changed(self) -> bool:
        return self._area.text != self._saved_text

    def _show_title(self) -> None:
        text = self._area.text
        words = plural(len(text.split()), "word")
        self.query_one(TitleBar).show(title_of(self._area.head, self._title) if text.strip() else "New entry", words)

    @on(TextArea.Changed)
    def _note_typing(self) -> None:
        self.charlie.runtime.typed()

    # The draft

    @on(TextArea.Changed)
    def _note_change(self) -> None:
        if self._timer is None:
            self._timer = self.set_timer(DRAFT_DELAY_S, self._settle)

    def _settle(self) -> None:
        """Keeps the draft and counts words, in a pause or every `DRAFT_DELAY_S` while typing goes on."""
        self._timer = None
        self._show_title()
        if self._is_changed:
            # Lighter than a Textual worker, whose messages a key pressed just now would wait for.
            asyncio.get_running_loop().run_in_executor(None, self._keep, self._area.text, self._keeper.epoch)

    def _keep(self, text: str, epoch: int) -> None:
        try:
            self._keeper.keep(text, epoch)
        except CharlieError as error:
            self.post_message(DraftFailed(str(error)))
        else:
            if self._draft_problem:
                self.post_message(DraftRecovered())

    @on(DraftFailed)
    def _tell_draft_failure(self, event: DraftFailed) -> None:
        """A save may be under way, and says more: this changes nothing about it."""
        self._draft_problem = event.problem
        self._show_problem()
        self._note_change()

    @on(DraftRecovered)
    def _take_recovery(self) -> None:
        self._draft_problem = ""
        self._show_problem()

    def _show_problem(self) -> None:
        self._problem.show(self._save_problem or self._draft_problem)

    def keep_draft(self) -> None:
        """Writes the draft now, where there is something unsaved. Called when Charlie is about to end."""
        if self.is_mounted and self._is_changed:
            self._keep(self._area.text, self._keeper.epoch)

    # Saving

    # These keys go before the field's own, which in a long text may still wait for their turn: so the field
    # calls back once it has taken in what was typed first.

    def action_save(self) -> None:
        """Saves and stays."""
        self._area.call_later(self._save, closes=False)

    def action_save_and_close(self) -> None:
        """Saves what has changed and returns; without text it just returns."""
        self._area.call_later(self._save_and_close)

    def _save_and_close(self) -> None:
        text = self._area.text
        if text == self._saved_text or not text.strip():
            if self._uuid and not text.strip():
                self.say("Left as it was: an entry needs some text. To remove it, press d in the list.")
            self._leave()
        else:
            self._save(closes=True)

    def _save(self, *, closes: bool) -> None:
        if self._is_saving:
            self._closes_when_saved = self._closes_when_saved or closes
            return
        self._is_saving, self._closes_when_saved = True, closes
        self._save_problem = ""
        self._show_problem()
        text, journal = self._area.text, self.charlie.runtime.journal

        def save() -> str:
            if self._uuid:
                return journal.edit(self._uuid, text).uuid
            return journal.add(text, journal=self._journal, source="screen")

        self.ask(save, partial(EntrySaved, text=text))

    @on(EntrySaved)
    def _take_saved(self, event: EntrySaved) -> None:
        self._is_saving = False
        self.charlie.changed_in = self._journal
        self._uuid = self._keeper.episode_uuid = event.uuid
        self._saved_text = event.text
        if self._is_changed:
            # Typed while the save was under way: it belongs to the entry that exists now.
            self._note_change()
            if self._closes_when_saved:
                self._save(closes=True)
            return
        if self._closes_when_saved:
            self._leave()
        else:
            self._discard_draft()
            self.say("Saved.")

    @on(CallFailed)
    def _keep_text(self, event: CallFailed) -> None:
        """The text stays in the field and in the draft; the reason stands under it."""
        event.prevent_default().stop()
        self._is_saving = self._closes_when_saved = False
        self._save_problem = event.problem
        self._show_problem()
        self._note_change()

    def _leave(self) -> None:
        self._saved_text = self._area.text
        self._discard_draft()
        self.charlie.close_editor(self._uuid)

    def _discard_draft(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._keeper.discard()

    def action_undo_typing(self) -> None:
        """Takes back what was typed last."""
        self._area.undo()
