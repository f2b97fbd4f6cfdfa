"""DSPy signatures of the reader: the docstrings are prompts, the types are the answer's schema.

Lists and strings are bounded, so that no model can answer without end.
"""

import hashlib
import json
from typing import Annotated, Literal

import dspy
from pydantic import BaseModel, ConfigDict, Field


class NamedThing(BaseModel):
    """Something named in the entry."""

    model_config = ConfigDict(extra="forbid")

    surface: Annotated[str, Field(min_length=1, max_length=80)]
    type: Literal["Person", "Place", "Group", "Activity"]


class FindEntities(dspy.Signature):  # type: ignore[misc]  # dspy ships no types
    """Find the people, places, groups and activities that a journal entry names.

    Copy each surface exactly as it stands in the entry, letter for letter, and list it once.
    Person: somebody by name, or by a kin or role word used as a name (Mum, Coach).
    Place: a named or definite place the writer goes to.
    Group: a company, team, club, family or circle with a name.
    Activity: something the writer or others do, or an event, as a short noun phrase (swimming lesson, dinner).
    Leave out pronouns, dates, feelings, foods, objects, films, products and pets.
    List nothing that is not in the entry; the list may be empty.
    """

    written_on: str = dspy.InputField(desc="weekday and date of the entry")
    entry: str = dspy.InputField()
    entities: Annotated[list[NamedThing], Field(max_length=64)] = dspy.OutputField()


def schema_hash() -> str:
    """What is asked for and in which form, apart from the instructions: 16 hex digits of SHA-256."""
    schema = FindEntities.model_json_schema()
    del schema["description"]  # pydantic has the instructions there
    return hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest()[:16]
