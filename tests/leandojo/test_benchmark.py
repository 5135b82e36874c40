"""LeanDojo's benchmark: read, learned from, and cut out of a checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from eval.benchmarks import load_benchmark
from eval.benchmarks.base import Split
from eval.benchmarks.leandojo import LeanDojoBenchmark, _assignment
from prover.cli.main import main
from prover.errors import InputError
from prover.generators.base import Step
from prover.leandojo.benchmark import proofs_of, read_order, read_theorems
from prover.training.store import StepStore

FILE = """import Init
namespace Sums

/-- About := in comments. -/
theorem swap (a b : Nat) (h : a = b := by rfl) : (a + b) = b + a := by
  rw [Nat.add_comm]

lemma cases : ∀ n : Nat, n = n
  | 0 => rfl
  | _ + 1 => rfl

end Sums
"""


def traced(name: str, start: list[int], end: list[int], *steps: tuple[str, str]) -> dict[str, Any]:
    return {
        "url": "https://example.org/sums",
        "commit": "a" * 40,
        "file_path": "Sums/Basic.lean",
        "full_name": name,
        "start": start,
        "end": end,
        "traced_tactics": [
            {
                "tactic": tactic,
                "annotated_tactic": [tactic, [{"full_name": "Nat.add_comm"}]],
                "state_before": state,
            }
            for tactic, state in steps
        ],
    }


SWAP = traced("Sums.swap", [5, 1], [6, 20], ("rw [Nat.add_comm]", "a b : Nat\nh : a = b\n⊢ a + b = b + a"))
CASES = traced("Sums.cases", [8, 1], [10, 17])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A benchmark of two theorems, and a checkout of their repository."""
    benchmark, checkout = tmp_path / "benchmark", tmp_path / "checkout" / "Sums"
    for way in ("random", "novel_premises"):
        (benchmark / way).mkdir(parents=True)
        for split in ("train", "val", "test"):
            (benchmark / way / f"{split}.json").write_text(json.dumps([CASES, SWAP]))
    corpus = [{"path": path, "imports": [], "premises": []} for path in ("Other.lean", "Sums/Basic.lean")]
    (benchmark / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in corpus))
    checkout.mkdir(parents=True)
    (checkout / "Basic.lean").write_text(FILE)
    return tmp_path


def test_theorems_are_read_with_their_tactics_and_premises(folder: Path) -> None:
    cases, swap = read_theorems(folder / "benchmark", "valid", "novel_premises")
    assert (swap.name, swap.module, swap.start) == ("Sums.swap", "Sums.Basic", (5, 1))
    assert swap.steps[0].premises == ("Nat.add_comm",) and not cases.steps


def test_its_proofs_are_learned_from(folder: Path) -> None:
    benchmark = folder / "benchmark"
    (proof,) = proofs_of(read_theorems(benchmark, "train"), read_order(benchmark))
    goal = "a b : Nat\nh : a = b\n⊢ a + b = b + a"
    assert proof.steps == (Step((goal,), "rw [Nat.add_comm]"),)
    assert (proof.position, proof.source, proof.split) == (1, "leandojo", "train")
    assert proof.statement == "theorem Sums.swap (a : Nat) (b : Nat) (h : a = b) : a + b = b + a := by sorry"
    store = folder / "store"
    done = CliRunner().invoke(main, ["data", "add", str(store), str(benchmark)])
    assert done.exit_code == 0 and "1 proofs added" in done.output, done.output
    with StepStore(store) as opened:
        assert opened.proofs() == [proof]


def test_theorems_are_cut_out_of_a_checkout(folder: Path) -> None:
    benchmark = load_benchmark("leandojo", folder / "benchmark", folder / "checkout")
    (problem,) = benchmark.problems(Split.TEST)  # the other one has no `:=`
    assert problem.id == "Sums.swap" and problem.position == 1
    text = problem.file().text
    assert text.startswith("import Init\nnamespace Sums\n") and "rw [" not in text
    assert text.endswith("(h : a = b := by rfl) : (a + b) = b + a := by sorry\n")
    assert benchmark.version.startswith("random-")
    novel = LeanDojoBenchmark(folder / "benchmark" / "novel_premises", folder / "checkout")
    assert novel.version.startswith("novel_premises-")


def test_what_is_wrong_is_told(folder: Path) -> None:
    benchmark, checkout = folder / "benchmark", folder / "checkout"
    with pytest.raises(InputError, match="leandojo needs --statements"):
        load_benchmark("leandojo", benchmark, None)
    with pytest.raises(InputError, match=r"no corpus\.jsonl"):
        _ = LeanDojoBenchmark(checkout, checkout).version
    (checkout / "Sums" / "Basic.lean").write_text("\n" * 9 + FILE)
    with pytest.raises(InputError, match="does not stand at line"):
        LeanDojoBenchmark(benchmark, checkout).problems(Split.TEST)
    (checkout / "Sums" / "Basic.lean").unlink()
    with pytest.raises(InputError, match=r"check out https://example\.org/sums at aaaa"):
        LeanDojoBenchmark(benchmark, checkout).problems(Split.TEST)
    (benchmark / "random" / "train.json").write_text('[{"url": 1}]')
    with pytest.raises(InputError, match="is no split of LeanDojo's benchmark"):
        read_theorems(benchmark, "train")
    (benchmark / "random" / "train.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        read_theorems(benchmark, "train")
    (benchmark / "random" / "train.json").unlink()
    with pytest.raises(InputError, match="name the benchmark's folder"):
        read_theorems(benchmark, "train")
    (benchmark / "corpus.jsonl").write_text("[]\n")
    with pytest.raises(InputError, match="is damaged"):
        read_order(benchmark)


@given(st.text(alphabet='(){}:=-/ \n"ab⟨⟩', max_size=40))
def test_any_text_is_looked_through(text: str) -> None:
    found = _assignment(text)
    assert found is None or text[found : found + 2] == ":="


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("theorem a (h : p := q) : r := s", 27),
        ('theorem a : f ":=" := s', 19),
        ("theorem a -- :=\n : r /- := /- -/ := -/ := s", 39),
        ("theorem a : r\n  | 0 => rfl", None),
    ],
)
def test_the_sign_is_found_outside_brackets_strings_and_comments(text: str, place: int | None) -> None:
    assert _assignment(text) == place
