"""Two runs on the same problems, theorem by theorem: what the second gained and what it lost.

A theorem counts as proved by a run when one of its seeds proved it. An infrastructure failure is no proof.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from eval.records import Plan, Record, Status
from eval.runs import Run, expressible, proved
from eval.statistics import Interval, mcnemar, paired_difference
from prover.errors import InputError


@dataclass(frozen=True, slots=True)
class Comparison:
    """The problems that both runs have attempted, by who proved them; each list in the benchmark's order."""

    before: str
    after: str
    #: Proved by the second run alone, by the first alone, by both, by none of them.
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    both: tuple[str, ...]
    neither: tuple[str, ...]
    #: In neither of the two Leans; not in any of the lists above.
    not_expressible: tuple[str, ...]
    #: What to bear in mind when reading the figures.
    warnings: tuple[str, ...]

    @property
    def total(self) -> int:
        """How many problems are compared: all that are expressible in one of the runs."""
        return len(self.gained) + len(self.lost) + len(self.both) + len(self.neither)

    @property
    def p_value(self) -> float:
        """Of McNemar's exact test."""
        return mcnemar(len(self.gained), len(self.lost))

    @property
    def difference(self) -> float:
        """What the second run's share of proved problems has more than the first's."""
        return (len(self.gained) - len(self.lost)) / self.total if self.total else 0.0

    @property
    def interval(self) -> Interval:
        """Of the difference, with a confidence of 95 %."""
        return paired_difference(len(self.both), len(self.gained), len(self.lost), len(self.neither))

    def to_json(self) -> dict[str, Any]:
        figures = {"p_value": self.p_value, "difference": self.difference, "interval": asdict(self.interval)}
        return asdict(self) | {"total": self.total} | figures


def compare(before: Run, after: Run) -> Comparison:
    """Compare two runs.

    Raises:
        InputError: they are not of the same problems.
    """
    _refuse_other_problems(before, after)
    groups: dict[str, list[str]] = {
        name: [] for name in ("gained", "lost", "both", "neither", "not_expressible")
    }
    for problem in before.by_problem:
        if problem in after.by_problem:
            groups[_group(before.by_problem[problem], after.by_problem[problem])].append(problem)
    lists = {name: tuple(problems) for name, problems in groups.items()}
    return Comparison(before.name, after.name, **lists, warnings=tuple(_warnings(before, after)))


def _group(before: tuple[Record, ...], after: tuple[Record, ...]) -> str:
    match proved(before), proved(after):
        case False, True:
            return "gained"
        case True, False:
            return "lost"
        case True, True:
            return "both"
    return "neither" if expressible(before) or expressible(after) else "not_expressible"


def _refuse_other_problems(before: Run, after: Run) -> None:
    for name in ("benchmark", "benchmark_version", "split"):
        old, new = getattr(before.plan, name), getattr(after.plan, name)
        if old != new:
            what = name.replace("_", " ")
            raise InputError(
                f"{before.name} and {after.name} cannot be compared: their {what} is {old} and {new}. "
                "Compare runs of the same problems."
            )
    if before.plan.problems_hash != after.plan.problems_hash:
        raise InputError(
            f"{before.name} and {after.name} cannot be compared: they have different lists of problems "
            f"of {before.plan.benchmark}. Run one of them again on the other's list."
        )


def _warnings(before: Run, after: Run) -> list[str]:
    return [
        *_budget_warnings(before.plan, after.plan),
        *_unfinished_warnings(before, after),
        *(warning for run in (before, after) for warning in _infrastructure_warnings(run)),
    ]


def _budget_warnings(before: Plan, after: Plan) -> list[str]:
    budgets = {
        "expansions": (before.expansions, after.expansions),
        "tactics": (before.tactics, after.tactics),
        "seconds": (before.seconds, after.seconds),
        "number of seeds": (len(before.seeds), len(after.seeds)),
    }
    other = {name: pair for name, pair in budgets.items() if pair[0] != pair[1]}
    warnings = [f"the budgets differ: {name} {old:g} and {new:g}" for name, (old, new) in other.items()]
    if before.lean != after.lean:
        warnings.append(f"the Leans differ: {before.lean} and {after.lean}")
    return warnings


def _unfinished_warnings(before: Run, after: Run) -> list[str]:
    warnings = []
    alone = set(before.by_problem) ^ set(after.by_problem)
    if alone:
        warnings.append(f"attempted by one of the runs alone, and left out: {len(alone)}")
    for run in (before, after):
        if run.owed:
            warnings.append(f"{run.name} is unfinished; attempts missing: {run.owed}")
    return warnings


def _infrastructure_warnings(run: Run) -> list[str]:
    failures = sum(record.status is Status.INFRASTRUCTURE for record in run.records)
    text = f"infrastructure failures of {run.name}, counted as not proved: {failures}"
    return [text] if failures else []
