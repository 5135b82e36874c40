"""Reading: what is kept is what the memory layer would tell in a plain run, and nothing above it runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM

from memory.errors import MemoryInputError
from memory.modeling import MemoryShape, attach
from memory.reading import Pairs, Reader, Text
from tests.memory.exact import Recorded

torch.set_num_threads(1)

HEADS, WIDTH, LONGEST = 2, 8, 24


def plain() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=HEADS,
        head_dim=WIDTH,
        max_position_embeddings=64,
    )
    model: Any = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        # As it is made, attention hardly matters.
        for name, weight in model.named_parameters():
            weight.mul_(10.0 if "proj" in name else 1.0)
    return model


MODEL = attach(plain(), layer=1)


def reader(batch_tokens: int = 64, **options: Any) -> Reader:
    return Reader(MODEL, LONGEST, batch_tokens, **options)


@torch.inference_mode()
def told(tokens: tuple[int, ...], kept: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """What a recorder is told of the last tokens in a run of the whole model, (kept, H, D) both."""
    recorded = Recorded()
    MODEL(torch.tensor([tokens]), recorder=recorded)
    ((keys, values),) = recorded.runs
    last, first = (it[0, :, -kept:].transpose(0, 1).numpy() for it in (keys, values))
    return last, first


def assert_close(pairs: Pairs, keys: NDArray[Any], values: NDArray[Any]) -> None:
    assert pairs.keys.dtype == pairs.values.dtype == np.float16
    assert pairs.keys.shape == pairs.values.shape == keys.shape
    # Float16 has 11 bits.
    np.testing.assert_allclose(pairs.keys, keys, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(pairs.values, values, rtol=1e-3, atol=1e-3)


def texts(longest: int = LONGEST) -> st.SearchStrategy[Text]:
    tokens = st.lists(st.integers(0, 39), min_size=1, max_size=longest).map(tuple)
    return tokens.flatmap(lambda ids: st.builds(Text, st.just(ids), st.integers(1, len(ids))))


@settings(max_examples=25)
@given(st.lists(texts(), max_size=8), st.sampled_from([1, 30, 1000]))
def test_keys_and_values_are_those_of_a_plain_run(given: list[Text], batch_tokens: int) -> None:
    pairs = reader(batch_tokens).read(given)
    expected = [told(text.tokens, text.kept) for text in given]
    none = np.zeros((0, HEADS, WIDTH))
    keys, values = (
        (np.concatenate([none, *kind]) for kind in zip(*expected, strict=True))
        if given
        else (
            none,
            none,
        )
    )
    assert_close(pairs, keys, values)


@settings(max_examples=15)
@given(st.lists(texts(), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_other_texts_and_their_order_do_not_matter(given: list[Text], random: Any) -> None:
    order = list(range(len(given)))
    random.shuffle(order)
    one, other = reader().read(given), reader(200).read([given[place] for place in order])
    ends = np.cumsum([0, *(given[place].kept for place in order)])
    starts = np.cumsum([0, *(text.kept for text in given)])
    for at, place in enumerate(order):
        own, same = slice(starts[place], starts[place + 1]), slice(ends[at], ends[at + 1])
        assert_close(Pairs(one.keys[own], one.values[own]), other.keys[same], other.values[same])


def test_keys_have_unit_length_and_values_differ() -> None:
    pairs = reader().read([Text((5, 6, 7, 8), 4)])
    np.testing.assert_allclose(np.linalg.norm(pairs.keys.astype(np.float32), axis=-1), 1.0, atol=2e-3)
    assert len(np.unique(pairs.values)) > 4 * WIDTH


def test_what_stands_before_matters() -> None:
    """The context is read, though it is not kept."""
    one, other = (reader().read([Text((first, 6, 7), 1)]).keys for first in (3, 30))
    assert np.abs(one - other).max() > 0.01


@pytest.mark.parametrize(("kept", "left"), [(3, 3), (LONGEST, LONGEST), (LONGEST + 5, LONGEST)])
def test_of_a_long_text_the_beginning_is_left_out(kept: int, left: int) -> None:
    tokens = tuple(place % 40 for place in range(LONGEST + 9))
    assert_close(reader().read([Text(tokens, kept)]), *told(tokens[-LONGEST:], left))


def test_a_text_longer_than_a_batch_is_read_all_the_same() -> None:
    tokens = tuple(range(1, 20))
    assert_close(
        reader(batch_tokens=4).read([Text(tokens, 19)] * 2),
        *(np.tile(it, (2, 1, 1)) for it in told(tokens, 19)),
    )


def test_layers_above_the_memory_do_not_run() -> None:
    runs = [0, 0, 0, 0]

    def count(place: int) -> Any:
        def hook(*_: object) -> None:
            runs[place] += 1

        return hook

    watched = [*MODEL.model.layers, MODEL.lm_head]
    handles = [it.register_forward_pre_hook(count(place)) for place, it in enumerate(watched)]
    reader().read([Text((1, 2, 3), 1)])
    [handle.remove() for handle in handles]
    # The layer that has the memory begins, and is left in the middle.
    assert runs == [1, 1, 0, 0]


def test_a_batch_holds_so_many_tokens_at_most() -> None:
    sizes: list[tuple[int, int]] = []
    handle = MODEL.model.embed_tokens.register_forward_pre_hook(
        lambda _, args: sizes.append(tuple(args[0].shape))
    )
    reader(batch_tokens=40).read([Text(tuple(range(1, length + 1)), 1) for length in (3, 20, 4, 10, 3, 12)])
    handle.remove()
    assert all(rows * length <= 40 for rows, length in sizes)
    assert sum(rows for rows, _ in sizes) == 6
    # Those of about the same length go together.
    assert (4, 10) in sizes


def test_fast_is_about_the_same() -> None:
    given = [Text((5, 6, 7, 8), 4)]
    exact, fast = reader().read(given), reader(fast=True).read(given)
    assert not np.array_equal(exact.keys, fast.keys)
    np.testing.assert_allclose(exact.keys, fast.keys, atol=0.1)


def test_nothing_to_read() -> None:
    pairs = reader().read([])
    assert pairs.keys.shape == pairs.values.shape == (0, HEADS, WIDTH)


def test_what_a_reader_says_and_refuses() -> None:
    assert reader().shape == MemoryShape(1, HEADS, WIDTH)
    assert reader().max_tokens == LONGEST
    with pytest.raises(MemoryInputError, match="has no memory layer"):
        Reader(plain(), LONGEST)
    for tokens, kept in (((), 0), ((1, 2), 0), ((1, 2), 3)):
        with pytest.raises(MemoryInputError, match=f"{kept} tokens are to be kept of {len(tokens)}"):
            Text(tokens, kept)


def test_with_a_shift_a_token_has_the_key_of_the_one_before_it() -> None:
    model = attach(plain(), layer=1, shift=1)
    tokens = (3, 1, 4, 1, 5, 9, 2)
    keys, values = told(tokens, len(tokens))
    some = Reader(model, LONGEST).read([Text(tokens, 4), Text(tokens[:2], 2)])
    assert_close(
        some,
        np.concatenate([keys[2:6], keys[:1], keys[:1]]),
        np.concatenate([values[3:], values[:2]]),
    )


def test_a_shift_is_none_or_one() -> None:
    with pytest.raises(MemoryInputError, match="not 2"):
        attach(plain(), layer=1, shift=2)
