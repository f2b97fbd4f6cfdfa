"""The keys that serve in the reader, by where the cursor is."""

from frontend.widgets.key_hints import Hint

IN_TEXT: tuple[Hint, ...] = (
    ("escape", "back", "screen.back"),
    ("tab", "connections", "screen.connections"),
    ("e", "edit", "screen.edit"),
    ("d", "delete", "screen.delete"),
    ("n", "next", "screen.step(1)"),
    ("p", "previous", "screen.step(-1)"),
    ("?", "help", "app.help"),
)
IN_TEXT_UNSURE: tuple[Hint, ...] = (
    ("escape", "back", "screen.back"),
    ("tab", "decide what is unsure", "screen.connections"),
    *IN_TEXT[2:],
)
ON_CONNECTION: tuple[Hint, ...] = (
    ("escape", "back", "screen.back"),
    ("enter", "entries mentioning it", "screen.mentions"),
    ("x", "not an entity here", "screen.reject"),
    ("u", "undo", "app.undo"),
    ("tab", "text", "screen.connections"),
)
ON_DOUBT: tuple[Hint, ...] = (
    ("escape", "back", "screen.back"),
    ("a", "it is right", "screen.accept"),
    ("x", "it is nothing", "screen.reject"),
    ("u", "undo", "app.undo"),
    ("tab", "text", "screen.connections"),
)
# The last doubt is decided, and the cursor stands nowhere.
ON_NOTHING: tuple[Hint, ...] = tuple(hint for hint in ON_DOUBT if hint[0] not in "ax")
