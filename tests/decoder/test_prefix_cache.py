"""Keys and values of earlier prompts: what is kept, and that answers are the same with them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prover.decoder.branches import NO_PREFIX, Layers, Prefix, start
from prover.decoder.checkpoint import LoadedModel, load_checkpoint
from prover.decoder.prefix_cache import PrefixCache, common_prefix, scope_of
from tests.decoder.tiny import tiny_checkpoint
from tests.memory.exact import random_memory

torch.set_num_threads(1)

#: Of one token, as :func:`layers` makes them.
TOKEN = 2 * 2 * 4


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_checkpoint(str(tiny_checkpoint(tmp_path_factory.mktemp("tiny"))), "cpu", "float32")


def layers(prompt: tuple[int, ...], scope: int = 0) -> Layers:
    """Keys that tell which tokens they belong to, and values that tell which scope."""
    keys = torch.tensor(prompt, dtype=torch.float32)[None, :, None].expand(1, -1, 2).contiguous()
    return ((keys, torch.full_like(keys, scope)),)


prompts = st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple)
scopes = st.integers(0, 2)


@given(st.lists(st.tuples(prompts, scopes), max_size=12), prompts, scopes, st.integers(0, 20))
def test_the_longest_beginning_that_is_kept(
    kept: list[tuple[tuple[int, ...], int]], asked: tuple[int, ...], scope: int, room: int
) -> None:
    cache = PrefixCache(room * TOKEN)
    for prompt, own in kept:
        cache.keep(prompt, layers(prompt, own), own)
        cache.check_invariants()
    prefix = cache.longest(asked, scope)
    assert prefix.length < len(asked)
    if prefix.length:
        ((keys, values),) = prefix.layers
        assert keys[0, : prefix.length, 0].tolist() == list(asked[: prefix.length])
        assert set(values.flatten().tolist()) == {scope}
    if sum(len(prompt) for prompt, _ in set(kept)) <= room:
        best = max((common_prefix(prompt, asked) for prompt, own in kept if own == scope), default=0)
        assert prefix.length == min(best, len(asked) - 1)


@given(st.integers(0, 3), st.integers(0, 3))
def test_a_scope_is_a_memory_as_long_as_it_does_not_grow(one: int, other: int) -> None:
    memory, twin = random_memory(1, one, 2), random_memory(1, one, 2)
    before = scope_of(memory)
    assert before == scope_of(memory) and hash(before) == hash(scope_of(memory))
    assert (before == scope_of(twin)) == (one == 0)
    assert (before == scope_of(None)) == (one == 0)
    memory.keys = torch.cat([memory.keys, torch.ones(1, other, 2)], dim=1)
    assert (before == scope_of(memory)) == (other == 0)


def test_a_kept_scope_is_no_other_memory_that_came_after_it() -> None:
    cache = PrefixCache(1000)
    for number in range(20):
        # Each is gone but for the cache before the next is made, often in the same place.
        scope = scope_of(random_memory(1, 3, 2))
        assert cache.longest((1, 2, number), scope) == NO_PREFIX
        cache.keep((1, 2), layers((1, 2)), scope)


def test_the_longest_unused_is_dropped() -> None:
    cache = PrefixCache(6 * TOKEN)
    cache.keep((1, 1), layers((1, 1)))
    cache.keep((2, 2), layers((2, 2)))
    assert cache.longest((1, 1, 5)).length == 2
    cache.keep((3, 3, 3), layers((3, 3, 3)))
    assert cache.longest((2, 2, 5)) == NO_PREFIX
    assert cache.longest((1, 1, 5)).length == 2
    assert (len(cache), cache.held) == (2, 5 * TOKEN)


def test_what_is_larger_than_all_the_room_is_not_kept() -> None:
    cache = PrefixCache(2 * TOKEN)
    cache.keep((1,), layers((1,)))
    cache.keep((1, 2, 3), layers((1, 2, 3)))
    assert cache.longest((1, 2, 3)).length == 1
    assert cache.clear()
    assert not cache.clear()
    assert (len(cache), cache.held) == (0, 0)


def test_keys_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="of 3 tokens"):
        PrefixCache(1000).keep((1, 2, 3), layers((1, 2)))


@torch.inference_mode()
def test_logits_are_the_same_whatever_is_in_the_cache(loaded: LoadedModel) -> None:
    model = loaded.model
    asked = [tuple(range(10, 30)), tuple(range(10, 17)), (5, 6, 7, 8), (9,), tuple(range(10, 60))]
    kept = [tuple(range(10, 20)), (10, 11, 3), (5, 6, 7, 8, 9)]
    _, _, own = start(model, kept, [NO_PREFIX] * 3)
    cache = PrefixCache(10**6)
    for prompt, layer in zip(kept, own, strict=True):
        cache.keep(prompt, layer)
    prefixes = [cache.longest(prompt) for prompt in asked]
    assert [prefix.length for prefix in prefixes] == [10, 6, 3, 0, 10]
    _, cached, again = start(model, asked, prefixes)
    for prompt, logits, layer in zip(asked, cached, again, strict=True):
        alone = model(input_ids=torch.tensor([prompt])).logits[0, -1]
        torch.testing.assert_close(logits, alone, atol=1e-5, rtol=0)
        _, _, (plain,) = start(model, [prompt], [NO_PREFIX])
        torch.testing.assert_close(layer, plain, atol=1e-5, rtol=0)


def test_a_prompt_is_never_all_prefix(loaded: LoadedModel) -> None:
    with pytest.raises(ValueError, match="beyond its prefix"):
        start(loaded.model, [(1, 2)], [Prefix(2, ())])
