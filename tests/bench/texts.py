"""Made-up entries and names, the same ones every time."""

from random import Random

# Two letters each.
_SYLLABLES = "bacedifoguhajekilomunaperisotuvawexiyozu"
_PEOPLE = ("Sarah", "Tom", "Miguel", "Aisha", "Ingrid", "Kenji", "Priya", "Olu", "Hannah", "Leila", "Chen", "Nora")
_SURNAMES = ("Miller", "Okafor", "Tanaka", "Lindqvist", "Moreau", "Haddad", "Novak", "Silva", "Petrov", "Byrne")
_PLACES = (
    "Lisbon",
    "the Blue Bottle",
    "Oak Street",
    "Berlin",
    "the old harbour",
    "Kyoto",
    "Cafe Luna",
    "Prospect Park",
)
_GROUPS = ("Acme Corp", "the book club", "the Tuesday choir", "St Mary's", "the hiking group", "Nordlicht", "the board")
_DOINGS = ("yoga", "climbing", "a long run", "pottery class", "chess", "choir practice", "swimming", "gardening")
_SENTENCES = (
    "Met {person} at {place} this morning and we talked far longer than either of us had planned.",
    "After {doing} I walked home by {place}, and the light on the water was worth the detour.",
    "{person} told me that {group} has moved the meeting to Thursday, which suits nobody.",
    "I keep thinking about what {person} said over lunch; perhaps I was too quick to answer.",
    "Slept badly, woke at five, made coffee and read until the house was awake.",
    "{group} sent the contract at last, with two clauses that I will have to ask about.",
    "In the evening {doing} with {person}, then soup and an early night.",
    "Mother called: the garden is dry, the neighbours are loud, and she misses {place}.",
    "There is a poster for {group} on every second lamp post between here and {place}.",
    "Spent an hour looking for my keys, which were in the pocket of the coat I was wearing.",
    "{person} and {other} are thinking of moving to {place} in the spring, if the job comes through.",
    "I have promised myself {doing} twice a week and have not yet broken the promise.",
    "The train was late again, so I finished the chapter and began a letter to {person}.",
    "We argued a little about money and made it up over dinner at {place}.",
)


def text_of(random: Random, n_words: int) -> str:
    """About `n_words` words as somebody writes them in the evening, with people and places in them."""
    words: list[str] = []
    while len(words) < n_words:
        sentence = random.choice(_SENTENCES).format(
            person=f"{random.choice(_PEOPLE)} {random.choice(_SURNAMES)}"
            if random.random() < 0.4
            else random.choice(_PEOPLE),
            other=random.choice(_PEOPLE),
            place=random.choice(_PLACES),
            group=random.choice(_GROUPS),
            doing=random.choice(_DOINGS),
        )
        words += sentence.split()
    return " ".join(words[:n_words])


def long_name(number: int) -> str:
    """A name of two words, another one for every number below 160,000."""
    parts = []
    for _ in range(4):
        number, digit = divmod(number, len(_SYLLABLES) // 2)
        parts.append(_SYLLABLES[2 * digit : 2 * digit + 2])
    return f"{parts[0]}{parts[1]} {parts[2]}{parts[3]}".title()


def short_name(number: int) -> str:
    """A name of three letters, another one for every number below 17,576."""
    letters = []
    for _ in range(3):
        number, digit = divmod(number, 26)
        letters.append(chr(ord("a") + digit))
    return "".join(letters).title()
