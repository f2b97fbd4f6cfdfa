"""The colours of the types of entities."""

# On dark and on light backgrounds: chosen for contrast, and to be told apart by most colour-blind people.
_COLOURS = {
    "entity-person": ("#7cb7ff", "#0b57b0"),
    "entity-place": ("#7fd88f", "#1f6f3a"),
    "entity-group": ("#ffb86b", "#9a4a00"),
    "entity-activity": ("#e59bff", "#8a1fa8"),
}


def entity_colours(*, is_dark: bool) -> dict[str, str]:
    """A colour for each type of entity, by the name of its CSS variable, that suits a dark or a light theme."""
    return {name: pair[not is_dark] for name, pair in _COLOURS.items()}
