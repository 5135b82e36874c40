"""Toolchains that are odd, missing or not built, and one behind which a real Lean proves a theorem."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from prover import agent
from prover.errors import InputError, LeanUnavailable
from prover.lean import native
from prover.lean.install import ensure_embedded
from prover.lean.messages import OpenRequest, Severity, Source
from prover.lean.pool import LeanPool
from prover.lean.process import LeanProcess
from prover.lean.toolchain import Kind, LeanCommand, choose_lean, embedded_lean
from prover.lean_environment import missing_module, open_file
from prover.reports import Event, Options, Stage, TheoremStatus
from tests.lean.fake_server import fake_command
from tests.lean.scripted_toolchain import make_toolchain, write_program
from tests.lean.test_sandbox import PYTHON, needs_bwrap

LONG = 120.0
#: What of an embedded Lean lies in its home.
FILES = ("lean_js", "lean_wasm", "library")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "lakefile.toml").write_text('name = "project"\n')
    (folder / "A.lean").write_text("theorem a (p q : Prop) (hp : p) (hq : q) : p ∧ q := by\n  sorry\n")
    return folder


def with_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a `lake` of one shell script on the PATH."""
    (tmp_path / "programs").mkdir()
    write_program(tmp_path / "programs" / "lake", f"#!/bin/sh\n{script}\n")
    monkeypatch.setenv("PATH", str(tmp_path / "programs"), prepend=":")


# --- which Lean it is -------------------------------------------------------------------------------


def chosen(project: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> LeanCommand:
    programs = make_toolchain(project.parent / "toolchain", said)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("LEAN_PROVER_READABLE", os.pathsep.join(map(str, PYTHON)))
    return choose_lean(project / "A.lean", None)


@needs_bwrap
def test_a_tested_version_is_no_news(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = chosen(project, monkeypatch, "Lean (version 4.28.0, x86_64-unknown-linux-gnu, Release)")
    assert command.warnings == ()
    assert command.description == f"Lean 4.28.0 (lake env lean in {project})"


@needs_bwrap
def test_another_version_is_warned_of(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (warning,) = chosen(project, monkeypatch, "Lean (version 4.30.0-rc1, Release)").warnings
    assert "lake env lean: this is Lean 4.30.0-rc1" in warning and "v4.28.0" in warning


def test_a_version_that_cannot_work_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LeanUnavailable, match=r"Lean 4\.9\.0, and the tactic server needs"):
        chosen(project, monkeypatch, "Lean (version 4.9.0, Release)")


def test_a_program_that_is_no_lean_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LeanUnavailable, match=r"does not say which Lean(.|\n)*no Lean at all"):
        chosen(project, monkeypatch, "no Lean at all")


def test_a_toolchain_that_would_have_to_be_fetched(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_lake(tmp_path, monkeypatch, "echo 'error: could not download file' >&2; exit 1")
    with pytest.raises(LeanUnavailable) as caught:
        choose_lean(project / "A.lean", None)
    assert "exit code 1\n  error: could not download file" in str(caught.value)
    assert "elan toolchain install leanprover/lean4:v4.28.0" in str(caught.value)
    assert f"in {project}" in str(caught.value) and "--lean embedded" in str(caught.value)


@pytest.mark.parametrize("sandbox", [pytest.param(True, marks=needs_bwrap), False])
def test_a_lake_that_hangs_is_given_up(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: bool
) -> None:
    with_lake(tmp_path, monkeypatch, "exec sleep 987.123")
    monkeypatch.setattr(native, "_VERSION_SECONDS", 0.5)
    with pytest.raises(LeanUnavailable, match="no answer in"):
        choose_lean(project / "A.lean", None, sandbox=sandbox)
    sleeping = [one for one in psutil.process_iter(["cmdline"]) if "987.123" in (one.info["cmdline"] or [])]
    _, alive = psutil.wait_procs(sleeping, timeout=5)
    assert not alive


def test_lean_is_asked_once(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_lake(tmp_path, monkeypatch, f"echo x >> {tmp_path}/asked; echo 'Lean (version 4.28.0, Release)'")
    for _ in range(3):
        choose_lean(project / "A.lean", None, sandbox=False)
    assert (tmp_path / "asked").read_text() == "x\n"


# --- what is not built ------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["Missing", "Unbuilt"])
async def test_a_project_that_is_not_built_is_to_be_built(module: str) -> None:
    source = Source("A", "A.lean", f"import {module}\n")
    async with LeanPool(fake_command(), size=1, spares=0) as pool:
        with pytest.raises(InputError, match=r"A\.lean: .*run `lake build`"):
            async with open_file(pool, source):
                pass


def test_what_is_said_of_a_missing_module_depends_on_the_lean() -> None:
    embedded = replace(fake_command(), kind=Kind.EMBEDDED)
    assert "embedded Lean has no Mathlib" in missing_module("A.lean", "Mathlib.Tactic", embedded)
    assert "lake exe cache get" in missing_module("A.lean", "Mathlib.Tactic", fake_command())


# --- a real Lean ------------------------------------------------------------------------------------


@pytest.mark.lean
@needs_bwrap
async def test_a_theorem_is_proved_under_a_toolchain_in_the_sandbox(
    project: Path, embedded_command: LeanCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`lake env lean` of a scripted toolchain, behind which the embedded Lean answers."""
    home, server = embedded_command.cwd, embedded_command.server
    assert home is not None and server is not None
    behind = (home, embedded_command.tactic_server_argv())
    monkeypatch.setenv("PATH", str(make_toolchain(project.parent / "toolchain", behind=behind)), prepend=":")
    launcher = Path(agent.__file__).parent  # the checkout may lie in a folder that the sandbox hides
    readable = [*PYTHON, home, server, launcher]
    monkeypatch.setenv("LEAN_PROVER_READABLE", os.pathsep.join(map(str, readable)))
    options = Options(
        timeout=60.0,
        max_expansions=50,
        max_tactics=500,
        workers=1,
        seed=0,
        generator="portfolio",
        lean=None,
        theorems=(),
    )
    events: list[Event] = []
    (report,) = await agent.prove_files([project / "A.lean"], options, events.append)
    assert report.fault is None
    assert [theorem.status for theorem in report.theorems] == [TheoremStatus.PROVED]
    started = f"Starting Lean 4.28.0 (lake env lean in {project})"
    assert started in [event.text for event in events if isinstance(event, Stage)]
    assert sorted(path.name for path in project.iterdir()) == ["A.lean", "lakefile.toml"]


@pytest.fixture
def own_library(embedded_command: LeanCommand, tmp_path: Path) -> Path:
    """A copy of the embedded Lean (hard links where they can be made); returns its folder."""
    installed = ensure_embedded().home
    copy = tmp_path / installed.name  # the name is that of the version, for which the server is compiled

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    shutil.copytree(installed, copy, copy_function=link)
    return copy


@pytest.mark.lean
async def test_a_process_reuses_what_it_has_imported(own_library: Path) -> None:
    """The second file finds its imports in the process: their files are not read again."""
    lean = ensure_embedded()
    moved = {name: own_library / getattr(lean, name).relative_to(lean.home) for name in FILES}
    command = embedded_lean(replace(lean, home=own_library, **moved))
    async with await LeanProcess.start(command) as process:

        async def errors(imports: str, name: str) -> list[str]:
            text = f"{imports}\ntheorem {name} : 1 + 1 = 2 := rfl\n"
            answer = await process.ask(OpenRequest(Source(name, f"{name}.lean", text)), LONG)
            if answer.error:
                return [answer.error]
            return [message.text for message in answer.messages if message.severity is Severity.ERROR]

        assert await errors("import Lake.Util.Casing", "first") == []
        compiled = own_library / "library" / "Lake" / "Util" / "Casing.olean"
        compiled.unlink()  # a link: the installed file stays
        compiled.write_bytes(b"no compiled file")
        assert await errors("import Lake.Util.Casing", "second") == []
        (error,) = await errors("import Lake.Util.Casing\nimport Lake.Util.Name", "third")
        assert "Casing.olean" in error
