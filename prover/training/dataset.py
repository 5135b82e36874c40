"""From proofs to token sequences: which tokens are learned, how forms are mixed, how rows become batches.

A row is a token sequence with a flag a token: whether the model is to learn it. Learned are answers, a tactic
and its end. When the next step's prompt begins with this step's prompt and answer, as it does in a proof told
with its history, the two are one row: it trains on every step, and each token is run once.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from prover.decoder.loading import PROOF_TOKENS, TACTIC_TOKENS
from prover.decoder.prompts import Mark, PromptForm, Situation, answer, bare, compose, verdict, whole_answer
from prover.training.declarations import Exercise
from prover.training.examples import Proof
from prover.training.lessons import Lesson
from prover.training.renaming import made_up, renamed_lesson, renamed_line

if TYPE_CHECKING:
    from torch import Tensor

    from prover.decoder.codec import Codec

#: Returns the declarations that the context form shows for a goal of this proof, the nearest first.
Retrieve = Callable[[str, Proof], Sequence[str]]

#: Proofs whose rows are made, sorted by length and put into batches together.
_POOL = 2048
#: Tokens that are echoed.
_ECHOED = (6, 60)
#: A label that counts for nothing.
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Row:
    """A token sequence, ``ids`` and ``learned`` of equal length T.

    It may hold several continuations of one beginning, which do not see each other: then ``branches`` says of
    each token which one it belongs to, from 1; 0 is the beginning that all of them see.
    """

    ids: tuple[int, ...]
    learned: tuple[bool, ...]
    #: A form, ``declarations``, or ``lessons``.
    kind: str
    branches: tuple[int, ...] = ()
    #: What follows each token where it is part of a name that is to be looked up, a number for each such
    #: part; -1 for all else. () where nothing is.
    named: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Mix:
    """How much of what a model is shown."""

    #: How often a proof is told in each form, in proportion.
    forms: Mapping[PromptForm, float]
    #: Exercises from declarations a proof.
    declarations: float = 0.0
    #: Exercises in copying a proof: of lines, and as often of any tokens (:meth:`RowMaker.echo`).
    copies: float = 0.0
    #: A tactic text that occurs more often than this is learned from at the square root of this over its
    #: count of its places, drawn anew each epoch; 0: at all of them.
    frequent: int = 0
    #: The same tactic on the same goals is learned from so many times an epoch, on average; 0: always.
    repeated: int = 0
    #: Share of the rows whose prompt is learned as well: plain language modelling, from which a small model
    #: learns to copy names long before it would from tactics alone.
    prompts: float = 0.0
    #: Share of the synthetic proofs that an epoch tells, drawn anew each time.
    synthetic: float = 1.0
    #: States a proof that are told with what worked and what failed there.
    lessons: float = 0.0
    #: Library theorems a proof that are told as states to apply them at.
    applied: float = 0.0
    #: Share of both, told in the form ``context``, whose shown declarations have made-up names, so that
    #: to name them is to copy.
    renamed: float = 0.0


# --- which proofs ---------------------------------------------------------------------------------


def held_out(module: str, share: float, seed: int) -> bool:
    """Whether a module is kept from training: a matter of its name and the seed alone.

    Args:
        share: of the modules, from 0 to 1.
    """
    digest = hashlib.sha256(f"{seed}\0held out\0{module}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def divided(proofs: Sequence[Proof], share: float, seed: int) -> tuple[list[Proof], list[Proof]]:
    """Return the proofs to train on and those to measure with, in order.

    Measured with are the held-out modules of the training split, and nothing else: no other split is
    looked at in training.
    """
    ours = [proof for proof in proofs if proof.split == "train"]
    out = [held_out(proof.module, share, seed) for proof in ours]
    kept = [proof for proof, is_out in zip(ours, out, strict=True) if not is_out]
    return kept, [proof for proof, is_out in zip(ours, out, strict=True) if is_out]


# --- rows -----------------------------------------------------------------------------------------


class RowMaker:
    """Makes the rows of proofs, none longer than a limit."""

    def __init__(self, codec: Codec, length: int, retrieve: Retrieve | None = None) -> None:
        """Make one.

        Args:
            length: tokens of a row, at most; a prompt leaves room for an answer, as it does in a search.
            retrieve: needed for the form ``context``.
        """
        self.codec = codec
        self.length = length
        self._retrieve = retrieve
        marks = {codec.mark_id(mark) for mark in Mark}
        self._unmarked = [token for token in range(codec.size) if token not in marks]

    def rows(self, proof: Proof, form: PromptForm, counts: Sequence[bool] = ()) -> list[Row]:
        """Return a proof's rows in this form.

        Args:
            counts: whether each step is learned from; () is all of them. The form ``whole`` is learned
                from if any is.
        """
        counts = counts or [True] * len(proof.steps)
        if form is PromptForm.WHOLE:
            return self._whole(proof) if any(counts) else []
        asked = (
            (self.prompt(proof, place, form), self.codec.encode(answer(step.tactic)), counts[place])
            for place, step in enumerate(proof.steps)
        )
        return _chained(((p, a, c and len(a) <= TACTIC_TOKENS) for p, a, c in asked), form)

    def prompt(
        self,
        proof: Proof,
        place: int,
        form: PromptForm,
        names: Mapping[str, str] = MappingProxyType({}),
        chance: random.Random | None = None,
    ) -> tuple[int, ...]:
        """The ids of the prompt for a step of a proof.

        Args:
            names: other ones for declarations that the context form shows.
            chance: shows them in another order than the nearest first.
        """
        situation = self._situation(proof, place, form, names, chance)
        answer_tokens = PROOF_TOKENS if form is PromptForm.WHOLE else TACTIC_TOKENS
        budget = self.length - min(answer_tokens, self.length // 2)
        return self.codec.encode(compose(form, situation, budget, self.codec.count))

    def exercise(self, exercise: Exercise) -> Row:
        """The row of an exercise."""
        shown, learned = self.codec.encode(exercise.shown), self.codec.encode(exercise.learned)
        return Row(shown + learned, (False,) * len(shown) + (True,) * len(learned), "declarations")

    def renamed(self, lesson: Lesson, form: PromptForm, chance: random.Random) -> Row:
        """The row of a state whose shown declarations have names made up for it, in its tactics as well.

        They come in any order: neither a name nor a place tells which one to take.
        """
        shown = self._situation(lesson.proof, lesson.place, form, {}).context
        names = made_up({line.partition(" : ")[0] for line in shown}, chance)
        return self.lesson(renamed_lesson(lesson, names), form, names, chance)

    def echo(self, chance: random.Random) -> Row:
        """Tokens drawn at random, and some of them again, of which all but the first are to be said.

        Nothing but copying helps here, so that it is learned from these first.
        """
        length = chance.randint(*_ECHOED)
        before, between = (chance.randint(0, length) for _ in range(2))
        ids = chance.choices(self._unmarked, k=before + length + between)
        again = ids[before : before + length]
        learned = (False,) * (len(ids) + 1) + (True,) * (length - 1)
        return Row((*ids, *again), learned, "copies")

    def lesson(
        self,
        lesson: Lesson,
        form: PromptForm,
        names: Mapping[str, str] = MappingProxyType({}),
        chance: random.Random | None = None,
    ) -> Row:
        """The row of a state with its tactics, each from its <TACTIC> to its verdict.

        Args:
            names, chance: see :meth:`prompt`; the lesson's tactics have the names already.
        """
        *shared, start = self.prompt(lesson.proof, lesson.place, form, names, chance)
        ids, learned, branches = list(shared), [False] * len(shared), [0] * len(shared)
        tactics = [(t, True) for t in lesson.worked] + [(t, False) for t in lesson.failed]
        for branch, (tactic, works) in enumerate(tactics, start=1):
            text = self.codec.encode(answer(tactic))
            if len(text) <= TACTIC_TOKENS:
                ids += [start, *text, self.codec.mark_id(verdict(works))]
                learned += [False, *[works] * len(text), True]
                branches += [branch] * (len(text) + 2)
        return Row(tuple(ids), tuple(learned), "lessons", tuple(branches))

    def _whole(self, proof: Proof) -> list[Row]:
        prompt = self.prompt(proof, 0, PromptForm.WHOLE)
        learned = self.codec.encode(whole_answer(proof.script))
        fits = len(learned) <= PROOF_TOKENS and len(prompt) + len(learned) <= self.length
        return _chained([(prompt, learned, fits)], PromptForm.WHOLE)

    def _situation(
        self,
        proof: Proof,
        place: int,
        form: PromptForm,
        names: Mapping[str, str],
        chance: random.Random | None = None,
    ) -> Situation:
        goals = proof.steps[place].goals
        context: list[str] = []
        if form is PromptForm.CONTEXT and goals:
            assert self._retrieve is not None, "the form context needs something to retrieve from"
            context = [renamed_line(line, names) for line in self._retrieve(goals[0], proof)]
        if chance is not None:
            chance.shuffle(context)
        return Situation(bare(proof.statement), proof.steps[:place], goals, tuple(context))


def _chained(asked: Iterable[tuple[tuple[int, ...], tuple[int, ...], bool]], form: PromptForm) -> list[Row]:
    """Rows of (prompt, answer, whether it counts); a prompt that goes on from the row before joins it."""
    rows: list[Row] = []
    for prompt, learned, counts in asked:
        before = rows[-1] if rows and prompt[: len(rows[-1].ids)] == rows[-1].ids else Row((), (), form)
        if before.ids:
            rows.pop()
        shown = before.learned + (False,) * (len(prompt) - len(before.ids))
        rows.append(Row(prompt + learned, shown + (counts,) * len(learned), form))
    return [_trimmed(row) for row in rows if any(row.learned)]


def _trimmed(row: Row) -> Row:
    """The row up to the last token that is learned."""
    end = len(row.learned) - row.learned[::-1].index(True)
    return Row(row.ids[:end], row.learned[:end], row.kind)


def _all_learned(row: Row) -> Row:
    return Row(row.ids, (True,) * len(row.ids), row.kind)


# --- epochs ---------------------------------------------------------------------------------------


class Batches:
    """The batches of all epochs: what is in them depends on the seed and the epoch alone."""

    def __init__(
        self,
        maker: RowMaker,
        proofs: Sequence[Proof],
        mix: Mix,
        tokens: int,
        seed: int,
        exercises: Sequence[Sequence[Exercise]] = (),
        lessons: Sequence[Lesson] = (),
        copies: Sequence[Exercise] = (),
        applications: Sequence[Lesson] = (),
    ) -> None:
        """Take what there is to learn.

        Args:
            tokens: of a batch, padding among them; a longer row is a batch of its own.
            exercises: of each kind, drawn from one kind as often as from another.
            lessons: drawn in the forms of the mix, library theorems as often as their share among them and
                synthetic ones at their share of the mix.
        """
        self._maker = maker
        self._proofs = proofs
        self._mix = mix
        self._tokens = tokens
        self._seed = seed
        self._exercises = [kind for kind in exercises if kind]
        self._copies = copies
        self._applications = applications
        self._lessons = lessons
        self._lesson_weights = [mix.synthetic if it.proof.source == "synthetic" else 1.0 for it in lessons]
        self._tactics = Counter(step.tactic for proof in proofs for step in proof.steps)
        self._pairs = Counter(step for proof in proofs for step in proof.steps)

    def epoch(self, number: int) -> Iterator[list[Row]]:
        """Yield the batches of an epoch, made as they are asked for."""
        chance = random.Random(f"{self._seed} {number}")
        order = list(range(len(self._proofs)))
        chance.shuffle(order)
        for start in range(0, len(order), _POOL):
            chosen = [self._proofs[place] for place in order[start : start + _POOL]]
            rows = [row for proof in chosen for row in self._rows(proof, chance)]
            rows += self._drawn(len(chosen), chance)
            batches = [
                *bucketed(rows, self._tokens),
                *bucketed(self._taught(len(chosen), chance), self._tokens),
            ]
            chance.shuffle(batches)
            yield from batches

    def _rows(self, proof: Proof, chance: random.Random) -> list[Row]:
        forms, weights = zip(*self._mix.forms.items(), strict=True)
        form: PromptForm = chance.choices(forms, weights)[0]
        counts = [chance.random() < self._share(place, proof) for place in range(len(proof.steps))]
        if proof.source == "synthetic" and chance.random() >= self._mix.synthetic:
            return []
        rows = self._maker.rows(proof, form, counts) if counts else []
        return [_all_learned(row) if chance.random() < self._mix.prompts else row for row in rows]

    def _share(self, place: int, proof: Proof) -> float:
        """At what share of its places a step is learned from."""
        step, mix = proof.steps[place], self._mix
        of_tactic = (mix.frequent / self._tactics[step.tactic]) ** 0.5 if mix.frequent else 1.0
        of_pair = mix.repeated / self._pairs[step] if mix.repeated else 1.0
        return min(1.0, of_tactic) * min(1.0, of_pair)

    def _taught(self, proofs: int, chance: random.Random) -> list[Row]:
        """Rows of lessons, as many as belong to so many proofs."""
        taught, applied = (round(proofs * share) for share in (self._mix.lessons, self._mix.applied))
        forms, weights = zip(*self._mix.forms.items(), strict=True)
        drawn = chance.choices(self._lessons, self._lesson_weights, k=taught) if self._lessons else []
        drawn += chance.choices(self._applications, k=applied) if self._applications else []
        return [self._lesson(it.drawn(chance), chance.choices(forms, weights)[0], chance) for it in drawn]

    def _lesson(self, lesson: Lesson, form: PromptForm, chance: random.Random) -> Row:
        if form is PromptForm.CONTEXT and chance.random() < self._mix.renamed:
            return self._maker.renamed(lesson, form, chance)
        return self._maker.lesson(lesson, form)

    def _drawn(self, proofs: int, chance: random.Random) -> list[Row]:
        """Rows of declarations, as many as belong to so many proofs."""
        told, copied = (round(proofs * share) for share in (self._mix.declarations, self._mix.copies))
        kinds = chance.choices(self._exercises, k=told) if self._exercises else []
        drawn = [chance.choice(kind) for kind in kinds]
        drawn += chance.choices(self._copies, k=copied - copied // 2) if self._copies else []
        echoes = [self._maker.echo(chance) for _ in range(copied // 2)]
        return [*(self._maker.exercise(exercise) for exercise in drawn), *echoes]


def bucketed(rows: Sequence[Row], tokens: int) -> Iterator[list[Row]]:
    """Put rows of about the same length together, as many as have room in so many tokens with padding."""
    batch: list[Row] = []
    for row in sorted(rows, key=lambda row: len(row.ids)):
        if batch and len(row.ids) * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def padded(rows: Sequence[Row], pad_id: int) -> dict[str, Tensor]:
    """Return a batch as ``input_ids`` and ``labels``, (B, T) both, padded on the right.

    No mask is needed: under causal attention no token sees what stands on its right. Rows with branches,
    which make up whole batches, come with an ``attention_mask`` (B, 1, T, T), true where a token sees
    another, and ``position_ids`` (B, T).
    """
    import torch

    length = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), length), pad_id, dtype=torch.long)
    labels = torch.full((len(rows), length), IGNORED, dtype=torch.long)
    for place, row in enumerate(rows):
        tokens = torch.tensor(row.ids, dtype=torch.long)
        ids[place, : len(tokens)] = tokens
        labels[place, : len(tokens)] = tokens.where(torch.tensor(row.learned), torch.tensor(IGNORED))
    batch = {"input_ids": ids, "labels": labels}
    return batch | branched([row.branches for row in rows], length) if rows[0].branches else batch


def right_padded(rows: Sequence[Sequence[int]], length: int) -> Tensor:
    """Numbers of each token of some rows, (B, length), -1 where there is none."""
    import torch

    found = torch.full((len(rows), length), -1, dtype=torch.long)
    for place, row in enumerate(rows):
        found[place, : len(row)] = torch.tensor(row, dtype=torch.long)
    return found


def branched(branches: Sequence[Sequence[int]], length: int) -> dict[str, Tensor]:
    """What each token of a batch sees, and its position in its own continuation.

    Args:
        branches: of each row's tokens, see :class:`Row`; padding sees itself alone.

    Returns:
        ``attention_mask`` (B, 1, T, T) and ``position_ids`` (B, T).
    """
    import torch

    of = right_padded(branches, length)
    earlier = torch.ones(length, length, dtype=torch.bool).tril()
    sees = earlier & ((of[:, None, :] == of[:, :, None]) | ((of[:, None, :] == 0) & (of[:, :, None] > 0)))
    sees &= (of[:, :, None] >= 0) | torch.eye(length, dtype=torch.bool)
    return {"attention_mask": sees[:, None], "position_ids": sees.sum(dim=2) - 1}
