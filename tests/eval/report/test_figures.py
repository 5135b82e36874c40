"""The figures of runs whose figures can be counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from eval.cli.main import main
from eval.records import Record, Status
from eval.report.figures import MOST_GROUPS, Figures, figures, groups_of
from eval.report.plots import cactus, log_ticks, nice_step
from eval.runs import load_runs
from tests.eval.report.synthetic import attempt, write_run

P, N, X, I = Status.PROVED, Status.NOT_PROVED, Status.NOT_EXPRESSIBLE, Status.INFRASTRUCTURE  # noqa: E741
ALGEBRA = ("category:algebra", "difficulty:level 2")
NUMBERS = ("category:number theory", "difficulty:level 10")

TEN = [
    attempt("a0", P, tags=ALGEBRA, search_seconds=1.0, expansions=1),
    attempt("a1", P, tags=ALGEBRA, search_seconds=0.5, expansions=4),
    attempt("a2", N, tags=ALGEBRA),
    attempt("a3", I, tags=ALGEBRA),
    attempt("n0", P, tags=(*NUMBERS, "known:wrong"), search_seconds=20.0, expansions=30),
    attempt("n1", Status.REJECTED, tags=NUMBERS),
    attempt("n2", N, tags=(*NUMBERS, "known:trivial")),
    attempt("n3", N, tags=NUMBERS, ended="budget_seconds"),
    attempt("n4", X, tags=NUMBERS, ended=""),
    attempt("n5", X, tags=NUMBERS, ended=""),
]


def figures_of(folder: Path, records: list[Record]) -> Figures:
    return figures(load_runs([write_run(folder, records)])[0])


def test_who_is_in_the_denominator(tmp_path: Path) -> None:
    found = figures_of(tmp_path / "run", TEN)
    assert (found.expressible.proved, found.expressible.total) == (3, 8), "infrastructure failures count"
    assert (found.all.proved, found.all.total) == (3, 10)
    assert found.sound is not None and (found.sound.proved, found.sound.total) == (2, 6)
    known = [(rate.label, rate.proved, rate.total) for rate in found.known]
    assert known == [("known trivial", 0, 1), ("known wrong", 1, 1)]
    assert found.statuses == {P: 3, N: 3, Status.REJECTED: 1, X: 2, I: 1}
    assert found.endings == {"exhausted": 3, "proved": 3, "budget_seconds": 1}
    assert found.error_kinds == {"timeout": 1}


def test_curves_count_what_is_solved_within_a_cost(tmp_path: Path) -> None:
    found = figures_of(tmp_path / "run", TEN)
    assert found.by_seconds == ((0.5, 1.0), (1.0, 2.0), (20.0, 3.0))
    assert found.by_expansions == ((1, 1.0), (4, 2.0), (30, 3.0))


def test_time_adds_up_to_the_clock(tmp_path: Path) -> None:
    time = figures_of(tmp_path / "run", TEN).time
    parts = (time.lean, time.model, time.open, time.check, time.rest)
    assert parts == pytest.approx((30, 2.5, 1, 5, 1.5))
    assert time.wall == pytest.approx(40)


def test_groups_by_size_and_levels_by_number(tmp_path: Path) -> None:
    [run] = load_runs([write_run(tmp_path / "run", TEN)])
    assert {k: [(r.proved, r.total) for r in v] for k, v in groups_of([run], "category").items()} == {
        "algebra": [(2, 4)],
        "number theory": [(1, 4)],
    }
    assert list(groups_of([run], "difficulty")) == ["level 2", "level 10"]
    assert groups_of([run], "area") == {}


def test_small_groups_are_shown_together(tmp_path: Path) -> None:
    records = [attempt(f"t{i}", P, tags=(f"area:{'x' * (i // 2)}",)) for i in range(2, 2 * MOST_GROUPS + 9)]
    groups = groups_of(load_runs([write_run(tmp_path / "run", records)]), "area")
    assert len(groups) == MOST_GROUPS
    assert sum(rate.total for [rate] in groups.values()) == len(records)


def test_pass_at_k_over_seeds(tmp_path: Path) -> None:
    table = {"t0": "PPPP", "t1": "PNNN", "t2": "NNNN", "t3": "NPNN", "x": "XXXX"}
    kinds = {"P": P, "N": N, "X": X}
    records = [attempt(t, kinds[c], seed=s) for t, row in table.items() for s, c in enumerate(row)]
    found = figures_of(tmp_path / "run", records)
    assert found.expressible.proved == pytest.approx(1.5) and found.expressible.total == 4
    assert [p.k for p in found.passes] == [1, 2, 4]
    one, two, four = (p.value for p in found.passes)
    assert (one.mean, one.sigma) == (pytest.approx(1.5 / 4), pytest.approx(0.14433757))
    # Seeds 0 and 1 prove three of four, seeds 2 and 3 one; each of t1 and t3 is in half of all pairs.
    assert (two.mean, two.sigma) == (pytest.approx(0.5), pytest.approx(0.35355339))
    assert (four.mean, four.sigma) == (0.75, None)


def test_a_problem_that_a_seed_has_not_come_to_is_not_in_pass_at_k(tmp_path: Path) -> None:
    records = [attempt("t0", P, seed=0), attempt("t0", N, seed=1), attempt("t1", P, seed=0)]
    found = figures_of(tmp_path / "run", records)
    assert [(p.k, p.value.mean) for p in found.passes] == [(1, 0.5), (2, 1.0)]


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [attempt("t0", P), attempt("t1", N)], seeds=(0, 1, 2))
    text = CliRunner().invoke(main, ["report", str(folder), "--text"]).output
    assert "Note: run is unfinished; attempts missing: 4" in text


def test_the_report_as_text(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["report", str(write_run(tmp_path / "run", TEN)), "--text"])
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert "run expressible 3 of 8 37.5 % 13.7–69.4 %" in lines
    assert "run all 3 of 10 30.0 % 10.8–60.3 %" in lines
    assert "run without known ones 2 of 6 33.3 % 9.7–70.0 %" in lines
    assert "algebra run 2 of 4 50.0 % 15.0–85.0 %" in lines
    assert "run 40.0 s 75.0 % 6.2 % 2.5 % 12.5 % 3.8 %" in lines
    assert "run infrastructure failures timeout 1" in lines
    assert "Note: infrastructure failures of run, counted as not proved: 1" in lines
    assert "\x1b" not in result.output, "no colours where there is no terminal"


def test_names_cannot_play_tricks_on_a_terminal(tmp_path: Path) -> None:
    records = [attempt(f"t{i}", P, tags=(f"category:[red]\x1b[2J{i}",)) for i in range(2)]
    output = CliRunner().invoke(main, ["report", str(write_run(tmp_path / "run", records)), "--text"]).output
    assert "\x1b" not in output and "[red]�[2J0" in output


def test_an_axis_has_few_round_ticks() -> None:
    assert log_ticks(0.1, 100) == pytest.approx([0.1, 0.3, 1, 3, 10, 30, 100])
    assert log_ticks(1, 20) == [1, 2, 5, 10, 20]
    assert [nice_step(top) for top in (0.5, 1, 6, 7, 244, 500)] == [1, 1, 1, 2, 50, 100]


def test_a_curve_is_drawn_as_steps_within_the_axes() -> None:
    plot = cactus("", "seconds", [((1.0, 1.0), (10.0, 2.0)), ()], budget=100.0)
    assert plot.paths == ("M44.0 280.0H44.0V146.0H295.0V12.0H546", "")
    assert [tick.text for tick in plot.x_ticks] == ["1", "2", "5", "10", "20", "50", "100"]
