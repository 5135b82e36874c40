"""`prover data`: what is collected can be looked at, exported, and added to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from eval.cli import data_job
from eval.cli.data import main
from eval.expert_iteration.rounds import Round
from eval.records import Step
from eval.store import RunStore
from prover.decoder.options import DecoderOptions
from prover.search.best_first import Budget
from prover.search.tree import SearchTree
from prover.training.examples import read_corpus
from prover.training.store import StepStore
from tests.eval import scripted
from tests.training.test_store import ATTEMPT, FAILURE, LEAN, PROOF


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store.sqlite"
    with StepStore(path, LEAN) as opened:
        opened.add(ATTEMPT, [PROOF], [FAILURE])
    return path


def test_status(store: Path) -> None:
    said = run("status", store)
    assert said.exit_code == 0
    assert "theorems proved     1" in said.stdout and "steps               2" in said.stdout


def test_export_with_and_without_failures(store: Path, tmp_path: Path) -> None:
    said = run("export", store, "--out", tmp_path / "corpus.xz")
    assert said.exit_code == 0 and "1 proofs, 1 failed tactics" in said.stdout
    assert read_corpus(tmp_path / "corpus.xz").failures == (FAILURE,)
    run("export", store, "--out", tmp_path / "corpus.xz", "--no-failures")
    assert read_corpus(tmp_path / "corpus.xz").failures == ()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("status", "nowhere.sqlite"), "there is no store nowhere.sqlite"),
        (("add", "store.sqlite", "nowhere"), "not the folder of a run"),
        (("collect", "store.sqlite", "--generator", "oracle"), "there is no generator 'oracle'"),
    ],
)
def test_what_is_at_fault_is_told(
    command: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = run(*command)
    assert answer.exit_code == 2 and answer.stderr.startswith("prover: ") and said in answer.stderr


def make_run(folder: Path, **plan: Any) -> None:
    changed = replace(scripted.PLAN, benchmark="library", lean=LEAN, generator="portfolio", **plan)
    proved = replace(scripted.record(1), steps=(Step(("⊢ p",), "omega"),), split="train")
    with RunStore(folder, changed) as opened:
        opened.write(proved, SearchTree(("⊢ p",)).to_json())


def test_a_run_on_train_is_added_once(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeLibrary:
        def problems(self, split: object) -> list[Any]:
            return [replace(scripted.problem(1), split=data_job.Split.TRAIN)]

    monkeypatch.setattr(data_job, "Library", FakeLibrary)
    make_run(tmp_path / "train", split="train")
    assert "1 attempts added" in run("add", store, tmp_path / "train").stdout
    assert "0 attempts added" in run("add", store, tmp_path / "train").stdout
    with StepStore(store) as opened:
        assert {proof.theorem for proof in opened.proofs()} == {"T.one", "t1"}


def test_a_run_on_another_split_is_refused(store: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "valid", split="valid")
    answer = run("add", store, tmp_path / "valid")
    assert answer.exit_code == 2 and "a run of library valid" in answer.stderr


def test_the_label_of_a_generator_names_its_decoder() -> None:
    how = Round(10, "portfolio+decoder", Budget(), 1, decoder=DecoderOptions("folder", "goal"))
    assert how.label == "portfolio+decoder (folder, goal)"
    assert replace(how, generator="portfolio").label == "portfolio"
