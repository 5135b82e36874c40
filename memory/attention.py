"""kNN attention: a decoder's attention layer that also reads an external memory.

After Wu et al. 2022, "Memorizing Transformers", section 3.2. Each query looks up the nearest of the keys of
earlier tokens, and attends to them and their values beside its own context. Positions bear on the context
alone: with rotary embeddings, memories hold keys, and are asked with queries, from before the rotation, of
unit length. How the two are put together:

- ``gate``, as in the paper: out = (1 - σ(b)) · local + σ(b) · memory, with b learned for each head.
- ``joint``, after Tworkowski et al. 2023, "Focused Transformer": one softmax over the scores of the context
  and those of the memory, to which b is added: with b = 0 it is the paper's.

In both a head with b = -inf does not read the memory, nor does a query for which nothing is found.

Shapes: B rows, T tokens, H heads, G key/value heads (each serves H / G heads), D wide, K entries found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import initialization
from transformers.cache_utils import Cache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb, eager_attention_forward

from memory.copying import Copies
from memory.errors import MemoryInputError
from memory.lookup import Memory, Retrieved

COMBINATIONS = ("gate", "joint")
#: Attention whose masks say what a query sees: a joint softmax needs its scores once more.
_JOINT_WITH = ("eager", "sdpa")
#: Numbers in the keys that are held at once; tokens beyond them look up later.
_KEYS_AT_ONCE = 2**27


class Recorder(Protocol):
    """Takes what a memory is made of, as the model reads.

    One that has ``live = True`` takes it with its gradients, for a memory that is ``live`` itself.
    """

    def keep(self, keys: Tensor, values: Tensor, queries: Tensor) -> None:
        """Take keys and values (B, G, T, D), and queries (B, H, T, D); padding is among them.

        Keys and queries are of unit length and not rotated.
        """
        ...


# --- the arithmetic -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attended:
    """What queries read in a memory."""

    #: (G, Q, D), 0 where nothing was found.
    output: Tensor
    #: (G, Q), float32: the logarithm of the sum of exp(score); -inf where nothing was found.
    log_sum: Tensor
    #: (G, Q, K), float32, of the entries that were found.
    cosines: Tensor


def memory_attention(queries: Tensor, retrieved: Retrieved, scale: Tensor) -> Attended:
    """Attend to the entries that were found, with scores scale · cosine, softmax in float32.

    Args:
        queries: (G, Q, D), of unit length.
        scale: (G, Q).

    Raises:
        MemoryInputError: the memory's answer is not one to these queries.
    """
    _check_answer(queries, retrieved)
    hidden = ~retrieved.found
    values, near = retrieved.values.to(queries), cosines(queries, retrieved)
    scores = near * scale[..., None]
    scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1).masked_fill(hidden, 0.0).to(queries.dtype)
    log_sum = scores.logsumexp(dim=-1).masked_fill(hidden.all(dim=-1), -torch.inf)
    return Attended(torch.einsum("gqk,gqkd->gqd", weights, values), log_sum, near)


def cosines(queries: Tensor, retrieved: Retrieved) -> Tensor:
    """Return those of queries (G, Q, D) of unit length and what they found, (G, Q, K), float32."""
    return torch.einsum("gqd,gqkd->gqk", queries, retrieved.keys.to(queries)).float()


def _check_answer(queries: Tensor, retrieved: Retrieved) -> None:
    (groups, asked, width), found = queries.shape, tuple(retrieved.found.shape)
    fits = found[:2] == (groups, asked) and len(found) == 3
    if not fits or not (retrieved.keys.shape == retrieved.values.shape == (*found, width)):
        keys, values = tuple(retrieved.keys.shape), tuple(retrieved.values.shape)
        raise MemoryInputError(
            f"The memory answered queries {tuple(queries.shape)} with keys {keys}, values {values} and found "
            f"{found}: it was made for a model of another shape, use one made for this model"
        )


def combine(
    local: Tensor, memory: Tensor, log_sum: Tensor, gate: Tensor, local_log_sum: Tensor | None = None
) -> Tensor:
    """Put what was read in the context and in the memory together.

    Args:
        local, memory: (N, H, D).
        log_sum: (N, H), of the memory's scores, see :class:`Attended`.
        gate: (H,), the b of the module's docstring.
        local_log_sum: (N, H), of the context's scores: they share one softmax. None: the gate decides alone.

    Returns:
        (N, H, D); exactly ``local`` where nothing was found or the gate is closed.
    """
    _check_same("attention to the context and to the memory", local, memory)
    share = gate.float().expand_as(log_sum)
    if local_log_sum is not None:
        # Of two parts of one softmax, each has the share exp(its log sum).
        share = share + log_sum - local_log_sum
    share = share.sigmoid().masked_fill(log_sum.isneginf(), 0.0)
    wide = local.float()
    return (wide + share[..., None] * (memory.float() - wide)).to(local.dtype)


def local_log_sums(queries: Tensor, keys: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
    """Return the logarithms of the sums of exp(score) over a context of C columns, as (B, T, H), float32.

    Args:
        queries: (B, H, T, D), rotated; keys: (B, G, C, D), rotated.
        mask: as ``eager`` and ``sdpa`` take it: (B or 1, 1, T, C), bool or added to the scores; None: causal.
    """
    batch, heads, tokens, width = queries.shape
    groups, columns = keys.shape[1:3]
    grouped = queries.reshape(batch, groups, -1, width)
    scores = (grouped @ keys.transpose(2, 3)).view(batch, heads, tokens, columns).float() * scaling
    if mask is None:
        mask = torch.ones(tokens, columns, dtype=torch.bool, device=queries.device).tril(columns - tokens)
    if mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    else:
        scores = scores + mask
    return scores.logsumexp(dim=-1).transpose(1, 2)


def by_group(heads: Tensor, groups: int) -> Tensor:
    """(N, H, ...) to (G, N · H / G, ...): the heads of a group stand beside each other, token by token."""
    tokens = len(heads)
    return heads.view(tokens, groups, -1, *heads.shape[2:]).transpose(0, 1).flatten(1, 2)


def by_token(grouped: Tensor, tokens: int) -> Tensor:
    """(G, N · H / G, ...) back to (N, H, ...)."""
    return grouped.view(len(grouped), tokens, -1, *grouped.shape[2:]).transpose(0, 1).flatten(1, 2)


def unit(vectors: Tensor) -> Tensor:
    """Scale to length 1 along the last axis, in float32; a zero stays one."""
    return functional.normalize(vectors.float(), dim=-1).to(vectors.dtype)


# --- who looks up what ----------------------------------------------------------------------------


def look_ups(
    memories: Sequence[Memory | None] | None,
    asking: Tensor | None,
    rows: int,
    tokens: int,
    device: torch.device,
) -> list[tuple[Memory, Tensor]]:
    """Return each memory that holds anything, with the tokens (N, 2) that ask it: their row and place.

    Args:
        memories: of each row; rows with the same object ask it together.
        asking: (B, T), bool; None: all tokens ask.

    Raises:
        MemoryInputError: not one memory a row, or ``asking`` of another shape.
    """
    if memories is None:
        return []
    if len(memories) != rows:
        raise MemoryInputError(f"{len(memories)} memories for {rows} rows: give one a row, or None for a row")
    if asking is None:
        asking = torch.ones(rows, tokens, dtype=torch.bool, device=device)
    elif asking.shape != (rows, tokens) or asking.dtype != torch.bool:
        raise MemoryInputError(
            f"memory_queries {tuple(asking.shape)}, {asking.dtype}, for tokens ({rows}, {tokens}): "
            "give one bool a token"
        )
    there = {id(memory): memory for memory in memories if memory is not None and len(memory)}
    owner = [id(memory) for memory in memories]
    found = []
    for key, memory in there.items():
        own = torch.tensor([it == key for it in owner], device=asking.device)
        found.append((memory, (asking & own[:, None]).nonzero()))
    return found


# --- the layer ------------------------------------------------------------------------------------


class KnnAttention(nn.Module):
    """Goes before the attention class of Llama, Qwen2 or Qwen3, whose modules and parameters it keeps.

    Adds the parameters ``memory_gate`` (H,) and ``memory_scale`` (H,), both float32. The forward takes also,
    as keyword arguments that ``model(...)`` hands to every layer:

    - ``memories``: for each of the B rows a :class:`~memory.lookup.Memory` or None; None: nobody has one.
    - ``memory_k``: entries to look up; None: as the configuration says.
    - ``memory_queries``: (B, T), bool, the tokens that look up (not padding, say); None: all do.
    - ``recorder``: a :class:`Recorder`.
    - ``copies``: a :class:`~memory.copying.Copies`, which is told what was looked up.

    With nothing to read in any memory the output is the other class's, bit for bit. With sliding windows, the
    window bears on the context alone. The other layers hand these arguments to their attention function:
    eager, sdpa, flash and flex attention ignore names that they do not know, and one of your own must too.
    Under gradient checkpointing the layer runs again in the backward pass: memories must not change before
    that, and a recorder is told twice.
    """

    config: Any
    layer_idx: int
    head_dim: int
    scaling: float
    attention_dropout: Any
    q_proj: nn.Linear
    k_proj: nn.Linear
    v_proj: nn.Linear
    o_proj: nn.Linear
    #: Qwen3 has these two; the others none.
    q_norm: nn.Module
    k_norm: nn.Module

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.add_memory()

    def add_memory(self) -> None:
        """Add the parameters, as the configuration says that they start."""
        heads, device = self.config.num_attention_heads, self.q_proj.weight.device
        # In float32 whatever the model is in: a gate learns in steps that bfloat16 rounds away.
        self.memory_gate = nn.Parameter(torch.empty(heads, dtype=torch.float32, device=device))
        self.memory_scale = nn.Parameter(torch.empty(heads, dtype=torch.float32, device=device))
        self.reset_memory()

    def reset_memory(self) -> None:
        """Set gate and scale as they start, except where a checkpoint had them."""
        initialization.constant_(self.memory_gate, self.config.memory_gate)
        initialization.constant_(self.memory_scale, self.config.memory_scale)

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        *,
        memories: Sequence[Memory | None] | None = None,
        memory_k: int | None = None,
        memory_queries: Tensor | None = None,
        recorder: Recorder | None = None,
        copies: Copies | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the attended (B, T, hidden size), and the weights of the context where there are any.

        Raises:
            MemoryInputError: memories, queries or k that do not fit, see :func:`look_ups`.
        """
        assert position_embeddings is not None
        rows, tokens = hidden_states.shape[:2]
        queries, keys, values = self._project(hidden_states)
        if recorder is not None:
            told = unit(keys), values, unit(queries)
            recorder.keep(*(told if _is_live(recorder) else (it.detach() for it in told)))
        asked = look_ups(memories, memory_queries, rows, tokens, hidden_states.device)
        unrotated = unit(queries) if asked else queries
        queries, keys = apply_rotary_pos_emb(queries, keys, *position_embeddings)
        if past_key_values is not None:
            keys, values = past_key_values.update(keys, values, self.layer_idx)
        local, weights = self._attend(queries, keys, values, attention_mask, **kwargs)
        if asked:
            sums = self._local_log_sums(queries, keys, attention_mask)
            local = self._read(asked, _checked_k(memory_k, self.config), unrotated, local, sums, copies)
        return self.o_proj(local.reshape(rows, tokens, -1).contiguous()), weights

    def _project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, hidden size) to queries (B, H, T, D), keys and values (B, G, T, D)."""
        shape = (*hidden.shape[:-1], -1, self.head_dim)
        queries, keys = self.q_proj(hidden).view(shape), self.k_proj(hidden).view(shape)
        if hasattr(self, "q_norm"):
            queries, keys = self.q_norm(queries), self.k_norm(keys)
        values = self.v_proj(hidden).view(shape)
        return queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2)

    def _attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Attend to the context as the other class does: (B, T, H, D), and the weights."""
        # Llama knows of no windows, and does not name them to the attention.
        if hasattr(self, "sliding_window"):
            kwargs["sliding_window"] = self.sliding_window
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        dropout = self.attention_dropout if self.training else 0.0
        attended: tuple[Tensor, Tensor | None] = attend(
            self, queries, keys, values, mask, dropout=dropout, scaling=self.scaling, **kwargs
        )
        return attended

    def _local_log_sums(self, queries: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor | None:
        if self.config.memory_combine != "joint":
            return None
        if self.config._attn_implementation not in _JOINT_WITH:
            raise MemoryInputError(
                f"One softmax over context and memory does not go with {self.config._attn_implementation}: "
                f"load the model with attn_implementation={' or '.join(_JOINT_WITH)}, or combine by gate"
            )
        return local_log_sums(queries, keys, mask, self.scaling)

    def _read(
        self,
        asked: Sequence[tuple[Memory, Tensor]],
        k: int,
        queries: Tensor,
        local: Tensor,
        local_sums: Tensor | None,
        copies: Copies | None,
    ) -> Tensor:
        """Add what the tokens that ask find; queries (B, H, T, D) of unit length, the rest (B, T, H, ...)."""
        mixed = local.clone()
        heads, width = local.shape[2:]
        at_once = max(1, _KEYS_AT_ONCE // (heads * k * width))
        for memory, places in asked:
            # Nobody may ask: a split of nothing is one empty part.
            for row, token in (part.unbind(1) for part in torch.split(places, at_once) if len(part)):
                read, tokens = self._look_up(memory, queries[row, :, token], k)
                if copies is not None:
                    copies.keep(row, token, read.cosines, tokens, len(memory))
                own = None if local_sums is None else local_sums[row, token]
                mixed[row, token] = combine(
                    local[row, token], read.output, read.log_sum, self.memory_gate, own
                )
        return mixed

    def _look_up(self, memory: Memory, queries: Tensor, k: int) -> tuple[Attended, Tensor]:
        """Ask for queries (N, H, D): what is read, with (N, H, ...) for (G, Q, ...), and tokens (N, H, K)."""
        groups = self.config.num_key_value_heads
        grouped = by_group(queries, groups)
        # A gradient reaches the queries through their scores alone, and keys and values that are live.
        with torch.set_grad_enabled(torch.is_grad_enabled() and _is_live(memory)):
            retrieved = memory.look_up(grouped.detach(), k)
        scale = by_group(self.memory_scale.float().expand(len(queries), -1), groups)
        attended = memory_attention(grouped, retrieved, scale)
        answer = (attended.output, attended.log_sum, attended.cosines, retrieved.tokens)
        output, log_sum, near, tokens = (by_token(it, len(queries)) for it in answer)
        return Attended(output, log_sum, near), tokens


def _is_live(it: Memory | Recorder) -> bool:
    """Whether gradients go through it; a memory is a constant unless it says otherwise."""
    return bool(getattr(it, "live", False))


def _checked_k(k: int | None, config: Any) -> int:
    chosen = int(config.memory_neighbours if k is None else k)
    if chosen < 1:
        raise MemoryInputError(f"{chosen} entries cannot be looked up: memory_k is 1 or more")
    return chosen


def _check_same(what: str, one: Tensor, other: Tensor) -> None:
    if one.shape != other.shape:
        raise MemoryInputError(f"{what}: {tuple(one.shape)} and {tuple(other.shape)} differ")
