"""The arithmetic of kNN attention and its layer, against plain attention in float64 that is written here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, repeat_kv

from memory.attention import (
    by_group,
    by_token,
    combine,
    local_log_sums,
    look_ups,
    memory_attention,
    unit,
)
from memory.errors import MemoryInputError
from memory.lookup import Memory, Retrieved
from memory.modeling import (
    LlamaKnnAttention,
    MemorizingLlamaConfig,
    MemorizingQwen3Config,
    Qwen3KnnAttention,
)
from tests.memory.exact import ExactMemory, Recorded, random_memory

torch.set_num_threads(1)

few = settings(max_examples=25, deadline=None)
small = st.integers(1, 4)


# --- the arithmetic -------------------------------------------------------------------------------


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_answer(seed: int, groups: int, asked: int, k: int, width: int) -> Retrieved:
    found = drawn(seed + 1, groups, asked, k) > 0
    keys = unit(drawn(seed + 2, groups, asked, k, width)) * found[..., None]
    values = drawn(seed + 3, groups, asked, k, width) * found[..., None]
    entries = torch.where(found, 1, -1)
    return Retrieved(keys, values, found, entries, entries)


def softmax(scores: np.ndarray) -> np.ndarray:
    exps = np.exp(scores - scores.max())
    result: np.ndarray = exps / exps.sum()
    return result


@few
@given(small, small, small, small, st.integers(0, 10**6))
def test_what_was_found_is_attended_to(groups: int, asked: int, k: int, width: int, seed: int) -> None:
    queries, scale = unit(drawn(seed, groups, asked, width)), 10 * drawn(seed + 9, groups, asked).abs()
    answer = random_answer(seed, groups, asked, k, width)
    attended = memory_attention(queries, answer, scale)
    for place in np.ndindex(groups, asked):
        seen = answer.found[place].numpy()
        if not seen.any():
            assert not attended.output[place].any()
            assert attended.log_sum[place] == -torch.inf
            continue
        keys, values = (it[place].double().numpy()[seen] for it in (answer.keys, answer.values))
        scores = keys @ queries[place].double().numpy() * float(scale[place])
        assert attended.output[place].numpy() == pytest.approx(softmax(scores) @ values, abs=1e-5)
        assert float(attended.log_sum[place]) == pytest.approx(np.log(np.exp(scores).sum()), abs=1e-5)


@few
@given(small, small, small, st.integers(0, 10**6))
def test_the_gate_shares_out(tokens: int, heads: int, width: int, seed: int) -> None:
    local, memory = drawn(seed, 2, tokens, heads, width)
    gate, sums = drawn(seed + 1, heads), drawn(seed + 2, tokens, heads)
    sums = torch.where(sums < 0, -torch.inf, sums)
    mixed = combine(local, memory, sums, gate)
    for token, head in np.ndindex(tokens, heads):
        share = 1 / (1 + np.exp(-float(gate[head]))) if sums[token, head] > -torch.inf else 0.0
        expected = (1 - share) * local[token, head] + share * memory[token, head]
        torch.testing.assert_close(mixed[token, head], expected, atol=1e-6, rtol=0)


@few
@given(small, small, small, st.floats(-3, 3), st.integers(0, 10**6))
def test_joint_is_one_softmax(columns: int, k: int, width: int, bias: float, seed: int) -> None:
    query, keys, values = drawn(seed, width), drawn(seed + 1, columns, width), drawn(seed + 2, columns, width)
    answer = random_answer(seed, 1, 1, k, width)
    attended = memory_attention(unit(query)[None, None], answer, torch.full((1, 1), 5.0))
    own = local_log_sums(query[None, None, None], keys[None, None], None, 0.5)[0]
    local = (query @ keys.T * 0.5).softmax(-1) @ values
    mixed = combine(local[None, None], attended.output, attended.log_sum, torch.tensor([bias]), own)

    seen = answer.found[0, 0].numpy()
    there = answer.keys[0, 0].double().numpy()[seen] @ unit(query).double().numpy() * 5.0 + bias
    here = keys.double().numpy() @ query.double().numpy() * 0.5
    both = np.concatenate([values.double().numpy(), answer.values[0, 0].double().numpy()[seen]])
    assert mixed[0, 0].numpy() == pytest.approx(softmax(np.concatenate([here, there])) @ both, abs=1e-5)


@pytest.mark.parametrize("gate", [-torch.inf, -1e4])
@pytest.mark.parametrize("own", [None, torch.zeros(3, 2)])
def test_a_closed_gate_leaves_every_bit(gate: float, own: Tensor | None) -> None:
    local, memory = drawn(0, 2, 3, 2, 5)
    sums = torch.tensor([[0.0, 80.0], [-torch.inf, 3.0], [1.0, -5.0]])
    assert torch.equal(combine(local, memory, sums, torch.full((2,), gate), own), local)


@few
@given(small, st.integers(1, 2), st.integers(1, 3), small, st.sampled_from(["none", "bool", "added"]))
def test_log_sums_of_the_context(tokens: int, groups: int, each: int, width: int, kind: str) -> None:
    heads, columns = groups * each, tokens + 2
    queries, keys = drawn(tokens, 2, heads, tokens, width), drawn(width, 2, groups, columns, width)
    seen = torch.ones(2, 1, tokens, columns, dtype=torch.bool).tril(2)
    seen[1, :, :, 0] = False
    added = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
    mask = {"none": None, "bool": seen, "added": added}[kind]
    if mask is None:
        seen[1, :, :, 0] = True
    scores = (queries.double() @ repeat_kv(keys, each).double().transpose(2, 3)) * 0.7
    expected = scores.masked_fill(~seen, -torch.inf).logsumexp(-1).transpose(1, 2)
    found = local_log_sums(queries, keys, mask, 0.7)
    torch.testing.assert_close(found, expected.float(), atol=1e-5, rtol=0)


@few
@given(small, small, small)
def test_heads_of_a_group_ask_side_by_side(tokens: int, groups: int, each: int) -> None:
    heads = drawn(0, tokens, groups * each, 3)
    grouped = by_group(heads, groups)
    assert torch.equal(by_token(grouped, tokens), heads)
    for token, head in np.ndindex(tokens, groups * each):
        asked = grouped[head // each, token * each + head % each]
        assert torch.equal(asked, heads[token, head])


def test_answers_of_another_shape_are_refused() -> None:
    queries, scale = unit(drawn(0, 2, 3, 4)), torch.ones(2, 3)
    with pytest.raises(MemoryInputError, match=r"\(2, 3, 4\).*\(2, 3, 2, 5\)"):
        memory_attention(queries, random_answer(0, 2, 3, 2, 5), scale)
    with pytest.raises(MemoryInputError, match=r"\(2, 3, 4\).*\(1, 3, 2, 4\)"):
        memory_attention(queries, random_answer(0, 1, 3, 2, 4), scale)
    with pytest.raises(MemoryInputError, match=r"\(1, 2, 4\) and \(1, 2, 3\)"):
        combine(torch.ones(1, 2, 4), torch.ones(1, 2, 3), torch.ones(1, 2), torch.ones(2))


# --- who looks up what ----------------------------------------------------------------------------


def test_rows_of_one_memory_ask_it_together() -> None:
    one, other, empty = random_memory(1, 3, 2), random_memory(1, 3, 2), random_memory(1, 0, 2)
    memories: list[Memory | None] = [one, None, other, one, empty]
    asking = torch.tensor([[True, False], [True, True], [False, True], [True, True], [True, True]])
    found = look_ups(memories, asking, 5, 2, asking.device)
    assert [(id(memory), places.tolist()) for memory, places in found] == [
        (id(one), [[0, 0], [3, 0], [3, 1]]),
        (id(other), [[2, 1]]),
    ]
    assert [len(places) for _, places in look_ups(memories, None, 5, 2, asking.device)] == [4, 2]
    assert look_ups(None, None, 5, 2, asking.device) == []


def test_memories_and_masks_must_fit() -> None:
    cpu, memory = torch.device("cpu"), random_memory(1, 3, 2)
    with pytest.raises(MemoryInputError, match="1 memories for 2 rows"):
        look_ups([memory], None, 2, 3, cpu)
    with pytest.raises(MemoryInputError, match=r"\(2, 4\).*\(2, 3\)"):
        look_ups([memory, None], torch.ones(2, 4, dtype=torch.bool), 2, 3, cpu)
    with pytest.raises(MemoryInputError, match="float32"):
        look_ups([memory, None], torch.ones(2, 3), 2, 3, cpu)


# --- the layer, in loops --------------------------------------------------------------------------


def plain_layer(
    layer: Any, hidden: np.ndarray, memories: list[ExactMemory | None], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The layer's output (B, T, hidden size), and its keys (B, G, T, D) of length 1 that are not rotated."""
    weight = {name: it.detach().double().numpy() for name, it in layer.state_dict().items()}
    config, width = layer.config, layer.head_dim
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    rows, tokens, _ = hidden.shape
    output = np.zeros((rows, tokens, heads * width))
    kept = np.zeros((rows, groups, tokens, width))

    def project(name: str, norm: str | None) -> np.ndarray:
        flat = hidden @ weight[f"{name}.weight"].T
        split = flat.reshape(rows, tokens, -1, width)
        if norm is not None and f"{norm}.weight" in weight:
            rms = np.sqrt((split**2).mean(-1, keepdims=True) + config.rms_norm_eps)
            split = split / rms * weight[f"{norm}.weight"]
        return np.asarray(split)

    def rotated(vector: np.ndarray, position: int) -> np.ndarray:
        angles = position / 10000.0 ** (np.arange(0, width, 2) / width)
        low, high = vector[: width // 2], vector[width // 2 :]
        cos, sin = np.cos(angles), np.sin(angles)
        return np.concatenate([low * cos - high * sin, high * cos + low * sin])

    queries, keys, values = project("q_proj", "q_norm"), project("k_proj", "k_norm"), project("v_proj", None)
    for row, token, head in np.ndindex(rows, tokens, heads):
        group = head // (heads // groups)
        query = queries[row, token, head]
        kept[row, group, token] = keys[row, token, group] / np.linalg.norm(keys[row, token, group])
        here = [
            rotated(query, token) @ rotated(keys[row, it, group], it) / np.sqrt(width)
            for it in range(token + 1)
        ]
        local = softmax(np.array(here)) @ values[row, : token + 1, group]
        gate, scale = float(weight["memory_gate"][head]), float(weight["memory_scale"][head])
        memory = memories[row]
        mixed = local
        if memory is not None:
            cosines = memory.keys[group].double().numpy() @ (query / np.linalg.norm(query))
            nearest = np.argsort(-cosines)[:k]
            there, read = cosines[nearest] * scale, memory.values[group].double().numpy()[nearest]
            if config.memory_combine == "gate":
                share = 1 / (1 + np.exp(-gate))
                mixed = (1 - share) * local + share * (softmax(there) @ read)
            else:
                both = np.concatenate([values[row, : token + 1, group], read])
                mixed = softmax(np.concatenate([here, there + gate])) @ both
        output[row, token, head * width : (head + 1) * width] = mixed
    return output @ weight["o_proj.weight"].T, kept


@pytest.mark.parametrize("combination", ["gate", "joint"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(
    ("family", "heads", "groups", "k"),
    [("llama", 4, 4, 3), ("llama", 4, 1, 2), ("llama", 6, 2, 50), ("qwen3", 4, 2, 4)],
)
def test_the_layer_is_the_plain_one(
    family: str, heads: int, groups: int, k: int, attention: str, combination: str
) -> None:
    kinds: dict[str, tuple[Any, Any]] = {
        "llama": (MemorizingLlamaConfig, LlamaKnnAttention),
        "qwen3": (MemorizingQwen3Config, Qwen3KnnAttention),
    }
    make_config, make_layer = kinds[family]
    config = make_config(
        hidden_size=24,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        head_dim=8,
        memory_combine=combination,
        attn_implementation=attention,
    )
    torch.manual_seed(heads + groups)
    layer = make_layer(config, 0).eval()
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            weight.normal_(std=4.0 if name == "memory_scale" else 0.5).add_(1.0 if "norm" in name else 0.0)
    hidden = drawn(1, 3, 5, 24)
    memories = [random_memory(groups, 7, 8, seed=1), None, random_memory(groups, 4, 8, seed=2)]
    positions = LlamaRotaryEmbedding(config)(hidden, torch.arange(5)[None])
    # As models give it to eager attention; sdpa knows without.
    seen = torch.ones(1, 1, 5, 5, dtype=torch.bool).tril()
    mask = torch.zeros(1, 1, 5, 5).masked_fill(~seen, -1e30) if attention == "eager" else None
    recorded = Recorded()
    with torch.no_grad():
        output, _ = layer(hidden, positions, mask, memories=memories, memory_k=k, recorder=recorded)
    expected, keys = plain_layer(layer, hidden.double().numpy(), memories, k)
    assert output.numpy() == pytest.approx(expected, abs=2e-5)
    ((kept, _),) = recorded.runs
    assert kept.numpy() == pytest.approx(keys, abs=1e-5)


def test_look_ups_in_parts_answer_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    config = MemorizingLlamaConfig(
        hidden_size=24, num_attention_heads=4, num_key_value_heads=2, attn_implementation="sdpa"
    )
    torch.manual_seed(0)
    layer: Any = LlamaKnnAttention(config, 0).eval()
    hidden, memory = drawn(1, 2, 9, 24), random_memory(2, 20, 6)
    positions = LlamaRotaryEmbedding(config)(hidden, torch.arange(9)[None])
    with torch.no_grad():
        whole, _ = layer(hidden, positions, memories=[memory] * 2, memory_k=5)
        monkeypatch.setattr("memory.attention._KEYS_AT_ONCE", 4 * 4 * 5 * 6)
        parts, _ = layer(hidden, positions, memories=[memory] * 2, memory_k=5)
    # All of the 18 tokens, then 4 at a time; two heads of each token ask in each group.
    assert [queries.shape[1] for queries in memory.asked] == [36, 8, 8, 8, 8, 4]
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=0)
