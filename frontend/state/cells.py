"""Text on a grid of terminal cells: cut, padded, and with nothing in it that a terminal would obey."""

from rich.cells import cell_len, set_cell_size

from backend.text import for_terminal

# One visible character for each control character, so that offsets stay: C0 has pictures, C1 has none.
_PICTURES = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)} | {0x7F: 0x2421}
_PICTURES |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
# Separators that lay text out in lines or columns, and overrides that would reorder the rest of a screen line.
_LAYOUT = dict.fromkeys((0x09, 0x0A, 0x2028, 0x2029), 0x20)


def one_line(text: str) -> str:
    """`text` for one screen line: control characters shown, line breaks and tabs as spaces."""
    return for_terminal(text.translate(_LAYOUT))


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells: padded with spaces, or cut with an ellipsis."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…"


def both_ends(left: str, right: str, width: int) -> tuple[str, str]:
    """`left` and `right` as the ends of a line of `width` cells; the left one is cut where there is no room."""
    right = one_line(right)
    room = width - cell_len(right) - (2 if right else 0)
    if room < 8:
        return fit(one_line(left), width), ""
    return fit(one_line(left), room) + ("  " if right else ""), right


def with_pictures(text: str) -> str:
    """`text` with each control character as one visible one: every offset stays. Newline and tab are kept."""
    return text.translate(_PICTURES)
