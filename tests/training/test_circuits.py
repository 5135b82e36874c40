"""A new model copies before it has learned anything, and goes on doing so while it learns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from prover.errors import InputError
from prover.training.circuits import begin_with_copying

VOCABULARY, TOLD = 2000, 40


def made(layers: int = 3, heads: int = 5) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64 * heads,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        attn_implementation="eager",
    )
    return LlamaForCausalLM(config)  # type: ignore[no-untyped-call]


def told_twice(rows: int, seed: int) -> Tensor:
    """Tokens at random, and all of them again."""
    ids = torch.randint(0, VOCABULARY, (rows, TOLD), generator=torch.Generator().manual_seed(seed))
    return torch.cat([ids, ids], dim=1)


def loss_of_the_second_telling(model: LlamaForCausalLM, ids: Tensor) -> Tensor:
    logits = model(ids).logits[:, TOLD:-1]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, TOLD + 1 :].flatten())


@torch.no_grad()
def test_its_heads_look_at_the_token_before_and_at_what_followed() -> None:
    model = made()
    begin_with_copying(model, 0)
    attended = model(told_twice(4, 1), output_attentions=True).attentions
    places = torch.arange(TOLD + 1, 2 * TOLD)
    assert attended[0][:, 0, places, places - 1].mean() > 0.5
    assert attended[1][:, 0, places, places - TOLD + 1].mean() > 0.4


@torch.no_grad()
def test_it_copies_better_than_chance_and_a_usual_one_does_not() -> None:
    usual, copying, ids = made(), made(), told_twice(8, 2)
    begin_with_copying(copying, 0)
    by_chance = torch.tensor(float(VOCABULARY)).log()
    assert loss_of_the_second_telling(usual, ids) > by_chance - 0.1
    assert loss_of_the_second_telling(copying, ids) < by_chance - 1.0


def test_training_makes_it_copy_better() -> None:
    model = made()
    begin_with_copying(model, 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95))
    before = loss_of_the_second_telling(model, told_twice(8, 99)).item()
    for step in range(12):
        loss_of_the_second_telling(model, told_twice(8, step)).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss_of_the_second_telling(model, told_twice(8, 99)) < before - 0.5


def test_equal_seeds_make_equal_models() -> None:
    one, same, other = made(), made(), made()
    for model, seed in ((one, 1), (same, 1), (other, 2)):
        begin_with_copying(model, seed)
    pairs = list(zip(one.parameters(), same.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


@pytest.mark.parametrize(("layers", "heads"), [(2, 5), (3, 2)])
def test_too_small_a_model_is_refused(layers: int, heads: int) -> None:
    with pytest.raises(InputError, match="three layers and three heads"):
        begin_with_copying(made(layers, heads), 0)
