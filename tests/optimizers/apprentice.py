"""Models that read gold entries rightly once they are shown how: DSPy's DummyLM, and answers of a server."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import dspy
from dspy.utils import DummyLM

from backend.graph.gold import GoldEntry
from tests.inference.faulty_server import Reply, completion

# In the instructions that the server proposes, and what it then reads rightly by.
BETTER = "Read with great care and mark every name."


class Apprentice(DummyLM):  # type: ignore[misc] # dspy ships no types
    """Finds nothing, unless its prompt has demonstrations."""

    # What a reader asks of a model beside answers.
    n_ctx_tokens = 8192
    max_answer_tokens = 512

    def __init__(self, entries: Sequence[GoldEntry]) -> None:
        super().__init__([], follow_examples=True, adapter=dspy.JSONAdapter())
        self.entries = entries

    def _use_example(self, messages: list[dict[str, Any]]) -> str:
        return right_answer(self.entries, messages[-1]["content"]) if len(messages) > 2 else '{"entities": []}'

    def count_tokens(self, text: str) -> int:
        """About."""
        return len(text) // 4


def right_answer(entries: Sequence[GoldEntry], question: str) -> str:
    """What the entry that the question quotes has to be found in it, as JSON."""
    entry = next(one for one in entries if one.text in question)
    things = dict.fromkeys((one.surface, one.type.value) for one in entry.mentions)
    return json.dumps({"entities": [{"surface": surface, "type": type_} for surface, type_ in things]})


def taught_by_words(entries: Sequence[GoldEntry]) -> Callable[[dict[str, Any]], Reply]:
    """A server's model that proposes better instructions when it is asked for some, and then reads rightly by them."""

    def answer(body: dict[str, Any]) -> Reply:
        fields = body["response_format"]["json_schema"]["schema"]["properties"]
        if "entities" not in fields:
            return completion(json.dumps(dict.fromkeys(fields, BETTER)))
        told = str(body["messages"][0]["content"])
        question = str(body["messages"][-1]["content"])
        return completion(right_answer(entries, question) if BETTER in told else '{"entities": []}')

    return answer
