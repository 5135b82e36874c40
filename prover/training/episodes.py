"""Documents to read with a memory: modules in import order, what they declare and what proves their goals.

After Wu et al. 2022, section 3.1: a document is read in order, a part at a time, and what the memory layer
makes of each part is kept for the parts that follow, until the document ends. Here a document is a run of
modules: declarations are read as they are for a library's memory (``prover/recall/passages.py``), and
lessons, states with what worked and failed there, come after the declarations that their tactics name,
sooner or later. In some documents theorems bear names made up for it: what such a lemma is called can be
known from the memory alone.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from prover.decoder.codec import Codec
from prover.decoder.prompts import PromptForm
from prover.generators.printed import tactic_names
from prover.lean.messages import Declaration
from prover.premises import PremiseCorpus
from prover.recall.passages import of_declaration, of_tactic
from prover.training.dataset import Row, RowMaker
from prover.training.declarations import introduced
from prover.training.lessons import Lesson
from prover.training.renaming import made_up, renamed_lesson

#: Lessons that make up a document, at least; the last one has what is left.
_LESSONS = 120
#: Declarations of a document that no lesson names, for each one that is named.
_OTHERS = 1.0
#: Share of the documents whose theorems have made-up names.
_RENAMED = 0.7
#: Rows of each document in a turn: declarations, theorems that are to be named again, lessons.
_DECLARED, _NAMED, _ASKED = 24, 16, 6
#: Tokens of a name that are told apart.
_LONGEST = 64


@dataclass(frozen=True, slots=True)
class Turn:
    """Rows that are run at once; what is kept of them is in memory for the rows after them."""

    rows: tuple[Row, ...]
    #: The document that each row is of, by its slot.
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """Turns that a model learns from together: declarations, and lessons behind them."""

    turns: tuple[Turn, ...]
    #: Slots in which a document begins: their memory is emptied first.
    begun: frozenset[int]


#: Declarations of a document, theorems to name that were read, and lessons that are asked behind them.
Part = tuple[list[Row], list[Row], list[Row]]


@dataclass(frozen=True, slots=True)
class Story:
    """A document: declarations in the order in which they are read, and lessons that name some of them."""

    declared: tuple[Declaration, ...]
    lessons: tuple[Lesson, ...]


def stories(lessons: Sequence[Lesson], library: PremiseCorpus) -> list[Story]:
    """Make documents of lessons, in import order of their modules."""
    by_name = {declaration.name: declaration for declaration in library.premises}
    by_module: dict[str, list[Declaration]] = {}
    for declaration in library.premises:
        by_module.setdefault(declaration.module, []).append(declaration)
    found: list[Story] = []
    for group in _runs(sorted(lessons, key=lambda lesson: lesson.proof.position)):
        named = {name for lesson in group for name in names_in(lesson) if name in by_name}
        others = [d for module in _modules(group) for d in by_module.get(module, ()) if d.name not in named]
        chance = random.Random(f"{group[0].proof.theorem} others")
        drawn = chance.sample(others, min(len(others), round(_OTHERS * len(named))))
        chosen = named | {declaration.name for declaration in drawn}
        declared = (by_name[name] for name in chosen)
        in_order = sorted(declared, key=lambda d: (library.order.get(d.module, -1), d.name))
        found.append(Story(tuple(in_order), tuple(group)))
    return found


def names_in(lesson: Lesson) -> set[str]:
    """The names in tactics that worked."""
    return {name for tactic in lesson.worked for name in tactic_names(tactic)}


def _runs(lessons: Sequence[Lesson]) -> Iterator[list[Lesson]]:
    """Whole modules, as many as make a document."""
    run: list[Lesson] = []
    for _, module in groupby(lessons, key=lambda lesson: lesson.proof.module):
        run += module
        if len(run) >= _LESSONS:
            yield run
            run = []
    if run:
        yield run


def _modules(lessons: Sequence[Lesson]) -> list[str]:
    return list(dict.fromkeys(lesson.proof.module for lesson in lessons))


# --- names made up --------------------------------------------------------------------------------


def renamed(story: Story, names: Mapping[str, str]) -> Story:
    """The document with other names."""
    declared = (replace(d, name=names.get(d.name, d.name)) for d in story.declared)
    return Story(tuple(declared), tuple(renamed_lesson(lesson, names) for lesson in story.lessons))


# --- turns ----------------------------------------------------------------------------------------


class Episodes:
    """All documents, epoch after epoch, several side by side: what is in them depends on the seed alone."""

    def __init__(
        self,
        maker: RowMaker,
        stories: Sequence[Story],
        slots: int,
        seed: int,
        renames: float = _RENAMED,
        forms: Sequence[PromptForm] = (PromptForm.HISTORY,),
    ) -> None:
        """Take documents.

        Args:
            slots: documents that are read side by side.
            forms: of the lessons, each as often as another.
            renames: share of the documents whose theorems have made-up names.
        """
        self._maker = maker
        self._stories = stories
        self._slots = slots
        self._seed = seed
        self._renames = renames
        self._forms = forms

    def epoch(self, number: int) -> Iterator[Step]:
        """Yield the steps of an epoch."""
        chance = random.Random(f"{self._seed} {number} episodes")
        order = list(self._stories)
        chance.shuffle(order)
        waiting = iter(order)
        tellings: dict[int, Iterator[Part]] = {}
        while True:
            begun = set()
            parts: dict[int, Part] = {}
            for slot in range(self._slots):
                while slot not in parts:
                    if slot not in tellings:
                        if (story := next(waiting, None)) is None:
                            break
                        begun.add(slot)
                        tellings[slot] = self.told(story, random.Random(chance.random()))
                    if (part := next(tellings[slot], None)) is None:
                        del tellings[slot]
                    else:
                        parts[slot] = part
            if not parts:
                return
            yield Step(tuple(_turns(parts)), frozenset(begun))

    def told(self, story: Story, chance: random.Random) -> Iterator[Part]:
        """Yield the parts of a document: each reads some declarations, and asks for them and some lessons.

        Half of what is asked is about what was just read, if there is such; the rest about anything that was.
        """
        names: Mapping[str, str] = {}
        if chance.random() < self._renames:
            names = made_up([d.name for d in story.declared if d.kind == "theorem"], chance)
            story = renamed(story, names)
        unread = {declaration.name for declaration in story.declared}
        declared = frozenset(unread)
        lessons = list(story.lessons)
        chance.shuffle(lessons)
        for start in range(0, max(1, len(story.declared)), _DECLARED):
            part = story.declared[start : start + _DECLARED]
            new = {declaration.name for declaration in part}
            unread -= new
            ready = [lesson for lesson in lessons if not names_in(lesson) & unread]
            fresh = [lesson for lesson in ready if names_in(lesson) & new][: _ASKED // 2]
            asked = [*fresh, *_without(ready, fresh)][:_ASKED]
            yield (
                [self._read(declaration) for declaration in part],
                [self._to_name(it) for it in self._drawn(story.declared, start, chance)],
                self._all_asked(asked, declared, names, chance),
            )
            lessons = _without(lessons, asked)
        for start in range(0, len(lessons), _ASKED):
            again = self._drawn(story.declared, len(story.declared), chance)
            yield (
                [],
                [self._to_name(it) for it in again],
                self._all_asked(lessons[start : start + _ASKED], declared, names, chance),
            )

    def _read(self, declaration: Declaration) -> Row:
        """A declaration, whose name is learned."""
        reading = of_declaration(self._maker.codec, declaration)
        context, said = reading.context, reading.passage.tokens
        learned = (False,) * (len(context) + 1) + (True,) * (len(said) - 1)
        row = Row(context + said, learned, "declarations", (0,) * len(context) + (1,) * len(said))
        return with_names(row, [declaration.name], self._maker.codec)

    def _drawn(self, declared: Sequence[Declaration], start: int, chance: random.Random) -> list[Declaration]:
        """Theorems to name: of those that are read from ``start`` on, and of those before."""
        parts = declared[start : start + _DECLARED], declared[:start]
        theorems = [[it for it in part if it.kind == "theorem"] for part in parts]
        return [it for part in theorems for it in chance.sample(part, min(_NAMED // 2, len(part)))]

    def _to_name(self, theorem: Declaration) -> Row:
        """The goal that is left of a theorem when all is introduced, and the theorem's name."""
        reading = of_declaration(self._maker.codec, replace(theorem, type=""))
        goal = of_tactic(self._maker.codec, (introduced(theorem.type),), "", True, "").context
        learned = (False,) * (len(goal) + 1) + (True,) * (len(reading.passage.tokens) - 1)
        branches = (0,) * len(goal) + (1,) * len(reading.passage.tokens)
        row = Row(goal + reading.passage.tokens, learned, "named", branches)
        return with_names(row, [theorem.name], self._maker.codec)

    def _all_asked(
        self,
        lessons: Sequence[Lesson],
        declared: frozenset[str],
        names: Mapping[str, str],
        chance: random.Random,
    ) -> list[Row]:
        rows = []
        for lesson in (it.drawn(chance) for it in lessons):
            said = {n for tactic in (*lesson.worked, *lesson.failed) for n in tactic_names(tactic)}
            row = self._maker.lesson(lesson, chance.choice(self._forms), names)
            rows.append(with_names(row, sorted(said & declared, key=len), self._maker.codec))
        return rows


def _without(lessons: Sequence[Lesson], taken: Sequence[Lesson]) -> list[Lesson]:
    known = set(map(id, taken))
    return [lesson for lesson in lessons if id(lesson) not in known]


def with_names(row: Row, names: Sequence[str], codec: Codec) -> Row:
    """The row with a number for each token that stands before a token of one of these names in a tactic.

    The same part of the same name has the same number everywhere, where it was read and where it is to be
    said. Names are made of the same tokens wherever they stand; of names that begin alike, the last one given
    counts.
    """
    named = [-1] * len(row.ids)
    for name in names:
        ids, number = codec.encode((name,)), zlib.crc32(name.encode()) * _LONGEST
        for place in _places(row.ids, ids):
            if row.branches[place - 1] > 0:
                for part in range(min(len(ids), _LONGEST)):
                    named[place - 1 + part] = number + part
    return replace(row, named=tuple(named))


def _places(ids: Sequence[int], part: Sequence[int]) -> Iterator[int]:
    """Where a part begins, but for the very beginning."""
    for place in range(1, len(ids) - len(part) + 1):
        if ids[place] == part[0] and tuple(ids[place : place + len(part)]) == tuple(part):
            yield place


def _turns(parts: dict[int, Part]) -> Iterator[Turn]:
    """What is read and asked in all slots: rows of one kind at once, which are of about the same length."""
    for kind in range(3):
        rows = [(slot, row) for slot, part in parts.items() for row in part[kind]]
        if rows:
            yield Turn(tuple(row for _, row in rows), tuple(slot for slot, _ in rows))
