"""Where one can go: the one module that knows the screens.

All but the first are imported when they are opened, or once that one is shown: each import says what it costs.
"""

import gc
import importlib
from collections.abc import Callable, Sequence
from threading import Thread
from typing import TYPE_CHECKING

from textual.app import App
from textual.screen import Screen

from backend.domain import Draft, Entity, Episode
from frontend.loading.draft_keeper import DraftKeeper
from frontend.messages import EntryWritten
from frontend.screens.base import CharlieScreen
from frontend.screens.home import HomeScreen

if TYPE_CHECKING:
    from backend.services.drafts import Drafts

_LISTS = ("home", "reader", "mentions")
# Screens from which one can go to the others.
PLACES = (*_LISTS, "review")


def home() -> Screen[None]:
    """The list of entries."""
    return HomeScreen()


def open_editor(
    app: App[None],
    drafts: "Drafts",
    journal: str,
    *,
    episode: Episode | None = None,
    draft: tuple[str, Draft] | None = None,
) -> None:
    """Opens an editor: empty, for a new entry of `journal`; with an entry; or with a draft left over."""
    from frontend.screens.editor import EditorScreen  # TextArea: 11 ms

    draft_id, left = draft or (drafts.new_id(), None)
    episode_uuid = episode.uuid if episode else left.episode_uuid if left else ""
    journal = episode.journal if episode else left.journal if left else journal
    keeper = DraftKeeper(drafts, draft_id, episode_uuid, journal)
    app.push_screen(EditorScreen(keeper, journal=journal, episode=episode, draft=left))


def close_editor(app: App[None], uuid: str) -> None:
    """Back from the editor; the list shows where the entry stands that was written, if one was."""
    app.pop_screen()
    if app.screen.name == "home" and uuid:
        app.screen.post_message(EntryWritten(uuid))


def keep_drafts(app: App[None]) -> None:
    """Writes what is being typed, whatever lies over the editor."""
    for screen in app.screen_stack:
        if isinstance(screen, CharlieScreen):
            screen.keep_draft()


def open_reader(app: App[None], uuid: str, order: tuple[str, ...] = ()) -> None:
    """Opens an entry; `order` is what next and previous step through."""
    from frontend.screens.reader import ReaderScreen  # Markdown: 55 ms

    app.push_screen(ReaderScreen(uuid, order))


def open_mentions(app: App[None], entity: Entity, journal: str) -> None:
    """Opens the list of the entries of `journal` that mention an entity."""
    from frontend.screens.mentions import MentionsScreen  # 2 ms

    app.push_screen(MentionsScreen(entity, journal))


def open_review(app: App[None]) -> None:
    """Opens the list of entries with something in them that is not sure."""
    from frontend.screens.review import ReviewScreen  # 2 ms

    if app.screen.name in _LISTS:
        app.push_screen(ReviewScreen())


def open_settings(app: App[None]) -> None:
    """Opens the settings and the models there are."""
    from frontend.screens.settings import SettingsScreen  # 5 ms

    if app.screen.name in PLACES:
        app.push_screen(SettingsScreen())


def open_help(app: App[None]) -> None:
    """Shows every key, over what is shown."""
    from frontend.screens.help import HelpScreen  # 2 ms

    if not isinstance(app.screen, HelpScreen):
        app.push_screen(HelpScreen())


def open_journals(
    app: App[None], journals: Sequence[tuple[str, int]], current: str, chosen: Callable[[str | None], None]
) -> None:
    """Offers `journals` and `current`, which may have no entry yet; `chosen` gets a name, or None."""
    from frontend.screens.journals import JournalsScreen  # 1 ms

    counts = {current: 0, **dict(journals)}
    app.push_screen(JournalsScreen(sorted(counts.items()), current), chosen)


def import_screens() -> None:
    """Imports the larger screens in a thread, so that the first of each opens at once."""
    Thread(target=_import, name="imports", daemon=True).start()


def _import() -> None:
    for name in ("editor", "reader", "mentions"):
        importlib.import_module(f"frontend.screens.{name}")
    # What is loaded by now stays: the collector need not look at it again, which takes 30 ms between two keys.
    gc.freeze()
    gc.enable()
