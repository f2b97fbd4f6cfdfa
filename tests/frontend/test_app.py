"""What can be done from anywhere: help, the palette, themes."""

import tomllib
from collections.abc import Awaitable, Callable

import pytest
from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.theme import BUILTIN_THEMES

from backend.services.runtime import Runtime
from backend.settings import Settings, load_settings
from frontend.app import CharlieApp

Shown = Callable[[App[None]], str]
Until = Callable[[Callable[[], object]], Awaitable[None]]
SIZE = (100, 40)


async def test_help_opens_and_closes(app: CharlieApp, shown: Shown, until: Until) -> None:
    """Help lists the keys; escape returns."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("question_mark")
        await until(lambda: "continue a draft that was never saved" in shown(app))
        await pilot.press("escape")
        await until(lambda: app.screen.name == "home")


async def test_the_palette_offers_charlies_commands(app: CharlieApp, shown: Shown, until: Until) -> None:
    """And runs the one that is chosen."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("ctrl+p")
        await until(lambda: "Switch journal" in shown(app) and "Retry" in shown(app) and "Quit" in shown(app))
        await pilot.press(*"new entry")
        await until(lambda: "Switch journal" not in shown(app) and "New entry" in shown(app))
        await pilot.press("enter")
        await until(lambda: app.screen.name == "editor")


async def test_a_chosen_theme_is_kept(app: CharlieApp, settings: Settings, until: Until) -> None:
    """It is written to the settings file, from where the next start takes it."""
    async with app.run_test(size=SIZE):
        app.theme = "nord"
        path = settings.home / "charlie.toml"
        await until(lambda: path.exists() and tomllib.loads(path.read_text())["theme"] == "nord")
    again = Runtime(load_settings(home=settings.home))
    assert CharlieApp(again).theme == "nord"


async def test_a_theme_that_does_not_exist_is_no_reason_to_stop(settings: Settings) -> None:
    """The settings file is edited by hand too."""
    app = CharlieApp(Runtime(load_settings(home=settings.home, theme="no-such-theme")))
    assert app.theme == "textual-dark"


@pytest.mark.parametrize("theme", sorted(BUILTIN_THEMES))
async def test_the_types_of_entities_have_colours_in_every_theme(app: CharlieApp, theme: str) -> None:
    """Four different ones."""
    app.theme = theme
    colours = [app.get_css_variables()[f"entity-{name}"] for name in ("person", "place", "group", "activity")]
    assert len(set(colours)) == 4


async def test_nothing_to_undo_is_said(app: CharlieApp, shown: Shown, until: Until) -> None:
    """In place of an error."""
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await pilot.press("u")
        await until(lambda: "There is nothing to undo." in shown(app))


async def test_the_mouse_serves_too(app: CharlieApp, runtime: Runtime, shown: Shown, until: Until) -> None:
    """A click opens an entry; a click on a key's hint does what the key does."""
    runtime.journal.add("Click me")
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: "Click me" in shown(app))
        line = next(y for y, text in enumerate(shown(app).splitlines()) if "Click me" in text)
        await pilot.click(offset=(20, line))
        await until(lambda: app.screen.name == "reader" and "Click me" in shown(app))
        last = shown(app).splitlines()[-1]
        await pilot.click(offset=(last.index("? help") + 3, SIZE[1] - 1))
        await until(lambda: "continue a draft that was never saved" in shown(app))


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "catppuccin-latte"])
async def test_every_word_of_the_list_is_legible(
    app: CharlieApp, runtime: Runtime, shown: Shown, until: Until, theme: str
) -> None:
    """4.5 to 1 at least between a word and what is behind it, on dark and on light."""
    runtime.journal.add("By the river\nCold water.")
    app.theme = theme
    async with app.run_test(size=(100, 32)):
        await until(lambda: "1 entry" in shown(app) and "waits" in shown(app))
        styles = {
            segment.text.strip(): segment.style
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if segment.text.strip(" ▌")
        }
        faint = [text for text, style in styles.items() if style is None or _contrast(style) < 4.5]
        assert not faint


def _contrast(style: Style) -> float:
    """The contrast ratio of WCAG 2.1, 1 to 21."""
    assert style.color is not None
    assert style.bgcolor is not None
    dark, light = sorted(_luminance(Color.from_rich_color(colour)) for colour in (style.color, style.bgcolor))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Color) -> float:
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
