"""What a decoder looks up in its memory at a goal: entries by head, and the declarations they are of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from memory.attention import cosines
from memory.listening import ListeningMemory, LookUp
from memory.lookup import Memory
from memory.modeling import memory_shape
from prover.decoder.checkpoint import LoadedModel
from prover.decoder.prompts import Mark
from prover.errors import InputError
from prover.recall.faults import as_prover_errors
from prover.recall.library import kind_of
from prover.recall.passages import asking

if TYPE_CHECKING:
    from prover.recall.library import LibraryMemory


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that a head found."""

    name: str
    module: str
    #: Of the passage.
    kind: str
    #: Its number in the memory, and the text of its token.
    entry: int
    token: str
    #: Cosine of query and key.
    cosine: float
    #: Of all that the head found: they sum up to 1.
    weight: float


@dataclass(frozen=True, slots=True)
class Head:
    """What a head of the memory layer found, the nearest first."""

    number: int
    #: σ(b), from 0 to 1: how much it hears of the memory beside its context, for layers that combine by gate.
    share: float | None
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found at a goal."""

    heads: tuple[Head, ...]

    @property
    def names(self) -> list[tuple[str, float]]:
        """The declarations, with their weights summed over heads and tokens; the heaviest first."""
        sums: defaultdict[str, float] = defaultdict(float)
        for hit in (hit for head in self.heads for hit in head.hits):
            sums[hit.name] += hit.weight
        return sorted(sums.items(), key=lambda it: (-it[1], it[0]))


@torch.inference_mode()
def look(
    loaded: LoadedModel,
    library: LibraryMemory,
    goal: str,
    tactic: str | None = None,
    modules: frozenset[str] | None = None,
) -> Looked:
    """Run a decoder on a goal and the beginning of a tactic, and see what its last token looks up.

    Args:
        goal: as Lean prints it; a bare target will do.
        tactic: what has been said of one; None: what comes before a lemma's name.
        modules: that may be looked up; None: all.

    Raises:
        InputError: the model has no memory layer, goal and tactic are longer than the model takes, or nothing
            is remembered of the modules.
    """
    _, codec = kind_of(loaded)
    goal = goal if "⊢" in goal else f"⊢ {goal}"
    said = (Mark.GOAL, goal, Mark.GOAL_END, Mark.TACTIC, *([tactic] if tactic else ()))
    ids = asking(codec, goal) if tactic is None else codec.encode(said)
    if len(ids) > loaded.max_context:
        raise InputError(
            f"The goal has {len(ids)} tokens with its tactic, and {loaded.name} takes "
            f"{loaded.max_context}: give less of it"
        )
    view = library.view(modules)
    if not len(view):
        raise InputError("Nothing is remembered of these modules: name others, or none for all")
    heard = _listened(loaded.model, ids, view)
    return Looked(tuple(_heads(loaded, library, heard)))


def _listened(model: Any, ids: tuple[int, ...], memory: Memory) -> LookUp:
    """The one look-up of the last token."""
    listener = ListeningMemory(memory)
    tokens = torch.tensor([ids], device=model.device)
    asking = torch.zeros_like(tokens, dtype=torch.bool)
    asking[0, -1] = True
    with as_prover_errors():
        model(input_ids=tokens, memories=[listener], memory_queries=asking, use_cache=False)
    (heard,) = listener.heard
    return heard


def _heads(loaded: LoadedModel, library: LibraryMemory, heard: LookUp) -> Iterator[Head]:
    model: Any = loaded.model
    layer = model.model.layers[memory_shape(model).layer].self_attn
    # Of one token, the queries of the heads in their order: (G, H / G, ...) is (H, ...).
    near = cosines(heard.queries.float(), heard.retrieved).flatten(0, 1)
    found, entries = (it.flatten(0, 1) for it in (heard.retrieved.found, heard.retrieved.entries))
    weights = (near * layer.memory_scale[:, None]).masked_fill(~found, -torch.inf).softmax(dim=-1)
    shares = layer.memory_gate.sigmoid().tolist() if model.config.memory_combine == "gate" else None
    for head, there in enumerate(found):
        rows = (it[head][there].tolist() for it in (entries, near, weights))
        hits = tuple(_hit(loaded, library, *row) for row in zip(*rows, strict=True))
        yield Head(head, shares and shares[head], hits)


def _hit(loaded: LoadedModel, library: LibraryMemory, entry: int, cosine: float, weight: float) -> Hit:
    passage, place = library.passage_of(entry)
    assert loaded.codec is not None, "its passages were written with it"
    token = loaded.codec.decode([passage.tokens[place]])
    return Hit(passage.name, passage.module, passage.kind, entry, token, cosine, weight)
