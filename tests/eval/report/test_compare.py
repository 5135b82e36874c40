"""Two runs held against each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from eval.cli.main import main
from eval.compare import compare
from eval.records import Status
from eval.runs import load_runs
from prover.errors import InputError
from tests.eval.report.synthetic import attempt, write_run

P, N, X, I = Status.PROVED, Status.NOT_PROVED, Status.NOT_EXPRESSIBLE, Status.INFRASTRUCTURE  # noqa: E741


def run(folder: Path, statuses: str, **plan: object) -> Path:
    """A run with a letter for each problem: proved, not proved, not expressible, infrastructure failure."""
    kinds = {"P": P, "N": N, "X": X, "I": I}
    return write_run(folder, [attempt(f"t{i}", kinds[c], position=i) for i, c in enumerate(statuses)], **plan)


def test_gained_lost_both_neither(tmp_path: Path) -> None:
    found = compare(*load_runs([run(tmp_path / "a", "PPNNXI"), run(tmp_path / "b", "PNPNXP")]))
    assert (found.both, found.lost, found.gained) == (("t0",), ("t1",), ("t2", "t5"))
    assert (found.neither, found.not_expressible, found.total) == (("t3",), ("t4",), 5)
    assert found.difference == pytest.approx(1 / 5)
    assert found.p_value == 1.0
    assert found.warnings == ("infrastructure failures of a, counted as not proved: 1",)


def test_a_theorem_counts_when_one_seed_proves_it(tmp_path: Path) -> None:
    old = write_run(tmp_path / "a", [attempt("t", N, seed=0), attempt("t", N, seed=1)])
    new = write_run(tmp_path / "b", [attempt("t", N, seed=0), attempt("t", P, seed=1)])
    assert compare(*load_runs([old, new])).gained == ("t",)


@pytest.mark.parametrize(
    "other",
    [{"benchmark": "library"}, {"benchmark_version": "2"}, {"split": "test"}, {"problems_hash": "other"}],
)
def test_other_problems_are_refused(tmp_path: Path, other: dict[str, str]) -> None:
    runs = load_runs([run(tmp_path / "a", "P"), run(tmp_path / "b", "P", **other)])
    with pytest.raises(InputError, match="cannot be compared"):
        compare(*runs)


def test_other_budgets_and_leans_are_told(tmp_path: Path) -> None:
    plan = {"expansions": 7, "seconds": 2.5, "seeds": (0, 1), "lean": "4.29.0"}
    found = compare(*load_runs([run(tmp_path / "a", "P"), run(tmp_path / "b", "P", **plan)]))
    assert found.warnings == (
        "the budgets differ: expansions 100 and 7",
        "the budgets differ: seconds 60 and 2.5",
        "the budgets differ: number of seeds 1 and 2",
        "the Leans differ: 4.28.0 and 4.29.0",
        "b is unfinished; attempts missing: 1",
    )


def test_what_one_run_alone_attempted_is_left_out_and_told(tmp_path: Path) -> None:
    found = compare(*load_runs([run(tmp_path / "a", "PP"), run(tmp_path / "b", "P")]))
    assert (found.total, found.both) == (1, ("t0",))
    assert found.warnings == ("attempted by one of the runs alone, and left out: 1",)


def test_the_command(tmp_path: Path) -> None:
    folders = [str(run(tmp_path / "a", "PNNNNNNNNX")), str(run(tmp_path / "b", "NPPPPPPPPX"))]
    text = CliRunner().invoke(main, ["compare", *folders]).output
    assert "Gained: 8\n  t1\n" in text and "Lost: 1\n  t0\n" in text
    assert "Not expressible here, and left out: 1" in text
    assert "+77.8 points of per cent" in text and "p = 0.039" in text
    found = json.loads(CliRunner().invoke(main, ["compare", *folders, "--json"]).output)
    assert (found["lost"], found["total"], found["p_value"]) == (["t0"], 9, 20 / 512)


def test_bad_input_ends_with_code_2_and_a_message(tmp_path: Path) -> None:
    one = str(run(tmp_path / "a", "P"))
    (tmp_path / "empty").mkdir()
    for other, text in ((one, "named twice"), (str(tmp_path / "empty"), "not the folder of a run")):
        result = CliRunner().invoke(main, ["compare", one, other])
        assert (result.exit_code, text in result.stderr) == (2, True), result.stderr


def test_names_tell_runs_apart(tmp_path: Path) -> None:
    folders = [run(tmp_path / "x" / "run", "P"), run(tmp_path / "y" / "run", "P")]
    assert [r.name for r in load_runs(folders)] == ["x/run", "y/run"]
