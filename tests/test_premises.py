"""The library as premises: what is generated, who can see what, and the cached file."""

from __future__ import annotations

from pathlib import Path
from typing import Self, cast

import pytest

from prover.errors import InputError
from prover.lean.messages import Declaration, Module
from prover.lean.pool import LeanPool
from prover.lean.toolchain import LeanCommand
from prover.premises import (
    PremiseCorpus,
    by_module,
    corpus_path,
    is_generated,
    library_corpus_beside,
    read_corpus,
)

MODULES = (
    Module("A", ()),
    Module("B", ("A",)),
    Module("C", ("A",)),
    Module("D", ("B", "C")),
)


def premise(name: str, module: str) -> Declaration:
    return Declaration(name, "theorem", module, "∀ n, n = n", ("Eq", "Nat"))


CORPUS = PremiseCorpus("4.0", MODULES, (premise("a", "A"), premise("b.x", "B"), premise("d", "D")))


@pytest.mark.parametrize(
    "name",
    [
        "Nat.rec",
        "List.casesOn",
        "Prod.mk.injEq",
        "Nat.succ.inj",
        "List.map.eq_1",
        "foo.match_1",
        "foo.match_1.splitter",
        "foo._proof_3",
        "_private.Init.Core.0.bar",
        "foo.eq_def",
        "foo.induct",
        "foo.fun_cases_unfolding",
        "A.noConfusion",
    ],
)
def test_generated(name: str) -> None:
    assert is_generated(name)


@pytest.mark.parametrize(
    "name",
    ["Or.elim", "Nat.add_comm", "List.map_inj", "rec_self", "Nat.le.intro", "eq_1_of", "Nat.strongRec"],
)
def test_written(name: str) -> None:
    assert not is_generated(name)


def test_a_module_sees_what_it_imports_and_not_itself() -> None:
    assert CORPUS.accessible("A") == set()
    assert CORPUS.accessible("B") == {"A"}
    assert CORPUS.accessible("D") == {"A", "B", "C"}
    with pytest.raises(KeyError):
        CORPUS.accessible("E")


def test_by_module_keeps_empty_ones() -> None:
    assert [(m.name, [d.name for d in ds]) for m, ds in by_module(CORPUS)] == [
        ("A", ["a"]),
        ("B", ["b.x"]),
        ("C", []),
        ("D", ["d"]),
    ]


def test_saved_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "corpus.gz"
    CORPUS.save(path)
    assert PremiseCorpus.load(path) == CORPUS
    assert list(tmp_path.iterdir()) == [path], "no scratch file stays"


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"no gzip"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "corpus.gz"
    CORPUS.save(path)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(InputError, match="delete it"):
        PremiseCorpus.load(path)


async def test_beside_a_search_the_cache_is_read_and_else_a_lean_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a search goes on, all processes of its pool may be in use: to wait for one would be for ever."""
    monkeypatch.setenv("LEAN_PROVER_CACHE", str(tmp_path))
    opened: list[tuple[object, int, int]] = []

    class Pool:
        def __init__(self, command: object, size: int, spares: int) -> None:
            opened.append((command, size, spares))

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

    async def listed(pool: object, report: object) -> PremiseCorpus:
        assert isinstance(pool, Pool)
        return CORPUS

    monkeypatch.setattr("prover.premises.LeanPool", Pool)
    monkeypatch.setattr("prover.premises.library_corpus", listed)
    command = cast(LeanCommand, "the command")
    assert await library_corpus_beside(command, "4.0", lambda *_: None) == CORPUS
    assert opened == [("the command", 1, 0)]
    corpus_path("4.0").parent.mkdir()
    CORPUS.save(corpus_path("4.0"))
    assert await library_corpus_beside(command, "4.0", lambda *_: None) == CORPUS
    assert len(opened) == 1


@pytest.mark.lean
@pytest.mark.asyncio(loop_scope="session")
async def test_read_from_lean(lean_pool: LeanPool) -> None:
    """What Lean says it imports is what the corpus says is accessible."""
    process = await lean_pool.acquire()
    told: list[int] = []
    try:
        corpus = await read_corpus(process, "4.0", ("Init.Core",), lambda _, done, __: told.append(done))
    finally:
        await lean_pool.release(process)
    declared = {premise.name: premise for premise in corpus.premises}
    assert declared["absurd"].kind == "definition"
    assert declared["Eq.symm"].kind == "theorem" and declared["Eq.symm"].constants == ("Eq",)
    assert "Eq.rec" not in declared and "Nat.rec" not in declared
    assert {m.name for m in corpus.modules} == corpus.accessible("Init.Core") | {"Init.Core"}
    assert next(m.name for m in corpus.modules) == "Init.Prelude"
    assert told and told[-1] == 0
