"""Which Lean is chosen and how it is started; the sandbox of the embedded one (marked ``lean``)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prover.errors import InputError, LeanUnavailable
from prover.lean import bundle, toolchain
from prover.lean.bundle import bundle_server, written_bundle
from prover.lean.install import EmbeddedLean, ensure_embedded
from prover.lean.toolchain import (
    Kind,
    LeanCommand,
    Mount,
    bare_embedded_lean,
    choose_lean,
    embedded_lean,
    find_project,
    mounts_of,
)
from prover.settings import GIB
from tests.lean.scripted_toolchain import write_program
from tests.lean.test_process import until_gone

ROOT = Path(__file__).parents[2]
HOME = Path("/home/of/lean")
EMBEDDED = EmbeddedLean(HOME, HOME / "lean.js", HOME / "lean.wasm", HOME / "library", Path("/bin/node"))


@pytest.fixture
def no_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "ensure_embedded", lambda progress: EMBEDDED)
    monkeypatch.setattr(toolchain, "ensure_server", lambda *_: Path("/cache/abc"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "Some" / "Deep").mkdir(parents=True)
    (folder / "lakefile.toml").touch()
    return folder


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH; returns its only folder."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def make_program(file: Path) -> Path:
    return write_program(file, "#!/bin/sh\necho 'Lean (version 4.28.0, Release)'\n")


@pytest.mark.parametrize("name", ["lakefile.lean", "lakefile.toml", "lean-toolchain"])
def test_projects(name: str, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / name).touch()
    assert find_project(tmp_path / "a" / "b" / "X.lean") == tmp_path / "a"
    assert find_project(tmp_path / "X.lean") != tmp_path / "a"


@pytest.mark.usefixtures("no_install")
def test_no_project_or_no_lake_means_embedded(project: Path, programs: Path) -> None:
    inside = project / "Some" / "Deep" / "X.lean"
    assert choose_lean(inside, None).kind is Kind.EMBEDDED
    make_program(programs / "lake")
    assert choose_lean(project.parent / "X.lean", None).kind is Kind.EMBEDDED
    assert choose_lean(None, None).kind is Kind.EMBEDDED
    assert choose_lean(inside, "embedded").kind is Kind.EMBEDDED


def test_project_and_lake_mean_lake(project: Path, programs: Path) -> None:
    lake = make_program(programs / "lake")
    command = choose_lean(project / "Some" / "Deep" / "X.lean", None)
    assert (command.kind, command.cwd) == (Kind.TOOLCHAIN, project)
    assert command.argv(["X.lean"])[-4:] == [str(lake), "env", "lean", "X.lean"]


def test_a_lean_by_path(tmp_path: Path, programs: Path) -> None:
    lean = make_program(tmp_path / "lean")
    command = choose_lean(tmp_path / "X.lean", str(lean))
    assert command.kind is Kind.TOOLCHAIN
    assert command.argv(["--version"], [Mount(tmp_path, "/x")])[-2:] == [str(lean), "--version"]
    assert command.argv(["--run", "/s/S.lean"])[-3:] == [str(lean), "--run", "/s/S.lean"]


@pytest.mark.parametrize("choice", ["no-such-lean", "/nowhere/lean", "", "Embedded"])
def test_a_lean_that_is_not_there(choice: str, programs: Path) -> None:
    with pytest.raises(InputError, match="--lean"):
        choose_lean(None, choice)


def test_the_guarded_command_runs(tmp_path: Path) -> None:
    said = "[ \"$1\" != --version ] || exec echo 'Lean (version 4.28.0, Release)'"
    lean = write_program(tmp_path / "lean", f'#!/bin/sh\n{said}\necho "$@"\nexit 7\n')
    command = choose_lean(None, str(lean))
    result = subprocess.run(command.argv(["a b", "c"]), capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (7, "a b c\n")


@pytest.mark.usefixtures("no_install")
def test_embedded_command_line() -> None:
    command = embedded_lean(EMBEDDED)
    argv = command.tactic_server_argv(mounts_of([Path("/p/q/X.lean")]))
    launcher = next(number for number, part in enumerate(argv) if part.endswith("launcher.cjs"))
    assert argv[launcher + 1 :] == [
        *("--home", str(HOME)),
        *("--mount", "/cache/abc=/tactic-server"),
        *("--mount", "/p/q=/p/q"),
        *("--", "--run", "/tactic-server/Boot.lean"),
    ]
    assert "--permission" in argv[:launcher]
    assert command.env == {}


def test_memory_limit_comes_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAN_PROVER_MEMORY", "1.5")
    assert bare_embedded_lean(EMBEDDED).memory_limit == 1.5 * GIB


def test_mounts_are_the_files_folders(tmp_path: Path) -> None:
    files = [tmp_path / "a" / "X.lean", tmp_path / "a" / "Y.lean", tmp_path / "Z.lean"]
    assert mounts_of(files) == (Mount(tmp_path, str(tmp_path)), Mount(tmp_path / "a", str(tmp_path / "a")))


# --- the bundle -----------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Path:
    folder = tmp_path / "TacticServer"
    folder.mkdir()
    sources = {
        "Main": "import Lean\nimport TacticServer.B\nimport TacticServer.A\n\npublic def main := b\n",
        "A": "import Lean.Data.Json\nimport Lean\n\nopen Lean\ndef a := 1\n",
        "B": "import TacticServer.A\n\n/-- Not an\nimport TacticServer.X\n-/\ndef b := a\n",
    }
    for name, text in sources.items():
        (folder / f"{name}.lean").write_text(text)
    return folder


def test_bundle(server: Path) -> None:
    assert bundle_server(server).splitlines() == [
        *("import Lean", "import Lean.Data.Json", ""),
        *("-- TacticServer.A", "section", "open Lean", "def a := 1", "end", ""),
        *(
            "-- TacticServer.B",
            "section",
            "/-- Not an",
            "import TacticServer.X",
            "-/",
            "def b := a",
            "end",
            "",
        ),
        *("-- TacticServer.Main", "section", "public def main := b", "end"),
    ]


def test_bundle_is_written_once(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAN_PROVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bundle, "server_folder", lambda: server)
    file = written_bundle()
    before = file.stat()
    assert file.read_text() == bundle_server(server)
    assert written_bundle() == file and file.stat().st_mtime_ns == before.st_mtime_ns
    (server / "A.lean").write_text("def a := 2\n")
    assert written_bundle() != file
    assert [path.name for path in file.parent.iterdir()] == ["TacticServer.lean"]


def test_bundle_into_a_cache_that_cannot_be_written(
    server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LEAN_PROVER_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(bundle, "server_folder", lambda: server)
    with pytest.raises(LeanUnavailable, match="LEAN_PROVER_CACHE"):
        written_bundle()


def test_the_real_server_is_found() -> None:
    text = bundle_server()
    assert text.count("def main") == 1
    assert "\nimport TacticServer" not in text


# --- the real embedded Lean -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded() -> LeanCommand:
    return bare_embedded_lean(ensure_embedded())


def run_lean(command: LeanCommand, file: Path) -> subprocess.CompletedProcess[str]:
    argv = command.argv([str(file)], mounts_of([file]))
    return subprocess.run(argv, cwd=command.cwd, env=command.env, capture_output=True, text=True, timeout=300)


_ATTEMPTS = """
#eval do IO.println s!"{(← IO.FS.readFile "FOLDER/beside").length} characters"
#eval IO.FS.writeFile "FOLDER/new" "x"
#eval IO.FS.writeFile "FOLDER/beside" "x"
#eval do (← IO.FS.Handle.mk "FOLDER/beside" .append).putStr "x"
#eval do (← IO.FS.Handle.mk "FOLDER/beside" .readWrite).putStr "x"
#eval IO.FS.createDir "FOLDER/folder"
#eval IO.FS.removeFile "FOLDER/beside"
#eval IO.FS.rename "FOLDER/beside" "FOLDER/elsewhere"
#eval do IO.println (← IO.FS.readFile "/etc/passwd")
#eval do IO.println (← IO.FS.readFile "FOLDER/../secret")
#eval do IO.println (← IO.FS.readFile "FOLDER/link")
#eval do IO.println (← IO.Process.output { cmd := "ls" }).stdout
theorem fine (p q : Prop) (hp : p) (hq : q) : p ∧ q := ⟨hp, hq⟩
example : 1 = 2 := rfl
"""


@pytest.mark.lean
def test_the_embedded_lean_reads_its_folder_and_no_more(embedded: LeanCommand, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_text("top secret")
    (folder / "beside").write_text("12345")
    (folder / "link").symlink_to(tmp_path / "secret")
    file = folder / "Attempts.lean"
    file.write_text(_ATTEMPTS.replace("FOLDER", str(folder)))
    result = run_lean(embedded, file)
    assert result.returncode == 1
    assert result.stderr == ""
    output = result.stdout
    assert "5 characters" in output
    assert output.count("read-only file system") == 7
    assert "top secret" not in output and "root:" not in output
    assert output.count("no such file or directory") == 3
    assert "unsupported operation" in output  # starting a program
    assert f"{file}:15:19: error" in output
    assert "\n".join(sorted(path.name for path in folder.iterdir())) == "Attempts.lean\nbeside\nlink"
    assert (folder / "beside").read_text() == "12345"


@pytest.mark.lean
def test_version_of_the_embedded_lean(embedded: LeanCommand) -> None:
    argv = embedded.argv(["--version"])
    result = subprocess.run(argv, cwd=embedded.cwd, env=embedded.env, capture_output=True)
    assert (result.returncode, result.stderr) == (0, b"")
    assert f"version {toolchain.EMBEDDED_VERSION}".encode() in result.stdout


@pytest.mark.lean
def test_endless_recursion_ends_in_one_line(embedded: LeanCommand, tmp_path: Path) -> None:
    file = tmp_path / "Deep.lean"
    deep = "partial def deep (n : Nat) : Nat := if n == 0 then 0 else 1 + deep (n - 1) + deep 0"
    file.write_text(f"{deep}\n#eval deep 100000000\n")
    result = run_lean(embedded, file)
    assert result.returncode == 134
    assert result.stderr.startswith("lean: stack overflow") and result.stderr.count("\n") == 1


_PARENT = """
import subprocess, sys
from pathlib import Path
from prover.lean.install import ensure_embedded
from prover.lean.toolchain import bare_embedded_lean, mounts_of
file = Path(sys.argv[1])
command = bare_embedded_lean(ensure_embedded())
argv = command.argv(["--run", str(file)], mounts_of([file]))
pipe = subprocess.PIPE
lean = subprocess.Popen(argv, cwd=command.cwd, env=command.env, stdout=pipe, start_new_session=True)
print(lean.stdout.readline().decode().strip(), lean.pid, flush=True)
lean.wait()
"""


@pytest.mark.lean
async def test_a_busy_embedded_lean_dies_with_its_parent(embedded: LeanCommand, tmp_path: Path) -> None:
    file = tmp_path / "Busy.lean"
    file.write_text(
        "partial def busy (n : Nat) : IO Unit := busy (n + 1)\n"
        "public def main : IO Unit := do\n"
        "  let stdout ← IO.getStdout\n"
        '  stdout.putStr "busy\\n"\n'
        "  stdout.flush\n"
        "  busy 0\n"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PARENT, str(file)),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    word, pid = (await parent.stdout.readline()).decode().split()
    assert word == "busy"
    parent.kill()
    await parent.wait()
    assert await until_gone(int(pid))
