"""A shelf reads each passage once, forgets the oldest, and shows what it is asked to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.building import Reading
from memory.catalogue import Passage
from memory.lookup import Memory
from memory.reading import Pairs, Text
from prover.recall.shelf import Shelf
from tests.recall.counting import CountingReader, key_of


def reading(*tokens: int) -> Reading:
    return Reading((1, 2), Passage("", "", "step", tokens))


def shelf(reader: CountingReader, capacity: int = 1000) -> Shelf[int]:
    return Shelf(reader, capacity)


def put(onto: Shelf[int], *tokens: int) -> None:
    """Have a passage read of each token, three times the same."""
    for token in tokens:
        onto.note(token, lambda token=token: reading(token, token, token))  # type: ignore[misc]
    list(onto.read_waiting())


def finds(memories: Sequence[Memory], token: int) -> bool:
    """Whether a token's key is there: it is then the nearest of all to itself."""
    query = torch.from_numpy(key_of(token))
    found = [memory.look_up(query, 1) for memory in memories]
    return any(bool((it.found & ((it.keys * query[:, :, None]).sum(-1) > 0.999)).all()) for it in found)


def test_each_passage_is_read_once() -> None:
    reader = CountingReader()
    own = shelf(reader)
    assert own.note(7, lambda: reading(7)) and not own.note(7, lambda: reading(7))
    assert own.waiting == 1 and len(own) == 0 and reader.batches == []
    list(own.read_waiting())
    assert own.waiting == 0 and len(own) == 1 and 7 in own
    assert not own.note(7, lambda: reading(7)) and own.waiting == 0
    assert reader.texts == [(1, 2, 7)]


def test_what_fails_to_be_read_waits() -> None:
    class Broken(CountingReader):
        def read(self, texts: Sequence[Text]) -> Pairs:
            raise MemoryError

    own = shelf(Broken())
    own.note(1, lambda: reading(1))
    with pytest.raises(MemoryError):
        list(own.read_waiting())
    assert own.waiting == 1 and len(own) == 0


def test_of_a_passage_that_is_too_long_the_end_is_kept() -> None:
    reader = CountingReader()
    own = shelf(reader)
    own.note(1, lambda: reading(*range(10, 400)))
    (read,) = own.read_waiting()
    assert read.passages[0].tokens == tuple(range(400 - reader.max_tokens, 400))
    assert len(own) == reader.max_tokens
    own.check_invariants()


def test_a_memory_that_was_handed_out_grows_and_loses_nothing() -> None:
    own = shelf(CountingReader(), capacity=12)
    put(own, 1)
    (before,) = own.memories()
    put(own, 2)
    assert own.memories() == (before,) and finds([before], 2)
    for token in (3, 4, 5):
        put(own, token)
    assert all(finds([before], token) for token in (1, 2))
    assert not finds(own.memories(), 1) and finds(own.memories(), 5)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(0, 12), max_size=4), max_size=6), st.integers(2, 8))
def test_the_newest_are_there_and_a_view_shows_what_it_keeps(batches: list[list[int]], passages: int) -> None:
    own = shelf(CountingReader(), capacity=6 * passages)
    for batch in batches:
        put(own, *batch)
        own.check_invariants()
    assert len(own) <= 2 * max(3 * passages, 3 * 4), "half of the room, or the last batch"
    even = own.view("even", lambda token: token % 2 == 0)
    everything = own.memories()
    for token in {token for batch in batches for token in batch}:
        assert finds(everything, token) is (token in own)
        assert finds(even, token) is (token in own and token % 2 == 0)


def test_a_view_is_the_same_object_until_something_is_added() -> None:
    own = shelf(CountingReader())
    put(own, 1, 2)
    odd = own.view("odd", lambda token: token % 2 == 1)
    assert own.view("odd", lambda token: token % 2 == 1) == odd and len(odd[0]) == 3
    put(own, 3)
    assert len(odd[0]) == 3, "a view stays as it is"
    assert len(own.view("odd", lambda token: token % 2 == 1)[0]) == 6
