"""`prover memory` from its command line to files, output and exit code, without Lean."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from prover.cli.main import main
from prover.premises import PremiseCorpus
from prover.recall import declared, library
from prover.settings import settings
from tests.decoder.tiny import tiny_checkpoint, tiny_memorizing
from tests.recall.scripted_lean import ScriptedPool
from tests.recall.toy import CORPUS, PREMISES, with_premises

torch.set_num_threads(1)

Memory = Callable[..., Result]
NAMES = {"Nat.add_comm", "symm", "trans", "Nat"}


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAN_PROVER_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_memorizing(tmp_path_factory.mktemp("model"))


@pytest.fixture
def memory(model: Path) -> Memory:
    def run(command: str, *arguments: str | Path, model: Path | None = model) -> Result:
        chosen = ["--model", str(model)] if model else []
        return CliRunner().invoke(main, ["memory", command, *map(str, arguments), *chosen])

    return run


@pytest.fixture
def build(memory: Memory, tmp_path: Path) -> Callable[..., Result]:
    def run(corpus: PremiseCorpus = CORPUS, **options: Any) -> Result:
        corpus.save(tmp_path / "premises.gz")
        return memory("build", "--premises", tmp_path / "premises.gz", "--device", "cpu", **options)

    return run


def the_folder() -> Path:
    (found,) = library.memory_folders(settings().cache)
    return found


# --- build ------------------------------------------------------------------------------------------


def test_the_library_is_built_and_kept_up_to_date(build: Callable[..., Result]) -> None:
    first = build()
    assert first.exit_code == 0
    assert first.stdout == f"{the_folder()}: 4 modules read, 0 were there, 0 dropped\n"
    # Where nobody watches, each stage is told once.
    assert first.stderr.splitlines().count("Reading the library into memory") == 1
    assert "0 modules read, 4 were there, 0 dropped" in build().stdout
    assert "1 modules read, 3 were there, 1 dropped" in build(with_premises(*PREMISES[:4])).stdout


def test_without_premises_lean_lists_the_library(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    async def listed(pool: ScriptedPool, report: Any) -> PremiseCorpus:
        assert isinstance(pool, ScriptedPool)
        return CORPUS

    with_scripted_lean(monkeypatch)
    monkeypatch.setattr("prover.premises.library_corpus", listed)
    found = memory("build", "--device", "cpu", "--lean", "embedded")
    assert "4 modules read" in found.stdout
    assert "Starting a scripted Lean (embedded)" in found.stderr


def with_scripted_lean(monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(path: Path | None, lean: str | None, report: Any, sandbox: bool) -> Any:
        assert sandbox
        return SimpleNamespace(description=f"a scripted Lean ({lean})", warnings=("it is only scripted",))

    def pool(command: Any, size: int, spares: int, mounts: Any = ()) -> Any:
        assert (size, spares) == (1, 0)
        return ScriptedPool()

    for place in (declared, "prover.lean.pool"):
        name = place if isinstance(place, str) else place.__name__
        monkeypatch.setattr(f"{name}.LeanPool", pool)
    monkeypatch.setattr(declared, "choose_lean", choose)
    monkeypatch.setattr("prover.lean.toolchain.choose_lean", choose)


def test_files_are_read_beside_the_library(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_scripted_lean(monkeypatch)
    (tmp_path / "My.lean").write_text("theorem mine : p\n")
    (tmp_path / "Bad.lean").write_text("error\n")
    good = memory("build", tmp_path / "My.lean", "--device", "cpu")
    assert good.exit_code == 0 and "1 modules read, 0 were there, 0 dropped" in good.stdout
    assert the_folder().name.startswith("4.9.0-commit-12ab-")
    assert good.stderr.count("prover: warning: it is only scripted") == 1
    both = memory("build", tmp_path, "--device", "cpu")
    assert both.exit_code == 2
    assert "0 modules read, 1 were there" in both.stdout
    assert "prover: " in both.stderr and "Bad.lean does not compile" in both.stderr
    info = json.loads(memory("info", "--json").stdout)
    assert info[0]["own"]["kinds"] == {"declaration": 1}
    assert "library" not in info[0]
    # The files alone are no library.
    asked = memory("query", "p", "--device", "cpu")
    assert asked.exit_code == 2 and "`prover memory build`" in asked.stderr


def test_files_and_premises_do_not_go_together(memory: Memory, tmp_path: Path) -> None:
    CORPUS.save(tmp_path / "premises.gz")
    found = memory("build", tmp_path, "--premises", tmp_path / "premises.gz")
    assert found.exit_code == 2 and "leave it out with files" in found.stderr


def test_a_model_without_a_memory_layer_is_told(
    build: Callable[..., Result], memory: Memory, tmp_path: Path
) -> None:
    (tmp_path / "plain").mkdir()
    plain = tiny_checkpoint(tmp_path / "plain")
    for found in (build(model=plain), memory("query", "p", model=plain)):
        assert found.exit_code == 2
        assert "plain has no memory layer" in found.stderr
    assert not settings().cache.exists()


def test_an_interrupted_build_says_how_to_go_on(
    build: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(library, "build", interrupted)
        found = build()
    assert found.exit_code == 130 and "`prover memory build` goes on" in found.stderr
    assert build().exit_code == 0


# --- info and verify --------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("info",), ("query", "p"), ("verify",)])
def test_without_a_memory_the_way_to_one_is_told(memory: Memory, arguments: tuple[str, ...]) -> None:
    found = memory(*arguments, **({"model": None} if arguments[0] == "verify" else {}))
    assert found.exit_code == 2
    assert "`prover memory build`" in found.stderr


def test_info_tells_what_there_is(build: Callable[..., Result], memory: Memory, tmp_path: Path) -> None:
    build()
    (found,) = json.loads(memory("info", "--json").stdout)
    assert (found["lean"], found["complete"], found["belongs"]) == (CORPUS.lean, True, True)
    held = found["library"]
    assert (held["passages"], held["modules"]) == (4, 3)
    assert held["kinds"] == {"declaration": 4}
    assert held["bytes"] > 2 * 2 * held["entries"] * 2 * 8
    assert (found["kind"]["layer"], found["kind"]["heads"], found["kind"]["width"]) == (1, 2, 8)
    text = memory("info").stdout
    assert "which is that of" in text and "4 passages in 3 modules" in text
    assert "broken off" not in text
    other = tiny_memorizing_in(tmp_path / "other")
    assert "which is NOT that of other" in memory("info", model=other).stdout
    # The shipped checkpoint is another one, too.
    assert "which is NOT that of" in memory("info", model=None).stdout


def tiny_memorizing_in(folder: Path) -> Path:
    folder.mkdir()
    return tiny_memorizing(folder, seed=1)


def test_info_tells_of_a_build_that_was_broken_off(build: Callable[..., Result], memory: Memory) -> None:
    build()
    (the_folder() / library.COMPLETE).unlink()
    assert "broken off: `prover memory build`" in memory("info").stdout


def test_verify_reads_all_again(
    build: Callable[..., Result], memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "choose_kind", lambda entries, device="cpu": "ivf")
    build()
    folder = the_folder()
    found = memory("verify", model=None)
    assert (found.exit_code, found.stdout) == (0, f"{folder}: as it was written\n")
    for path in (next((folder / "library").glob("values.*")), folder / "index.ivf"):
        content = path.read_bytes()
        path.write_bytes(content[:5] + bytes([content[5] ^ 1]) + content[6:])
        for arguments in ((), ("--at", folder)):
            found = memory("verify", *arguments, model=None)
            assert found.exit_code == 2 and path.name in found.stderr
        path.write_bytes(content)


# --- query ------------------------------------------------------------------------------------------


def test_a_goal_looks_up_declarations(build: Callable[..., Result], memory: Memory) -> None:
    build()
    found = json.loads(memory("query", "x y : α ⊢ y = x", "--json", "--device", "cpu").stdout)
    assert {it["name"] for it in found["names"]} <= NAMES
    assert [it["head"] for it in found["heads"]] == [0, 1, 2, 3]
    assert found["heads"][0]["share"] == pytest.approx(0.7311, abs=1e-3)
    hit = found["heads"][0]["hits"][0]
    assert set(hit) == {"name", "module", "kind", "entry", "token", "cosine", "weight"}
    text = memory("query", "y = x", "--top", "1", "--device", "cpu").stdout
    assert text.startswith("all heads\n") and "head 3, which hears the memory by 73%" in text
    assert len(text.splitlines()) == 2 + 4 * 3
    # What has been said of a tactic bears on what is looked up.
    prefixes = [memory("query", "y = x", "--json", "--tactic", it).stdout for it in ("exact", "simp_all", "")]
    assert len(set(prefixes)) == 3


def test_a_query_can_be_limited_to_modules(build: Callable[..., Result], memory: Memory) -> None:
    build()
    for modules, names in (("A.Sub", {"symm"}), ("A", {"Nat.add_comm", "symm"}), ("A,B", NAMES)):
        found = json.loads(memory("query", "y = x", "--json", "--modules", modules).stdout)
        assert {it["name"] for it in found["names"]} <= names
        assert {it["module"].split(".")[0] for head in found["heads"] for it in head["hits"]} <= set("AB")
    found = memory("query", "y = x", "--modules", "Z")
    assert found.exit_code == 2 and "Nothing is remembered of a module Z" in found.stderr


def test_the_memory_of_another_model_is_refused(
    build: Callable[..., Result], memory: Memory, tmp_path: Path
) -> None:
    build()
    other = tiny_memorizing_in(tmp_path / "other")
    found = memory("query", "y = x", "--at", the_folder(), model=other)
    assert found.exit_code == 2 and "what is needed is of model" in found.stderr
    found = memory("query", "y = x", model=other)
    assert found.exit_code == 2 and "no memory for this model yet" in found.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from prover.cli.main import main\n"
        "assert 'memory' in CliRunner().invoke(main, ['--help']).stdout\n"
        "assert 'verify' in CliRunner().invoke(main, ['memory', '--help']).stdout\n"
        "assert CliRunner().invoke(main, ['memory', 'query', '--help']).exit_code == 0\n"
        "print({'torch', 'faiss', 'transformers', 'numpy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
