"""Many continuations of a prompt over one key/value cache: a column a token, and each branch sees some.

A cache of batch B holds columns (B, H, K, D). All branches of a prompt share them: what a branch sees is a
mask over the columns, so that a branch forks, and a beam changes its parent, by a copy of its mask alone, and
the prompt is there once, however many continuations it has. A token's position was fixed when it was run;
where its column lies means nothing, which is why prompts and their cached prefixes are padded as it suits.

A prompt may have an external memory (:mod:`memory`), which all its branches look up, and padding does not.

Needs attention that takes any mask (B, 1, Q, K) and positions of their own: see :func:`check_attention`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from prover.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from memory.lookup import Memory

#: Keys and values of each layer, (H, T, D) both.
Layers = tuple[tuple[Tensor, Tensor], ...]
#: A branch's continuation: the place of its parent among the branches, and the token.
Move = tuple[int, int]

#: Columns that nobody sees any more are dropped when so large a share of them can go.
_DROPPED = 0.25


@dataclass(frozen=True, slots=True)
class Prefix:
    """A prompt's first tokens that need not be run again."""

    length: int
    layers: Layers


NO_PREFIX = Prefix(0, ())


@dataclass(frozen=True, slots=True)
class LookUps:
    """Which memories are looked up while tokens (B, Q) are run, and by which of them."""

    #: One a row, or None for a row without.
    memories: Sequence[Memory | None]
    #: (B, Q), bool.
    asking: Tensor


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values (B, H, K, D) with room behind them: a step does not copy all that is there."""

    _room: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        if self.keys is None or self.values is None:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.keys, self.values, self.is_initialized = key_states, value_states, True
            return key_states, value_states
        used, end = self.keys.shape[2], self.keys.shape[2] + key_states.shape[2]
        if self._room is None or self._room[0].shape[2] < end:
            self._room = (_with_room(self.keys, end), _with_room(self.values, end))
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, used:end] = new
        self.keys, self.values = self._room[0][:, :, :end], self._room[1][:, :, :end]
        return self.keys, self.values

    def keep(self, prompts: Tensor | None, columns: Tensor | None) -> None:
        """Keep some prompts (B',), then some columns of each (B', K')."""
        assert self.keys is not None and self.values is not None
        self.keys, self.values = (_kept(it, prompts, columns) for it in (self.keys, self.values))
        self._room = None


def _with_room(old: Tensor, needed: int) -> Tensor:
    """Copy (B, H, K, D) into a tensor with more columns than are needed."""
    batch, heads, used, width = old.shape
    room = old.new_empty(batch, heads, needed + max(64, needed // 4), width)
    room[:, :, :used] = old
    return room


def _kept(old: Tensor, prompts: Tensor | None, columns: Tensor | None) -> Tensor:
    if prompts is not None:
        old = old.index_select(0, prompts)
    if columns is not None:
        _, heads, _, width = old.shape
        old = old.gather(2, columns[:, None, :, None].expand(-1, heads, -1, width))
    return old


class Branches:
    """The branches of B prompts, W of each (some may be idle), over one cache."""

    def __init__(
        self,
        model: PreTrainedModel,
        cache: Cache,
        visible: Tensor,
        positions: Tensor,
        memories: Sequence[Memory | None] | None = None,
    ) -> None:
        """Take over a cache of K columns.

        Args:
            visible: (B, W, K), the columns that each branch sees.
            positions: (B, W), of each branch's next token.
            memories: one a prompt, of a model with a memory layer; None: nobody has one.
        """
        if visible.shape[:2] != positions.shape:
            raise ValueError(f"columns seen {tuple(visible.shape)}, positions {tuple(positions.shape)}")
        self._model = model
        self._cache = cache
        self._visible = visible
        self._positions = positions
        self._memories = memories

    @property
    def columns(self) -> int:
        return int(self._visible.shape[2])

    def advance(self, moves: Sequence[Sequence[Move]]) -> Tensor:
        """Run each prompt's moves, which become its branches; prompts without any are let go.

        Returns:
            logits (B', W', V) of the prompts that are left, in order; idle past a prompt's own moves.
        """
        self._keep([place for place, own in enumerate(moves) if own])
        moved = [own for own in moves if own]
        parents, tokens = _padded(moved).to(self._visible.device).unbind(-1)
        self._fork(parents)
        self._drop_columns()
        look_ups = self._look_ups([len(own) for own in moved], tokens)
        return self._run(tokens, _one_each(tokens), self._positions, look_ups, step=1)

    def read(self, texts: Sequence[Sequence[Sequence[int]]]) -> Tensor:
        """Run texts of each prompt beside each other, each after the prompt alone; W must be 1.

        Returns:
            logits (B, Q, V), the texts of a prompt one after the other, and then idle ones.
        """
        rows = [[token for text in own for token in text] for own in texts]
        owners = [[place for place, text in enumerate(own) for _ in text] for own in texts]
        steps = [[step for text in own for step in range(len(text))] for own in texts]
        device = self._visible.device
        tokens, owner, step = (_right_padded(it, device) for it in (rows, owners, steps))
        same = owner[:, :, None] == owner[:, None, :]
        earlier = torch.ones(same.shape[1:], dtype=torch.bool, device=device).tril()
        self._visible = self._visible.expand(-1, tokens.shape[1], -1)
        look_ups = self._look_ups([len(row) for row in rows], tokens)
        return self._run(tokens, same & earlier, self._positions + step, look_ups, step=0)

    def _run(
        self, tokens: Tensor, among: Tensor, positions: Tensor, look_ups: LookUps | None, step: int
    ) -> Tensor:
        """Run tokens (B, Q), a branch each, that see each other as ``among`` (B, Q, Q) says."""
        self._visible = torch.cat([self._visible, among], dim=2)
        self._positions = positions + step
        return forward(self._model, self._cache, tokens, positions, self._visible, look_ups)

    def _look_ups(self, real: Sequence[int], tokens: Tensor) -> LookUps | None:
        """Of the tokens (B, Q), the first of each row are real, so many."""
        if self._memories is None:
            return None
        lengths = torch.tensor(real, device=tokens.device)[:, None]
        return LookUps(self._memories, torch.arange(tokens.shape[1], device=tokens.device) < lengths)

    def _fork(self, parents: Tensor) -> None:
        """Put a child in the place of each branch: ``parents`` (B, W')."""
        self._positions = self._positions.gather(1, parents)
        self._visible = self._visible.gather(1, parents[:, :, None].expand(-1, -1, self.columns))

    def _keep(self, prompts: Sequence[int]) -> None:
        if len(prompts) == len(self._visible):
            return
        places = torch.tensor(prompts, device=self._visible.device)
        self._visible, self._positions = self._visible[places], self._positions[places]
        if self._memories is not None:
            self._memories = [self._memories[place] for place in prompts]
        for layer in _layers(self._cache):
            layer.keep(places, None)

    def _drop_columns(self) -> None:
        """Drop the columns of branches that have ended, once there are many."""
        seen = self._visible.any(dim=1)
        most = int(seen.sum(dim=1).max())
        if most > (1.0 - _DROPPED) * self.columns:
            return
        places = (~seen).to(torch.int8).argsort(dim=1, stable=True)[:, :most]
        self._visible = self._visible.gather(2, places[:, None].expand(-1, self._visible.shape[1], -1))
        for layer in _layers(self._cache):
            layer.keep(None, places)


def _layers(cache: Cache) -> list[GrowingLayer]:
    return [layer for layer in cache.layers if isinstance(layer, GrowingLayer)]


def _padded(moves: Sequence[Sequence[Move]]) -> Tensor:
    """(B, W, 2); idle branches do as the first one does."""
    width = max(map(len, moves))
    return torch.tensor([[*own, *[own[0]] * (width - len(own))] for own in moves])


def _right_padded(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)


def _one_each(tokens: Tensor) -> Tensor:
    """Each token sees itself: (B, W) to (B, W, W)."""
    batch, width = tokens.shape
    return torch.eye(width, dtype=torch.bool, device=tokens.device).expand(batch, width, width)


# --- the prompts ----------------------------------------------------------------------------------


def start(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    prefixes: Sequence[Prefix],
    memories: Sequence[Memory | None] | None = None,
) -> tuple[Branches, Tensor, list[Layers]]:
    """Run what of the prompts is not in their prefixes; each prompt has one branch then.

    Args:
        memories: one a prompt, which its prefix was run with as well; None: nobody has one, and the model
            needs no memory layer.

    Returns:
        the branches, the logits (B, V) after each prompt, and each prompt's keys and values.
    """
    device = model.device
    rests = [prompt[prefix.length :] for prompt, prefix in zip(prompts, prefixes, strict=True)]
    if not all(rests):
        raise ValueError("a prompt needs a token to run, beyond its prefix")
    known, width = max(prefix.length for prefix in prefixes), max(map(len, rests))
    cache = _filled(prefixes, known)
    # Padded on the left, as the prefixes are: the last logits are those after each prompt.
    tokens = torch.tensor([[*[0] * (width - len(rest)), *rest] for rest in rests], device=device)
    starts = torch.tensor([[prefix.length, len(rest)] for prefix, rest in zip(prefixes, rests, strict=True)])
    lengths, pads = starts[:, :1].to(device), width - starts[:, 1:].to(device)
    columns = torch.arange(known + width, device=device)
    real = ((columns >= known - lengths) & (columns < known)) | (columns >= known + pads)
    causal = torch.arange(width, device=device)[:, None] >= columns - known
    positions = (lengths + torch.arange(width, device=device) - pads).clamp(min=0)
    asking = real[:, known:].clone()
    if not prompts_ask(model):
        asking[:, :-1] = False
    look_ups = None if memories is None else LookUps(memories, asking)
    logits = forward(model, cache, tokens, positions, real[:, None] & causal, look_ups, last=True)[:, 0]
    branches = Branches(model, cache, real[:, None], positions[:, -1:] + 1, memories)
    return branches, logits, [_taken(cache, row, mask) for row, mask in enumerate(real)]


def prompts_ask(model: PreTrainedModel) -> bool:
    """Whether tokens of a prompt look up, and not its last one alone."""
    return bool(getattr(model.config, "memory_prompts", True))


def _filled(prefixes: Sequence[Prefix], known: int) -> Cache:
    """A cache of the prefixes, padded on the left to so many columns."""
    cache = Cache(layer_class_to_replicate=GrowingLayer)
    example = max(prefixes, key=lambda prefix: prefix.length)
    for place, pair in enumerate(example.layers):
        full = [it.new_zeros(len(prefixes), it.shape[0], known, it.shape[2]) for it in pair]
        for row, prefix in enumerate(prefixes):
            if prefix.length:
                for target, source in zip(full, prefix.layers[place], strict=True):
                    target[row, :, known - prefix.length :] = source[:, : prefix.length]
        cache.update(full[0], full[1], place)
    return cache


def _taken(cache: Cache, row: int, columns: Tensor) -> Layers:
    """A copy of a prompt's keys and values."""
    layers = []
    for layer in _layers(cache):
        assert layer.keys is not None and layer.values is not None
        layers.append((layer.keys[row][:, columns], layer.values[row][:, columns]))
    return tuple(layers)


def forward(
    model: PreTrainedModel,
    cache: Cache,
    tokens: Tensor,
    positions: Tensor,
    visible: Tensor,
    look_ups: LookUps | None = None,
    last: bool = False,
) -> Tensor:
    """Run tokens (B, Q) that see the columns ``visible`` (B, Q, K), their own among them.

    Args:
        look_ups: None for a model without a memory layer, and where nobody has a memory.

    Returns:
        logits (B, Q, V); with ``last``, (B, 1, V).
    """
    if visible.shape[:2] != tokens.shape or positions.shape != tokens.shape:
        shapes = f"tokens {tuple(tokens.shape)}, positions {tuple(positions.shape)}"
        raise ValueError(f"{shapes}, columns seen {tuple(visible.shape)}")
    # Added to the scores: the least number rather than -inf, because padding sees nothing at all.
    hidden = torch.finfo(model.dtype).min
    mask = torch.zeros(visible.shape, dtype=model.dtype, device=visible.device).masked_fill_(~visible, hidden)
    more: dict[str, Any] = {"logits_to_keep": 1} if last and _keeps_logits(model) else {}
    if look_ups is not None:
        more |= {"memories": look_ups.memories, "memory_queries": look_ups.asking}
    output = model(
        input_ids=tokens,
        attention_mask=mask[:, None],
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        **more,
    )
    logits: Tensor = output.logits
    return logits[:, -1:] if last else logits


def _keeps_logits(model: PreTrainedModel) -> bool:
    return "logits_to_keep" in inspect.signature(model.forward).parameters


@torch.inference_mode()
def check_attention(model: PreTrainedModel) -> None:
    """Check on a few tokens that the model heeds masks and positions, and that the cache is all its memory.

    Raises:
        InputError: branches would have other probabilities than the model gives by itself.
    """
    ids = [1, 2, 3, 4, 5, 6]
    plain = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0].float()
    refusal = InputError(
        f"A model of the kind {model.config.model_type} cannot be decoded here: its attention does not "
        "take masks and positions as Llama's does. Serve it, with vLLM for one, and name the server."
    )
    try:
        found = _branched(model, ids)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise refusal from error
    expected = plain[[3, 1, 4, 2]]
    difference = float((found - expected).abs().max() / expected.abs().max())
    if not difference < (1e-3 if model.dtype == torch.float32 else 0.1):
        raise refusal


def _branched(model: PreTrainedModel, ids: Sequence[int]) -> Tensor:
    """Logits (4, V) after the first 4, 2, 5 and 3 of some ids, with a prefix, padding and branches."""
    _, _, (layers, _) = start(model, [ids[:3], ids], [NO_PREFIX, NO_PREFIX])
    branches, logits, _ = start(model, [ids[:4], ids[:2]], [Prefix(3, layers), NO_PREFIX])
    after = branches.advance([[(0, 9), (0, ids[4])], [(0, ids[2])]])
    return torch.stack([logits[0], logits[1], after[0, 1], after[1, 0]]).float()
