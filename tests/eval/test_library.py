"""The library benchmark: how it is drawn, and that the files in the repository are in order."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.benchmarks.base import Split
from eval.benchmarks.library import Library
from eval.benchmarks.library.extract import (
    KEPT,
    KEPT_OF_A_MODULE,
    LibraryTheorem,
    candidates,
    differing_files,
    sample,
    split_of,
    write_files,
)
from prover.errors import InputError
from prover.lean.messages import Declaration, Module, TheoremRequest
from prover.premises import PremiseCorpus, corpus_path


def theorem(name: str, module: str, *constants: str, kind: str = "theorem") -> Declaration:
    return Declaration(name, kind, module, "True", constants)


CORPUS = PremiseCorpus(
    "4.0",
    (Module("A", ()), Module("B", ("A",)), Module("C", ("A",))),
    (
        theorem("T", "A", kind="inductive"),
        theorem("A.own", "A", "T"),
        theorem("B.f", "B", kind="definition"),
        theorem("B.good", "B", "T"),
        theorem("B.generated_constant", "B", "T.rec"),
        theorem("B.own", "B", "T", "B.f"),
        theorem("B.unknown", "B", "nowhere"),
        theorem("B.instLawful", "B", "T"),
        theorem("C.unseen", "C", "B.f"),
        theorem("C.good", "C", "T"),
    ),
)


def test_candidates_are_stated_with_imports_alone() -> None:
    found = candidates(CORPUS)
    assert [t.name for t in found] == ["B.good", "B.generated_constant", "C.good"]
    assert [t.position for t in found] == [1, 1, 2]
    assert found[0].statement == "theorem B.good : True"


@given(st.lists(st.tuples(st.text("ab.", min_size=1), st.sampled_from("MNO")), unique=True), st.integers())
def test_a_sample_does_not_depend_on_the_order(names: list[tuple[str, str]], seed: int) -> None:
    theorems = [LibraryTheorem(name, module, "", ord(module)) for name, module in names]
    drawn = sample(theorems, seed)
    assert drawn == sample(theorems[::-1], seed)
    assert set(drawn) <= set(theorems)


def test_a_sample_is_no_larger_than_it_should_be() -> None:
    theorems = [LibraryTheorem(f"{m}.t{i}", f"M{m}", "", m) for m in range(30) for i in range(60)]
    drawn = sample(theorems)
    assert len(drawn) == KEPT
    assert max(Counter(t.module for t in drawn).values()) <= KEPT_OF_A_MODULE


def test_the_files_fit_their_rules() -> None:
    library = Library()
    problems = {split: library.problems(split) for split in (Split.VALID, Split.TEST)}
    for split, listed in problems.items():
        assert len({p.id for p in listed}) == len(listed) == KEPT
        assert [p.position for p in listed] == sorted(p.position for p in listed)
        assert {split_of(p.module or "") for p in listed} == {split}
        assert max(Counter(p.module for p in listed).values()) <= KEPT_OF_A_MODULE
    modules = [{p.module for p in listed} for listed in problems.values()]
    assert not modules[0] & modules[1]
    first = problems[Split.VALID][0]
    assert first.request() == TheoremRequest(first.module or "", first.id)
    assert first.tag("area")


def test_made_anew_and_compared(tmp_path: Path) -> None:
    assert len(differing_files(CORPUS, tmp_path)) == 3
    write_files(CORPUS, tmp_path)
    assert differing_files(CORPUS, tmp_path) == []
    assert json.loads((tmp_path / "benchmark.json").read_text())["stated_with_imports_alone"] == 3
    assert {p.name for p in tmp_path.iterdir()} == {"benchmark.json", "valid.jsonl", "test.jsonl"}


def test_train_needs_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAN_PROVER_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="prover eval extract"):
        Library().problems(Split.TRAIN)
    path = corpus_path(Library().about["lean"])
    path.parent.mkdir()
    CORPUS.save(path)
    names = {p.id for p in Library().problems(Split.TRAIN)}
    assert names == {t.name for t in candidates(CORPUS) if split_of(t.module) is Split.TRAIN}
