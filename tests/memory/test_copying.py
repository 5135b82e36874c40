"""Copying from a memory: the mixture against loops in float64, and what a model makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from memory.copying import Copies, CopyRule
from memory.errors import MemoryInputError
from memory.external import ExternalMemory
from memory.modeling import attach
from tests.memory.test_modeling import HEADS, WIDTH, plain

torch.set_num_threads(1)

VOCABULARY = 40
RULE = CopyRule(centre=0.3, slope=5.0, scale=7.0, growth=0.1)
ENTRIES = 5000


def expected(own: np.ndarray, cosines: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The formula of the module's docstring, for one token: own (V,), the rest (H, K); probabilities."""
    heads = [head for head in range(len(tokens)) if (tokens[head] >= 0).any()]
    if not heads:
        return own
    copied, nearest = np.zeros_like(own), 0.0
    for head in heads:
        known = tokens[head] >= 0
        weights = np.exp(RULE.scale * cosines[head][known])
        for token, weight in zip(tokens[head][known], weights / weights.sum(), strict=True):
            copied[token] += weight / len(heads)
        nearest += cosines[head][known].max() / len(heads)
    centre = RULE.centre + RULE.growth * np.log(ENTRIES / 1024)
    share = 1.0 / (1.0 + np.exp(-RULE.slope * (nearest - centre)))
    mixture: np.ndarray = (1.0 - share) * own + share * copied
    return mixture


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.3, 0.9]),
)
def test_the_mixture_is_what_its_formula_says(
    asked: int, heads: int, k: int, seed: int, unknown: float
) -> None:
    draw = np.random.default_rng(seed)
    logits = torch.from_numpy(draw.normal(size=(2, 5, VOCABULARY))).float()
    places = [divmod(int(it), 5) for it in draw.choice(10, asked, replace=False)]
    cosines = draw.uniform(-1, 1, (asked, heads, k))
    tokens = draw.integers(0, VOCABULARY, (asked, heads, k))
    tokens[draw.random(tokens.shape) < unknown] = -1
    copies = Copies(RULE)
    rows, columns = (torch.tensor(it) for it in zip(*places, strict=True))
    copies.keep(rows, columns, torch.from_numpy(cosines), torch.from_numpy(tokens), ENTRIES)
    found = copies.mixed(logits, torch.arange(5))
    for row, column in np.ndindex(2, 5):
        own = logits[row, column]
        if (row, column) not in places or (tokens[places.index((row, column))] < 0).all():
            assert torch.equal(found[row, column], own), "nothing to copy leaves every bit"
            continue
        at = places.index((row, column))
        probabilities = expected(own.double().softmax(0).numpy(), cosines[at], tokens[at])
        assert found[row, column].double().exp().numpy() == pytest.approx(probabilities, abs=1e-6)
    for kept in ([2], [4, 1], [0, 1, 2, 3, 4]):
        some = copies.mixed(logits[:, kept], torch.tensor(kept))
        # Sums over a batch of another shape may differ in their last bit.
        torch.testing.assert_close(some, found[:, kept], atol=1e-5, rtol=1e-5)


def memory_tokens() -> np.ndarray:
    """Of thirty entries, only a few of all tokens."""
    return np.random.default_rng(3).choice([3, 7, 20, 31], 30).astype(np.int32)


def memory(tokens: bool = True) -> ExternalMemory:
    draw = np.random.default_rng(3)
    keys, values = draw.normal(size=(2, 30, HEADS, WIDTH)).astype(np.float32)
    keys /= np.linalg.norm(keys, axis=-1, keepdims=True)
    return ExternalMemory("torch", keys, values, tokens=memory_tokens() if tokens else None)


def model(copy: float | None, family: str = "llama") -> Any:
    made = attach(plain(family), shift=1, copy=copy)
    made.eval()
    return made


def ids(rows: int, seed: int = 1) -> Tensor:
    return torch.randint(1, VOCABULARY, (rows, 6), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_a_model_copies_from_what_it_looks_up_and_from_nothing_else(family: str) -> None:
    tokens, copying, never = ids(2), model(0.0, family), model(None, family)
    asking = torch.zeros_like(tokens, dtype=torch.bool)
    asking[:, 3:] = True
    with torch.inference_mode():
        plainly = never(tokens, memories=[memory(), memory()], memory_queries=asking).logits
        found = copying(tokens, memories=[memory(), memory()], memory_queries=asking).logits
        unknown = copying(tokens, memories=[memory(False)] * 2, memory_queries=asking).logits
        one = copying(tokens, memories=[None, memory()], memory_queries=asking).logits
        without = copying(tokens).logits
    assert torch.equal(unknown, plainly) and torch.equal(without, never(tokens).logits)
    assert torch.equal(found[:, :3], plainly[:, :3])
    assert not torch.allclose(found[:, 3:].softmax(-1), plainly[:, 3:].softmax(-1), atol=1e-3)
    assert found[:, 3:].exp().sum(-1).numpy() == pytest.approx(1.0, abs=1e-5)
    assert torch.equal(one[0], without[0]) and torch.allclose(one[1], found[1], atol=1e-5)


def test_only_some_logits_and_a_loss_are_of_the_mixture() -> None:
    tokens, copying, known = ids(2), model(0.0), [memory()] * 2
    with torch.inference_mode():
        whole = copying(tokens, memories=known)
        last = copying(tokens, memories=known, logits_to_keep=2).logits
        chosen = copying(tokens, memories=known, logits_to_keep=torch.tensor([4, 1])).logits
        loss = copying(tokens, labels=tokens, memories=known).loss
    assert torch.allclose(last, whole.logits[:, -2:], atol=1e-6)
    assert torch.allclose(chosen, whole.logits[:, [4, 1]], atol=1e-6)
    said = whole.logits[:, :-1].log_softmax(-1).gather(2, tokens[:, 1:, None])
    assert float(loss) == pytest.approx(-float(said.mean()), abs=1e-5)


def test_generation_copies() -> None:
    """A model that always copies says what its memory's nearest entries are of."""
    copying, known = model(-10.0), memory()
    known_tokens = sorted(set(memory_tokens().tolist()))
    start = ids(1)
    made = copying.generate(start, memories=[known], max_new_tokens=4, do_sample=False)
    for end in range(start.shape[1], made.shape[1]):
        with torch.inference_mode():
            logits = copying(made[:, :end], memories=[known]).logits[0, -1]
        assert int(logits.argmax()) == int(made[0, end])
        assert float(logits[known_tokens].exp().sum()) == pytest.approx(1.0, abs=1e-4)


def test_a_checkpoint_keeps_how_it_copies(tmp_path: Any) -> None:
    from transformers import AutoModelForCausalLM

    model(0.25).save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    rule = CopyRule.of(again.config)
    assert rule == CopyRule.of(model(0.25).config) and rule is not None and rule.centre == 0.25


def test_tokens_under_their_own_keys_are_not_copied() -> None:
    with pytest.raises(MemoryInputError, match="memory_shift 1"):
        attach(plain(), shift=0, copy=0.5)
