"""Tiny random Llama, Qwen2 and Qwen3 with a memory: exactness, generation, training, checkpoints."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from memory.errors import MemoryInputError
from memory.modeling import (
    MemorizingLlamaConfig,
    MemorizingLlamaForCausalLM,
    MemoryShape,
    attach,
    default_layer,
    memory_shape,
)
from tests.decoder.tiny import tiny_checkpoint, tiny_foreign
from tests.memory.exact import ExactMemory, Recorded, random_memory

torch.set_num_threads(1)

FAMILIES: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
#: Of the memories that fit the tiny models.
HEADS, WIDTH = 2, 8


def plain(family: str = "llama", attention: str = "sdpa", **config: Any) -> Any:
    make_config, make_model = FAMILIES[family]
    torch.manual_seed(0)
    shape = {
        "vocab_size": 40,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": HEADS,
        "head_dim": WIDTH,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    model = make_model(make_config(**shape | config)).eval()
    model.set_attn_implementation(attention)
    with torch.no_grad():
        # As it is made, attention hardly matters, and all next tokens are about as probable.
        for name, weight in model.named_parameters():
            weight.mul_(10.0 if "proj" in name or "lm_head" in name else 1.0)
    return model


def memorizing(family: str = "llama", attention: str = "sdpa", **options: Any) -> Any:
    return attach(plain(family, attention), **{"k": 4, "gate": 0.5} | options)


def some_ids(rows: int, tokens: int) -> Tensor:
    return torch.randint(1, 40, (rows, tokens), generator=torch.Generator().manual_seed(tokens))


def memories_of(count: int) -> list[ExactMemory]:
    return [random_memory(HEADS, 12, WIDTH, seed=seed) for seed in range(count)]


families = pytest.mark.parametrize("family", list(FAMILIES))
both = pytest.mark.parametrize("attention", ["eager", "sdpa"])


# --- without a memory it is the model that it was -------------------------------------------------


@families
@both
@pytest.mark.parametrize("combination", ["gate", "joint"])
@torch.inference_mode()
def test_nothing_to_read_leaves_every_bit(family: str, attention: str, combination: str) -> None:
    ids = some_ids(2, 9)
    mask = torch.ones_like(ids)
    mask[1, :3] = 0
    before, model = plain(family, attention), memorizing(family, attention, combine=combination)
    expected = before(ids, attention_mask=mask)
    for memories in (None, [None, None], [random_memory(HEADS, 0, WIDTH)] * 2):
        assert torch.equal(model(ids, attention_mask=mask, memories=memories).logits, expected.logits)
    closed = memorizing(family, attention, combine=combination, gate=-1e4)
    memories = memories_of(2)
    assert torch.equal(closed(ids, attention_mask=mask, memories=memories).logits, expected.logits)
    assert memories[0].asked
    # And with a cache, token by token.
    step = {"input_ids": ids[:, :1], "attention_mask": torch.ones(2, 10)}
    again = before(past_key_values=expected.past_key_values, **step).logits
    for it, given in ((model, None), (closed, memories)):
        cache = it(ids, attention_mask=mask, memories=given).past_key_values
        assert torch.equal(it(past_key_values=cache, memories=given, **step).logits, again)


@both
@torch.inference_mode()
def test_sliding_windows_stay(attention: str) -> None:
    options = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}
    ids = some_ids(1, 9)
    expected = plain("qwen2", attention, **options)(ids).logits
    model = attach(plain("qwen2", attention, **options), k=4, gate=0.5)
    assert torch.equal(model(ids).logits, expected)
    assert not torch.equal(expected, plain("qwen2", attention)(ids).logits)
    assert not torch.equal(model(ids, memories=memories_of(1)).logits, expected)


@families
@torch.inference_mode()
def test_both_attentions_agree(family: str) -> None:
    ids, memories = some_ids(2, 9), memories_of(2)
    for combination in ("gate", "joint"):
        eager, sdpa = (
            memorizing(family, attention, combine=combination)(ids, memories=memories).logits
            for attention in ("eager", "sdpa")
        )
        torch.testing.assert_close(eager, sdpa, atol=1e-4, rtol=0)
        assert not torch.allclose(eager, plain(family)(ids).logits, atol=1e-2)


@torch.inference_mode()
def test_attentions_of_all_layers_are_given() -> None:
    model = plain("llama", "eager")
    # The hooks that take them are there before the memory is.
    assert len(model(some_ids(1, 4), output_attentions=True).attentions) == 3
    weights = attach(model)(some_ids(1, 4), output_attentions=True, memories=memories_of(1)).attentions
    assert [tuple(it.shape) for it in weights] == [(1, 4, 4, 4)] * 3


@torch.inference_mode()
def test_joint_needs_scores() -> None:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register("blind", sdpa_attention_forward)
    ids, memories = some_ids(1, 4), memories_of(1)
    models = {kind: memorizing(combine=kind) for kind in ("gate", "joint")}
    for model in models.values():
        model.set_attn_implementation("blind")
    models["gate"](ids, memories=memories)
    models["joint"](ids)
    with pytest.raises(MemoryInputError, match="attn_implementation=eager or sdpa"):
        models["joint"](ids, memories=memories)


# --- rows and padding -----------------------------------------------------------------------------


@torch.inference_mode()
def test_rows_do_not_bear_on_each_other() -> None:
    model, ids, (one, other) = memorizing(), some_ids(5, 6), memories_of(2)
    memories = [one, other, None, one, other]
    logits = model(ids, memories=memories).logits
    # Each is asked once, by both of its rows.
    asked = [[queries.shape for queries in it.asked] for it in (one, other)]
    assert asked == [[(HEADS, 2 * 6 * 2, WIDTH)]] * 2
    order = [3, 2, 4, 0, 1]
    moved = model(ids[order], memories=[memories[it] for it in order]).logits
    torch.testing.assert_close(moved, logits[order], atol=1e-4, rtol=0)
    for row, memory in enumerate(memories):
        alone = model(ids[row : row + 1], memories=[memory]).logits[0]
        torch.testing.assert_close(alone, logits[row], atol=1e-4, rtol=0)


@both
@pytest.mark.parametrize("left", [True, False])
@torch.inference_mode()
def test_padding_changes_nothing_and_asks_nothing(attention: str, left: bool) -> None:
    model, ids, memory = memorizing(attention=attention), some_ids(1, 5), memories_of(1)[0]
    alone = model(ids, memories=[memory]).logits[0]
    padded, mask = (torch.zeros(2, 8, dtype=torch.long) for _ in range(2))
    own = slice(3, 8) if left else slice(0, 5)
    padded[0, own], mask[0, own] = ids[0], 1
    padded[1], mask[1] = some_ids(1, 8)[0], 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    memory.asked.clear()
    logits = model(padded, attention_mask=mask, position_ids=positions, memories=[memory] * 2).logits
    torch.testing.assert_close(logits[0, own], alone, atol=1e-4, rtol=0)
    assert memory.asked[0].shape[1] == (5 + 8) * 2


@torch.inference_mode()
def test_chosen_tokens_ask() -> None:
    model, ids, (memory,) = memorizing(layer=2), some_ids(1, 6), memories_of(1)
    asking = torch.tensor([[True, False, False, True, False, False]])
    logits = model(ids, memories=[memory], memory_queries=asking).logits[0]
    reads, not_ = model(ids, memories=[memory]).logits[0], model(ids).logits[0]
    # In the last layer what one token reads does not reach another.
    torch.testing.assert_close(logits, torch.where(asking[0, :, None], reads, not_), atol=1e-5, rtol=0)
    memory.asked.clear()
    nobody = model(ids, memories=[memory], memory_queries=torch.zeros_like(asking)).logits[0]
    assert torch.equal(nobody, not_)
    assert not memory.asked


@torch.inference_mode()
def test_k_of_a_call_goes_before_that_of_the_model() -> None:
    model, ids, (memory,) = memorizing(k=4), some_ids(1, 6), memories_of(1)
    other = memorizing(k=2)(ids, memories=[memory]).logits
    assert not torch.equal(model(ids, memories=[memory]).logits, other)
    assert torch.equal(model(ids, memories=[memory], memory_k=2).logits, other)
    with pytest.raises(MemoryInputError, match="memory_k is 1 or more"):
        model(ids, memories=[memory], memory_k=0)


# --- what is recorded -----------------------------------------------------------------------------


@families
@torch.inference_mode()
def test_what_was_read_finds_itself(family: str) -> None:
    model, recorded, ids = memorizing(family), Recorded(), some_ids(2, 7)
    cache = model(ids[:, :4], recorder=recorded).past_key_values
    model(ids[:, 4:], past_key_values=cache, recorder=recorded)
    assert [tuple(keys.shape) for keys, _ in recorded.runs] == [(2, HEADS, 4, WIDTH), (2, HEADS, 3, WIDTH)]
    memory = recorded.memory(1)
    torch.testing.assert_close(memory.keys.norm(dim=-1), torch.ones(HEADS, 7))
    answer = memory.look_up(memory.keys, 2)
    assert answer.entries[..., 0].tolist() == [list(range(7))] * HEADS
    assert torch.equal(answer.values[:, :, 0], memory.values)


@torch.inference_mode()
def test_keys_know_no_positions() -> None:
    model, ids, recorded = memorizing(layer=0), some_ids(1, 5), Recorded()
    for first in (0, 17):
        model(ids, position_ids=torch.arange(first, first + 5)[None], recorder=recorded)
    (keys, values), (again, same) = recorded.runs
    assert torch.equal(keys, again)
    assert torch.equal(values, same)


# --- training -------------------------------------------------------------------------------------


def gradients(model: Any, memory: ExactMemory, **options: Any) -> dict[str, Tensor]:
    ids = some_ids(2, 6)
    model(ids, labels=ids, memories=[memory, None], **options).loss.backward()
    return {name: it.grad for name, it in model.named_parameters() if it.grad is not None}


@families
@pytest.mark.parametrize("combination", ["gate", "joint"])
def test_gradients_reach_all_but_the_memory(family: str, combination: str) -> None:
    model = memorizing(family, combine=combination, train_layer=True)
    memory = memories_of(1)[0]
    memory.keys.requires_grad_(True)
    memory.values.requires_grad_(True)
    found = gradients(model, memory)
    layer = "model.layers.2."
    assert all(name.startswith(layer) for name in found)
    for name in ("memory_gate", "memory_scale", "q_proj.weight", "k_proj.weight", "o_proj.weight"):
        assert found[f"{layer}self_attn.{name}"].abs().sum() > 0
    assert memory.keys.grad is None
    assert memory.values.grad is None


def test_queries_learn_through_the_memory_alone() -> None:
    model = memorizing(gate=1e4, train_layer=True)
    ids = some_ids(1, 6)
    model(ids, labels=ids, memories=memories_of(1)).loss.backward()
    attention = model.model.layers[2].self_attn
    # With the gates open the context is not heard: the gradient came by way of what was found.
    assert attention.q_proj.weight.grad.abs().sum() > 0
    assert attention.k_proj.weight.grad.abs().sum() == 0


def test_only_gate_and_scale_are_trained_unless_asked() -> None:
    names = [name for name, it in memorizing().named_parameters() if it.requires_grad]
    assert names == [f"model.layers.2.self_attn.memory_{it}" for it in ("gate", "scale")]


def test_gradient_checkpointing_gives_the_same() -> None:
    memory = memories_of(1)[0]
    expected = gradients(memorizing(train_layer=True).train(), memory)
    model = memorizing(train_layer=True).train()
    model.gradient_checkpointing_enable()
    torch.testing.assert_close(gradients(model, memory, use_cache=False), expected, atol=1e-5, rtol=1e-4)
    assert len(memory.asked) == 3


# --- generate -------------------------------------------------------------------------------------


def prompts() -> tuple[Tensor, Tensor]:
    """Three, of which the second is padded on the left."""
    ids, mask = some_ids(3, 5), torch.ones(3, 5, dtype=torch.long)
    ids[1, :2], mask[1, :2] = 0, 0
    return ids, mask


def next_log_probs(model: Any, ids: Sequence[int], memory: ExactMemory | None, **options: Any) -> Tensor:
    found: Tensor = model(torch.tensor([ids]), memories=[memory], use_cache=False, **options).logits[0, -1]
    return found.log_softmax(-1)


@pytest.mark.parametrize("use_cache", [True, False])
@torch.inference_mode()
def test_greedy_generation_is_argmax_of_full_runs(use_cache: bool) -> None:
    model, (ids, mask), (one, other) = memorizing(), prompts(), memories_of(2)
    memories = [one, other, None]
    generated = model.generate(
        ids,
        attention_mask=mask,
        memories=memories,
        max_new_tokens=5,
        min_new_tokens=5,
        do_sample=False,
        use_cache=use_cache,
    )
    for row, memory in enumerate(memories):
        text = ids[row][mask[row].bool()].tolist()
        for _ in range(5):
            text.append(int(next_log_probs(model, text, memory).argmax()))
        assert generated[row, 5:].tolist() == text[-5:]
    without = model.generate(ids, attention_mask=mask, max_new_tokens=5, do_sample=False)
    assert without[2].tolist() == generated[2].tolist()
    assert without[:2].tolist() != generated[:2].tolist()


def beam_search(
    model: Any, prompt: list[int], memory: ExactMemory | None, beams: int, steps: int
) -> list[list[int]]:
    texts = [(0.0, prompt)]
    for _ in range(steps):
        longer = [
            (score + float(log_prob), [*text, token])
            for score, text in texts
            for token, log_prob in enumerate(next_log_probs(model, text, memory))
        ]
        texts = sorted(longer, reverse=True)[:beams]
    return [text[len(prompt) :] for _, text in texts]


@torch.inference_mode()
def test_beams_keep_the_memory_of_their_row() -> None:
    model, (ids, mask), (one, other) = memorizing(), prompts(), memories_of(2)
    memories = [one, None, other]
    generated = model.generate(
        ids,
        attention_mask=mask,
        memories=memories,
        max_new_tokens=4,
        do_sample=False,
        num_beams=3,
        num_return_sequences=3,
    )
    for row, memory in enumerate(memories):
        prompt = ids[row][mask[row].bool()].tolist()
        expected = beam_search(model, prompt, memory, beams=3, steps=4)
        assert generated[3 * row : 3 * row + 3, 5:].tolist() == expected


@pytest.mark.parametrize("options", [{}, {"prefill_chunk_size": 2}])
@torch.inference_mode()
def test_chosen_tokens_of_a_prompt_ask_and_all_new_ones(options: dict[str, int]) -> None:
    model, ids, (memory,) = memorizing(), some_ids(1, 5), memories_of(1)
    asking = torch.tensor([[True, False, True, False, False]])
    generated = model.generate(
        ids, memories=[memory], memory_queries=asking, max_new_tokens=4, do_sample=False, **options
    )
    # Each token of the prompt that asks and each new one that is run, for two heads in a group.
    assert sum(queries.shape[1] for queries in memory.asked) == (2 + 3) * 2
    text = ids[0].tolist()
    for step in range(4):
        wider = torch.nn.functional.pad(asking, (0, step), value=True)
        text.append(int(next_log_probs(model, text, memory, memory_queries=wider).argmax()))
    assert generated[0].tolist() == text


def test_arguments_are_named_for_generate_and_trainers() -> None:
    named = set(inspect.signature(MemorizingLlamaForCausalLM.forward).parameters)
    assert named >= set(inspect.signature(LlamaForCausalLM.forward).parameters)
    with pytest.raises(ValueError, match="memorys"):
        memorizing().generate(some_ids(1, 3), memorys=[None])


# --- checkpoints ----------------------------------------------------------------------------------


@families
@torch.inference_mode()
def test_a_checkpoint_comes_back(family: str, tmp_path: Path) -> None:
    model, ids, memories = memorizing(family, layer=1, k=3, combine="joint"), some_ids(2, 6), memories_of(2)
    with torch.no_grad():
        model.model.layers[1].self_attn.memory_gate.copy_(torch.tensor([0.25, -1.0, 2.0, 0.125]))
        model.model.layers[1].self_attn.memory_scale.copy_(torch.tensor([5.0, 6.0, 7.0, 8.0]))
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(loaded) is type(model)
    assert memory_shape(loaded) == memory_shape(model) == MemoryShape(1, HEADS, WIDTH)
    assert torch.equal(loaded(ids, memories=memories).logits, model(ids, memories=memories).logits)
    # Gate and scale are not rounded with the rest.
    half = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    kinds = {it.dtype for name, it in half.named_parameters() if "memory_" in name}
    assert (half.dtype, kinds) == (torch.bfloat16, {torch.float32})
    assert half(ids, memories=memories).logits.dtype == torch.bfloat16


@torch.inference_mode()
def test_a_plain_checkpoint_can_be_loaded_as_one_with_a_memory(tmp_path: Path) -> None:
    model = plain(tie_word_embeddings=True)
    model.save_pretrained(tmp_path)
    config = MemorizingLlamaConfig.from_pretrained(tmp_path, memory_gate=-3.0, memory_layer=1)
    loaded = MemorizingLlamaForCausalLM.from_pretrained(tmp_path, config=config)
    assert loaded.model.layers[1].self_attn.memory_gate.tolist() == [-3.0] * 4
    assert loaded.model.layers[1].self_attn.memory_scale.tolist() == [10.0] * 4
    assert torch.equal(loaded(some_ids(1, 6)).logits, model(some_ids(1, 6)).logits)


def test_a_new_model_starts_as_its_configuration_says() -> None:
    config = MemorizingLlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=6,
        num_attention_heads=4,
        memory_gate=-1.0,
    )
    model = MemorizingLlamaForCausalLM(config)
    assert memory_shape(model) == MemoryShape(4, 4, 8)
    assert model.model.layers[4].self_attn.memory_gate.tolist() == [-1.0] * 4
    assert all(it.requires_grad for it in model.parameters())


def test_the_tokenizer_of_a_checkpoint_stays(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    before = AutoTokenizer.from_pretrained(folder).encode("exact h.symm")
    attach(AutoModelForCausalLM.from_pretrained(folder)).save_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder).encode("exact h.symm") == before
    assert AutoModelForCausalLM.from_pretrained(folder).config.model_type == "memorizing_llama"


# --- attach ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layers", "layer"), [(1, 0), (2, 1), (3, 2), (6, 4), (12, 8), (32, 21)])
def test_the_layer_lies_two_thirds_up(layers: int, layer: int) -> None:
    assert default_layer(layers) == layer


def test_other_models_of_the_same_configuration_stay_as_they_are() -> None:
    config = plain().config
    one, other = LlamaForCausalLM(config), LlamaForCausalLM(config)
    attach(one)
    assert (one.config.model_type, other.config.model_type) == ("memorizing_llama", "llama")
    assert one.model.config is one.config
    assert one.model.layers[0].self_attn.config is one.config
    with pytest.raises(MemoryInputError, match=r"attach\(\)"):
        memory_shape(other)


def test_what_cannot_be_attached(tmp_path: Path) -> None:
    with pytest.raises(MemoryInputError, match=r"GPT2LMHeadModel.*Llama, Qwen2, Qwen3"):
        attach(AutoModelForCausalLM.from_pretrained(tiny_foreign(tmp_path)))
    with pytest.raises(MemoryInputError, match="without one so far"):
        attach(memorizing())
    model = plain()
    for options, said in (
        ({"layer": 3}, "no layer 3: this model has 0 to 2"),
        ({"layer": -1}, "no layer -1"),
        ({"k": 0}, "k is 1 or more"),
        ({"combine": "sum"}, "'sum': choose gate or joint"),
    ):
        with pytest.raises(MemoryInputError, match=said):
            attach(model, **options)
    # What was refused has changed nothing.
    assert type(model) is LlamaForCausalLM
    assert model.config.model_type == "llama"
