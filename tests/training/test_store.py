"""The store of proofs and the corpus made from it."""

from __future__ import annotations

import lzma
import multiprocessing
import os
import signal
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prover.errors import InputError
from prover.generators.base import Step
from prover.training.examples import Attempt, Corpus, Failure, Proof, read_corpus, write_corpus
from prover.training.store import StepStore

LEAN = "4.28.0"
HEAD = b'{"corpus": 1, "lean": "", "proofs": 1, "failures": 0, "attempts": 0}\n'
STEPS = (Step(("n : Nat\n⊢ n = n ∧ True",), "constructor"), Step(("⊢ n = n", "⊢ True"), "rfl"))
PROOF = Proof("T.one", "M", "theorem T.one : …", 3, STEPS, "library", "train", "portfolio", 7)
FAILURE = Failure("T.one", ("⊢ n = n ∧ True",), "omega", "omega could not prove the goal")
ATTEMPT = Attempt("T.one", "M", "library", "portfolio", "abc", 0, True, 64, 7, 2, 0.5, 0.0)

texts = st.text(st.characters(exclude_categories=()), max_size=20)
steps = st.builds(Step, st.lists(texts, min_size=1, max_size=3).map(tuple), texts)
proofs = st.builds(
    Proof,
    theorem=st.sampled_from(["a", "b", "c"]),
    module=st.just("M"),
    statement=st.text(max_size=20),
    position=st.integers(0, 5),
    steps=st.lists(steps, min_size=1, max_size=3).map(tuple),
    source=st.sampled_from(["library", "synthetic"]),
    split=st.just("train"),
    generator=st.just("portfolio"),
    tactics=st.integers(0, 100),
)


def test_what_is_added_is_there_and_counts_once(tmp_path: Path) -> None:
    with StepStore(tmp_path / "store.sqlite", LEAN) as store:
        for _ in range(2):
            store.add(ATTEMPT, [PROOF], [FAILURE])
    with StepStore(tmp_path / "store.sqlite") as store:
        assert store.lean == LEAN
        assert store.proofs() == [PROOF] and store.failures() == [FAILURE]
        assert store.counts() == {
            "attempts": 2,
            "theorems attempted": 1,
            "theorems proved": 1,
            "proofs": 1,
            "steps": 2,
            "failed tactics": 1,
        }


def test_standings_take_the_best_of_each_attempt(tmp_path: Path) -> None:
    with StepStore(tmp_path / "store.sqlite", LEAN) as store:
        store.add(replace(ATTEMPT, proved=False, tactics=64, closest=0.5), [], [])
        store.add(replace(ATTEMPT, budget=100, tactics=90), [PROOF], [])
        store.add(replace(ATTEMPT, theorem="T.two", proved=False, closest=1.0), [], [])
        found = store.standings()
    one, two = found["T.one"], found["T.two"]
    assert (one.proved, one.attempts, one.tactics, one.budget, one.closest) == (True, 2, 90, 100, 0.0)
    assert (two.proved, two.attempts, two.tactics, two.closest) == (False, 1, 0, 1.0)


@given(st.lists(proofs, max_size=6))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives_store_and_corpus(tmp_path: Path, found: list[Proof]) -> None:
    path = tmp_path / "any.sqlite"
    path.unlink(missing_ok=True)
    with StepStore(path, LEAN) as store:
        for proof in found:
            store.add(ATTEMPT, [proof], [])
        corpus = store.corpus()
    assert {(p.theorem, p.script) for p in corpus.proofs} == {(p.theorem, p.script) for p in found}
    write_corpus(corpus, tmp_path / "corpus.jsonl.xz")
    read = read_corpus(tmp_path / "corpus.jsonl.xz")
    assert set(read.proofs) == set(corpus.proofs) and read.lean == LEAN


def test_equal_stores_make_equal_files(tmp_path: Path) -> None:
    other = replace(PROOF, theorem="T.two")
    for name, order in (("a", (PROOF, other)), ("b", (other, PROOF))):
        write_corpus(Corpus(order, (FAILURE,), LEAN), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_corpus_makes_the_same_store_again(tmp_path: Path) -> None:
    failed = replace(ATTEMPT, theorem="T.two", proved=False, closest=0.5)
    with StepStore(tmp_path / "one", LEAN) as store:
        store.add(ATTEMPT, [PROOF], [FAILURE])
        store.add(failed, [], [])
        write_corpus(store.corpus(), tmp_path / "corpus")
    with StepStore(tmp_path / "two", LEAN) as store:
        for _ in range(2):
            store.add_corpus(read_corpus(tmp_path / "corpus"))
        assert store.corpus() == Corpus((PROOF,), (FAILURE,), LEAN, (ATTEMPT, failed))


# --- faults -------------------------------------------------------------------------------------------


def test_a_store_of_another_lean_is_refused(tmp_path: Path) -> None:
    with StepStore(tmp_path / "store.sqlite", LEAN):
        pass
    with pytest.raises(InputError, match=r"Lean 4\.28\.0, and this is 4\.99"):
        StepStore(tmp_path / "store.sqlite", "4.99").__enter__()


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no store"):
        StepStore(tmp_path / "missing.sqlite").__enter__()
    (tmp_path / "text").write_text("no database, whatever it is called " * 50)
    with pytest.raises(InputError, match="no store of proofs"):
        StepStore(tmp_path / "text", LEAN).__enter__()
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE meta (key, value)")
    other.close()
    with pytest.raises(InputError, match="another version"):
        StepStore(tmp_path / "other", LEAN).__enter__()


def _add_forever(path: Path) -> None:
    with StepStore(path, LEAN) as store:
        for number in range(1_000_000):
            store.add(
                replace(ATTEMPT, theorem=f"T{number}"), [replace(PROOF, theorem=f"T{number}")], [FAILURE]
            )


def test_who_is_killed_loses_nothing_that_was_added(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    process = multiprocessing.get_context("spawn").Process(target=_add_forever, args=(path,))
    process.start()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not _holds(path, 20):
        time.sleep(0.05)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with StepStore(path, LEAN) as store:
        proofs, standings = store.proofs(), store.standings()
        assert len(proofs) == len(standings) >= 20
        assert {p.theorem for p in proofs} == {f"T{n}" for n in range(len(proofs))}
        store.add(replace(ATTEMPT, theorem="later"), [replace(PROOF, theorem="later")], [])


def _holds(path: Path, count: int) -> bool:
    try:
        with StepStore(path) as store:
            return len(store.proofs()) >= count
    except InputError:
        return False


@pytest.mark.parametrize(
    "text",
    [
        b"no xz",
        lzma.compress(b"{}\n"),
        lzma.compress(HEAD),
        lzma.compress(HEAD + b'{"proof": {}}\n'),
        lzma.compress(b'{"corpus": 1}' * 1000)[:-20],
    ],
)
def test_a_damaged_corpus_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "corpus").write_bytes(text)
    with pytest.raises(InputError, match="export it again"):
        read_corpus(tmp_path / "corpus")


def test_a_missing_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prover data export"):
        read_corpus(tmp_path / "corpus")
