"""Names in many scripts, cleaned for display and folded for comparison."""

import pytest

from backend.graph.names import clean_name, is_name, key_of


@pytest.mark.parametrize(
    ("surface", "name"),
    [
        ("Anna’s", "Anna"),
        ("Anna's", "Anna"),
        ("the Joneses'", "the Joneses"),
        ("  “Café\nCentral”, ", "Café Central"),
        ("**Mom**", "Mom"),
        ("O'Brien", "O'Brien"),
        ("U.S.", "U.S"),
        ("[[Anna]]", "Anna"),
        ("¿Ana?", "Ana"),
        ("「東京」", "東京"),
        ("（東京）、", "東京"),
        ("أحمد،", "أحمد"),
        ("राम।", "राम"),
        ("Jean-Luc", "Jean-Luc"),
        ("e\u0301milie", "e\u0301milie"),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
        ("...", ""),
        ("'s", "s"),
    ],
)
def test_clean_name(surface: str, name: str) -> None:
    """Quotes, brackets, punctuation and the possessive go; what is inside stays as written."""
    assert clean_name(surface) == name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ANNA", "anna"),
        ("Café", "Cafe\u0301"),
        ("Straße", "STRASSE"),
        ("Anna’s", "anna"),
        ("O’Brien", "O'Brien"),
        ("ＴＯＫＹＯ", "tokyo"),
        ("（東京）", "東京"),
        ("New  York\n", "new york"),
        ("Ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ"),
        ("Москва", "МОСКВА"),
        ("ﬁona", "Fiona"),
    ],
)
def test_the_same_name_written_differently(one: str, other: str) -> None:
    """Case, width, ligatures, composition and apostrophes make no difference."""
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(("one", "other"), [("Jose", "José"), ("Ann", "Anna"), ("е", "e"), ("Ali", "علي")])
def test_different_names_stay_apart(one: str, other: str) -> None:
    """Accents and scripts distinguish."""
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize(
    "name", ["İstanbul", "（東京）", "…x…", "ŉx", "ǰ", "Ω", "ﷺ", "٣", "“‘a’”", "ẞ's", "a\u0345", "ﾃﾞ"]
)
def test_a_key_is_its_own_key(name: str) -> None:
    """Folding twice changes nothing, so stored keys and new ones meet."""
    assert key_of(key_of(name)) == key_of(name)


@pytest.mark.parametrize(
    ("name", "answer"), [("Al", True), ("7", True), ("東", True), ("", False), ("--", False), ("👍", False)]
)
def test_is_name(name: str, answer: bool) -> None:
    """A name has a letter or a digit in some script."""
    assert is_name(name) is answer


def test_a_name_has_an_end() -> None:
    """80 characters are a name, 81 are not."""
    assert is_name("x" * 80)
    assert not is_name("x" * 81)
