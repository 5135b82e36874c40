"""What a memory is worth: perplexity by its size, and whether facts made up after training are named.

The first is the central table of Wu et al. 2022 for Lean: modules that were held out from training are read,
and asked about, with the newest so many entries of what they see of the library in memory, and their own.
The second is what a memory is for: a file declares lemmas with names that nobody has seen, and the model is
to name the one that proves a goal.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memory.building import Reading
from memory.catalogue import tokens_of
from memory.external import ExternalMemory, RecentMemory, UnionMemory
from memory.lookup import Memory
from memory.modeling import memory_shape
from memory.reading import Reader, shifted
from prover.decoder.checkpoint import LoadedModel
from prover.decoder.completion import Decoding, Sampling
from prover.decoder.context import ContextIndex
from prover.decoder.names import Names
from prover.decoder.prompts import PromptForm, Situation, compose
from prover.decoder.transformers_backend import TransformersBackend
from prover.generators.printed import printed_goal, tactic_names
from prover.lean.messages import Declaration
from prover.recall.passages import of_declaration
from prover.recall.pointing import Pointer, Source
from prover.training.dataset import Row, padded, right_padded
from prover.training.declarations import introduced
from prover.training.memory_trainer import Kept
from prover.training.renaming import made_up as renamed
from prover.training.trainer import summed_loss

#: The memory of what a module sees of the library, with so many entries: the newest in import order.
LibraryOf = Callable[[str, int], Memory | None]


@dataclass(frozen=True, slots=True)
class Told:
    """A held-out module: what it declares is read first, and then lessons are asked."""

    module: str
    declared: tuple[Row, ...]
    lessons: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """Rows of one kind that are run at once, with what is in memory by then.

    Who runs them hands ``recorder`` to the model: what it hears of a document's declarations is remembered.
    """

    kind: str
    #: As :func:`prover.training.dataset.padded` makes it, on the model's device.
    batch: dict[str, Tensor]
    #: (B, T), the tokens of tactics: they look up, and are what is remembered.
    said: Tensor
    memory: Memory | None
    recorder: Kept

    @property
    def extra(self) -> dict[str, Any]:
        """What the model is given beside the batch."""
        if self.memory is None:
            return {"recorder": self.recorder}
        memories = [self.memory] * len(self.said)
        return {"recorder": self.recorder, "memories": memories, "memory_queries": self.said}

    def remember(self, memory: RecentMemory, shift: int) -> None:
        """Add what the recorder heard, row by row."""
        keys, values = shifted(self.recorder.keys, shift), self.recorder.values
        for row, mask in enumerate(self.said):
            tokens = self.batch["input_ids"][row][mask]
            memory.add(keys[row][:, mask].float(), values[row][:, mask].float(), tokens)


def turns(
    model: Any, told: Sequence[Told], library: LibraryOf, size: int, pad_id: int, rows: int = 8
) -> Iterator[Turn]:
    """Yield the rows of documents in their order, to be run one after the other.

    Args:
        library: what of the library is in memory beside the module's own entries.
        size: entries of the library; 0: no memory at all, not even of the module itself.
        rows: that are run at once.
    """
    shape = memory_shape(model)
    for document in told:
        own = RecentMemory(shape.heads, shape.width, max(1, size), model.device)
        known = library(document.module, size) if size else None
        for kind, part in (("declarations", document.declared), ("lessons", document.lessons)):
            for start in range(0, len(part), rows):
                some = part[start : start + rows]
                batch = {name: it.to(model.device) for name, it in padded(some, pad_id).items()}
                length = batch["input_ids"].shape[1]
                said = right_padded([row.branches for row in some], length).to(model.device) > 0
                turn = Turn(kind, batch, said, _joined(known, own) if size else None, Kept())
                yield turn
                if size and kind == "declarations":
                    turn.remember(own, model.config.memory_shift)


def _joined(library: Memory | None, own: RecentMemory) -> Memory:
    return own if library is None else UnionMemory([library, own])


@torch.no_grad()
def perplexities(model: Any, turns: Iterable[Turn]) -> dict[str, float]:
    """Return the perplexity of declarations' names, given their types, and of tactics, given their goals."""
    model.eval()
    losses, counts = {"declarations": 0.0, "lessons": 0.0}, {"declarations": 0, "lessons": 0}
    for turn in turns:
        loss, learned = summed_loss(model, turn.batch, **turn.extra)
        losses[turn.kind] += float(loss)
        counts[turn.kind] += learned
    return {kind: float(np.exp(losses[kind] / max(1, counts[kind]))) for kind in losses}


# --- facts made up --------------------------------------------------------------------------------

_ONSETS = ("b", "d", "fl", "g", "gr", "k", "kl", "m", "n", "p", "pr", "s", "sk", "t", "tr", "v", "z")
_VOWELS = ("a", "e", "i", "o", "u", "oo", "ai")
_ENDS = ("", "b", "k", "l", "m", "n", "rp", "sk", "x")
#: Letters of a statement that is renamed, at most: what makes it long is rarely what makes it hard.
_SHORT = 200
_TYPES = ("Nat", "Int", "List Nat", "Bool", "String")
#: Statements, and a state that asks for one: hypotheses and target.
_SHAPES = (
    ("∀ (x : {T}), {f} ({g} x) = x", "x : {T}\n⊢ {f} ({g} x) = x"),
    ("∀ (x y : {T}), {f} x y = {f} y x", "x y : {T}\n⊢ {f} x y = {f} y x"),
    ("∀ (x : {T}), {f} x = {g} x", "x : {T}\n⊢ {f} x = {g} x"),
    ("∀ (x : {T}), {f} ({f} x) = {f} x", "x : {T}\n⊢ {f} ({f} x) = {f} x"),
    ("∀ (x : {T}), {p} ({f} x)", "x : {T}\n⊢ {p} ({f} x)"),
    ("∀ (x : {T}), {p} x → {q} x", "x : {T}\nh : {p} x\n⊢ {q} x"),
    ("{f} {c} = {d}", "⊢ {f} {c} = {d}"),
    ("∀ (x : {T}), {f} {c} x = x", "x : {T}\n⊢ {f} {c} x = x"),
)


@dataclass(frozen=True, slots=True)
class Fact:
    """A lemma that nobody has seen, and a goal that it proves."""

    lemma: Declaration
    goal: str


def made_up(count: int, seed: int) -> list[Fact]:
    """Make facts about functions that do not exist: names and functions are syllables drawn at random."""
    chance = random.Random(f"{seed} facts")
    return [_fact(chance) for _ in range(count)]


def renamed_facts(theorems: Sequence[Declaration], count: int, seed: int) -> list[Fact]:
    """Make facts of theorems that the model never saw, under names of the library's words that nobody gave.

    The names are of the kind that people give, where those of :func:`made_up` are like no name at all.
    """
    chance = random.Random(f"{seed} renamed facts")
    short = [it for it in theorems if it.kind == "theorem" and len(it.type) <= _SHORT]
    drawn = chance.sample(short, min(count, len(short)))
    names = renamed([it.name for it in drawn], chance)
    return [Fact(replace(it, name=names[it.name]), introduced(it.type)) for it in drawn]


def _fact(chance: random.Random) -> Fact:
    words = iter(_words(chance, 6))
    symbols = {name: next(words) for name in ("f", "g", "c")}
    symbols |= {"p": symbols["f"].capitalize(), "q": symbols["g"].capitalize(), "d": next(words)}
    symbols |= {"T": chance.choice(_TYPES)}
    statement, goal = (text.format(**symbols) for text in chance.choice(_SHAPES))
    name = f"{next(words)}_{next(words)}"
    used = tuple(sorted(set(symbols.values()) & set(tactic_names(statement))))
    return Fact(Declaration(name, "theorem", "Facts", statement, used), goal)


def _words(chance: random.Random, count: int) -> Iterator[str]:
    for _ in range(count):
        syllables = chance.randint(2, 3)
        yield "".join(
            chance.choice(_ONSETS) + chance.choice(_VOWELS) + chance.choice(_ENDS) for _ in range(syllables)
        )


@dataclass(frozen=True, slots=True)
class Named:
    """Of how many facts the lemma was in the model's foremost tactic, and in one of its first ten."""

    questions: int
    at_1: float
    at_10: float


def _named_by(facts: Sequence[Fact], answers: Iterable[Sequence[str]]) -> Named:
    """How often a fact's lemma is among the names that were given for its goal, the best first."""
    pairs = zip(facts, answers, strict=True)
    return _named([[name == fact.lemma.name for name in names] for fact, names in pairs])


def pointed(loaded: LoadedModel, facts: Sequence[Fact], library: Source | None) -> Named:
    """Ask the memory of the facts, and of a library, which declarations would prove each fact's goal."""
    pointer = Pointer(loaded)
    passages = [reading.passage for reading in _readings(loaded, facts)]
    names = [passage.name for passage in passages for _ in passage.tokens]
    sources = [Source(memory_of(loaded, facts), names.__getitem__), *([library] if library else [])]
    return _named_by(facts, ([name for name, _ in pointer.find(fact.goal, sources)] for fact in facts))


def by_words(facts: Sequence[Fact], library: Sequence[Declaration]) -> Named:
    """The same for BM25 over constants and words of names: what the kNN generator and prompts go by."""
    index = ContextIndex([*library, *(fact.lemma for fact in facts)])
    lines = (index.near(fact.goal, None, 10) for fact in facts)
    return _named_by(facts, ([line.partition(" : ")[0] for line in near] for near in lines))


async def naming(
    loaded: LoadedModel,
    facts: Sequence[Fact],
    memory: Memory | None,
    *,
    library: Sequence[Declaration] = (),
    shown: int = 0,
    samples: int = 16,
) -> Named:
    """Ask for a tactic at each fact's goal, as a search does, and look for the fact's lemma in it.

    Args:
        memory: what is looked up; None: nothing.
        library: with the facts, what a tactic may name; (): it may name anything.
        shown: facts in each prompt, the right one among them; 0: none.
    """
    assert loaded.codec is not None
    chance = random.Random(0)
    prompts = [_prompt(loaded, fact, _shown(fact, facts, shown, chance)) for fact in facts]
    there = [*library, *(fact.lemma for fact in facts)]
    known = sorted({name for it in there for name in (it.name, *it.constants)})
    theorems = frozenset(it.name for it in there if it.kind == "theorem")
    guides = [Names(known, theorems, _local(fact.goal)) if library else None for fact in facts]
    backend = TransformersBackend(loaded)
    sampling = Sampling(samples, Decoding.BEAM, max_tokens=32)
    memories = None if memory is None else [memory] * len(prompts)
    answers = await backend.complete(prompts, sampling, [0] * len(prompts), memories=memories, guides=guides)
    await backend.close()
    return _named(
        [
            [fact.lemma.name in tactic_names(it.text) for it in answer if it.finished]
            for fact, answer in zip(facts, answers, strict=True)
        ]
    )


def _named(right: Sequence[Sequence[bool]]) -> Named:
    """From which of each question's answers are right, the best first."""
    return Named(len(right), *(sum(any(own[:best]) for own in right) / len(right) for best in (1, 10)))


def _shown(fact: Fact, facts: Sequence[Fact], count: int, chance: random.Random) -> tuple[str, ...]:
    if not count:
        return ()
    others = [it for it in facts if it is not fact]
    chosen = [fact, *chance.sample(others, min(count - 1, len(others)))]
    chance.shuffle(chosen)
    return tuple(f"{it.lemma.name} : {it.lemma.type}" for it in chosen)


def _prompt(loaded: LoadedModel, fact: Fact, shown: tuple[str, ...]) -> tuple[int, ...]:
    assert loaded.codec is not None
    situation = Situation(f"theorem goal : {fact.lemma.type} := by sorry", (), (fact.goal,), shown)
    room = loaded.max_context // 2
    return loaded.codec.encode(compose(PromptForm.CONTEXT, situation, room, loaded.codec.count))


def _local(goal: str) -> frozenset[str]:
    return frozenset(name for name, _ in printed_goal(goal).hypotheses)


def memory_of(loaded: LoadedModel, facts: Sequence[Fact]) -> ExternalMemory:
    """The facts' lemmas, read once."""
    readings = _readings(loaded, facts)
    pairs = Reader(loaded.model, loaded.max_context).read([reading.text for reading in readings])
    tokens = tokens_of([reading.passage for reading in readings])
    return ExternalMemory(None, pairs.keys, pairs.values, loaded.model.device, tokens)


def _readings(loaded: LoadedModel, facts: Sequence[Fact]) -> list[Reading]:
    assert loaded.codec is not None
    return [of_declaration(loaded.codec, fact.lemma) for fact in facts]
