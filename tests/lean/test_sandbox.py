"""Hostile files under a toolchain's Lean change nothing outside their folder.

No native Lean installs from the package registries, so a scripted toolchain stands for it: its `lean` starts
the programs that a file asks for, as ``IO.Process.spawn`` does in a real one.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from prover.lean import guard, sandbox
from prover.lean.process import Cause, LeanDied, LeanProcess
from prover.lean.sandbox import MIB, Limits, confine, isolation_of, limits_for
from prover.lean.toolchain import Kind, LeanCommand, choose_lean
from prover.settings import GIB
from tests.lean.scripted_toolchain import make_toolchain, spawning

BWRAP = shutil.which("bwrap")
needs_bwrap = pytest.mark.skipif(
    BWRAP is None or bool(isolation_of(BWRAP)[1]), reason="bubblewrap is not here, or does not work here"
)
ROOT = Path(__file__).parents[2]
#: Where a test's own Python and what it imports lie.
PYTHON = [Path(sys.prefix), Path(sys.base_prefix)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with something in it, and a Lake project."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "key").write_text("a secret")
    (home / "project" / ".lake" / "build").mkdir(parents=True)
    (home / "project" / "lakefile.toml").write_text('name = "project"\n')
    (home / "project" / "A.lean").write_text("theorem a : True := trivial\n")
    (tmp_path / "beside").write_text("beside")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LEAN_PROVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LEAN_PROVER_READABLE", os.pathsep.join(map(str, PYTHON)))
    monkeypatch.setenv("LEAN_PROVER_API_KEY", "sesame")
    monkeypatch.delenv("ELAN_HOME", raising=False)
    monkeypatch.setenv("PATH", str(make_toolchain(home / "toolchain")), prepend=":")
    return home


def elaborate(home: Path, text: str, sandbox: bool = True) -> str:
    """Elaborate a file of the project as `prove` does, and return what was printed."""
    file = home / "project" / "Hostile.lean"
    file.write_text(text)
    command = choose_lean(file, None, sandbox=sandbox)
    assert command.kind is Kind.TOOLCHAIN and command.warnings == ()
    argv = command.argv([str(file)])
    done = subprocess.run(argv, cwd=command.cwd, env=command.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# --- files ------------------------------------------------------------------------------------------


@needs_bwrap
def test_a_file_that_deletes_and_writes_files_changes_nothing(home: Path, tmp_path: Path) -> None:
    targets = [home, home / "project", home / ".ssh", tmp_path / "beside", ROOT / "tests" / "conftest.py"]
    text = spawning(
        *(["rm", "-rf", f"{target}"] for target in targets),
        *(f"echo owned > {target}" for target in (tmp_path / "beside", home / "new", home / "project/new")),
        f"cd {home}/project && echo owned > A.lean; rm -f A.lean; mkdir sub; mv lakefile.toml other",
        "echo owned > /etc/lean-prover-test; rm -f /bin/sh; mount -o remount,rw /; umount -l /tmp",
    )
    (home / "project" / "Hostile.lean").write_text(text)
    before = contents(tmp_path)
    said = elaborate(home, text)
    assert contents(tmp_path) == before
    assert "Read-only file system" in said
    assert not Path("/etc/lean-prover-test").exists() and (ROOT / "tests" / "conftest.py").exists()


def test_without_the_sandbox_such_a_file_would_do_harm(home: Path, tmp_path: Path) -> None:
    elaborate(home, spawning(["rm", "-rf", f"{home}/.ssh"]), sandbox=False)
    assert not (home / ".ssh").exists()


@needs_bwrap
def test_a_file_cannot_read_the_home_nor_the_environment(home: Path, tmp_path: Path) -> None:
    said = elaborate(home, spawning(f"cat {home}/.ssh/key", f"ls {home} {tmp_path} /run", "env"))
    assert "a secret" not in said and "sesame" not in said and "LEAN_PROVER" not in said
    assert "beside" not in said and ".ssh" not in said.replace(".ssh/key", "")
    assert f"HOME={home}" in said


@needs_bwrap
def test_a_file_reads_its_project_and_its_packages_and_writes_to_its_own_tmp(home: Path) -> None:
    shared = home / "shared" / "mathlib"
    shared.mkdir(parents=True)
    (shared / "lakefile.lean").touch()
    (shared / "M.lean").write_text("shared by a link")
    (home / "dependency").mkdir()
    (home / "dependency" / "lakefile.toml").write_text("a path dependency")
    packages = home / "project" / ".lake" / "packages"
    packages.mkdir()
    (packages / "mathlib").symlink_to(shared)
    (packages / "ssh").symlink_to(home / ".ssh")  # no Lake package
    manifest = '{"packages": [{"type": "path", "dir": "../dependency"}, {"type": "path", "dir": "../.ssh"}]}'
    (home / "project" / "lake-manifest.json").write_text(manifest)
    said = elaborate(
        home,
        spawning(
            "cat A.lean .lake/packages/mathlib/M.lean ../dependency/lakefile.toml",
            "cat .lake/packages/ssh/key ../.ssh/key",
            "echo scratch > /tmp/lean-prover-test && cat /tmp/lean-prover-test",
        ),
    )
    assert "theorem a" in said and "shared by a link" in said and "a path dependency" in said
    assert "a secret" not in said
    assert "scratch" in said and not Path("/tmp/lean-prover-test").exists()


@needs_bwrap
def test_elan_may_note_what_it_has_seen_and_nothing_else(home: Path) -> None:
    elan = home / ".elan"
    (elan / "toolchains").mkdir(parents=True)
    (elan / "settings.toml").write_text('version = "12"')
    (elan / "known-projects").write_text("/somewhere")
    (home / "linked").mkdir()
    (home / "linked" / "lean.txt").write_text("a linked toolchain")
    (elan / "toolchains" / "mine").symlink_to(home / "linked")
    before = contents(home)
    said = elaborate(
        home,
        spawning(
            "cat ~/.elan/settings.toml ~/.elan/toolchains/mine/lean.txt",
            "echo /here > ~/.elan/known-projects && echo noted",
            "rm -rf ~/.elan/toolchains/mine ~/.elan/toolchains/mine/lean.txt",
        ),
    )
    assert 'version = "12"' in said and "a linked toolchain" in said and "noted" in said
    assert {name: text for name, text in contents(home).items() if name != "project/Hostile.lean"} == before


@needs_bwrap
def test_a_project_that_is_reached_by_a_link(home: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(home / "project")
    command = choose_lean(tmp_path / "link" / "A.lean", None)
    assert command.cwd == tmp_path / "link"
    (home / "project" / "H.lean").write_text(spawning("cat A.lean"))
    argv = command.argv([f"{tmp_path}/link/H.lean"])
    done = subprocess.run(argv, cwd=command.cwd, env=command.env, capture_output=True, text=True)
    assert "theorem a" in done.stdout, done.stderr


# --- the network ------------------------------------------------------------------------------------

_CONNECT = (
    "import socket, sys; "
    "made = [socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)] if sys.argv[1].isdigit() else []; "
    "made = made or [socket.socket(socket.AF_UNIX)]; "
    "sys.argv[1].isdigit() or made[0].connect(sys.argv[1]); "
    "made[0].sendall(b'stolen'); print('sent')"
)


@pytest.fixture
def listeners(tmp_path: Path) -> Iterator[list[socket.socket]]:
    """One on the loopback interface, one in a folder."""
    with socket.socket() as internet, socket.socket(socket.AF_UNIX) as local:
        internet.bind(("127.0.0.1", 0))
        local.bind(str(tmp_path / "s"))
        for listener in (internet, local):
            listener.listen()
            listener.setblocking(False)
        yield [internet, local]


def connecting(listeners: list[socket.socket]) -> str:
    internet, local = listeners
    addresses = [str(internet.getsockname()[1]), local.getsockname()]
    return spawning(*([sys.executable, "-I", "-c", _CONNECT, address] for address in addresses))


@needs_bwrap
def test_a_file_that_opens_a_socket_reaches_nobody(home: Path, listeners: list[socket.socket]) -> None:
    said = elaborate(home, connecting(listeners))
    assert "sent" not in said and said.count("exit code 1") == 2
    for listener in listeners:
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_without_the_sandbox_it_would(home: Path, listeners: list[socket.socket]) -> None:
    assert elaborate(home, connecting(listeners), sandbox=False).count("sent") == 2
    for listener in listeners:
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(10) == b"stolen"


# --- disk, processes and memory ---------------------------------------------------------------------


def confined(home: Path, limits: Limits) -> LeanCommand:
    """The scripted `lean` under limits of our own."""
    confinement = confine([home / "toolchain", *PYTHON], home / "project", limits)
    assert confinement.warning == ""
    lean = str(home / "toolchain" / "bin" / "lean")
    return LeanCommand(
        kind=Kind.TOOLCHAIN,
        prefix=(*confinement.prefix, lean),
        description="a scripted Lean",
        memory_limit=16 * GIB,
        cwd=home / "project",
        env=confinement.env,
        process_limit=limits.processes,
    )


def run_hostile(home: Path, text: str, limits: Limits) -> str:
    command = confined(home, limits)
    (home / "project" / "Hostile.lean").write_text(text)
    argv = command.argv(["Hostile.lean"])
    done = subprocess.run(argv, cwd=command.cwd, env=command.env, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


@needs_bwrap
def test_a_file_that_fills_the_disk_fills_its_own_tmp_only(home: Path, tmp_path: Path) -> None:
    limits = replace(limits_for(GIB), scratch=50 * MIB, file_size=20 * MIB)
    places = ["/tmp", "/dev/shm", "/var/tmp", "/", str(home), str(home / "project"), str(tmp_path), "/run"]
    fill = (
        "import os, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); total = 0\n"
        "for number in range(20):\n"
        "    try:\n"
        "        file = os.open(f'{sys.argv[1]}/filling-{number}', os.O_WRONLY | os.O_CREAT)\n"
        "        for _ in range(25): total += os.write(file, bytes(2**20))\n"
        "    except OSError as error: print(sys.argv[1], error.strerror)\n"
        "print(sys.argv[1], total >> 20, 'MiB')"
    )
    (home / "project" / "fill.py").write_text(fill)
    before = contents(tmp_path)
    filling = ([sys.executable, "-I", "fill.py", place] for place in places)
    said = run_hostile(home, spawning(*filling), limits)
    before["home/project/Hostile.lean"] = (home / "project" / "Hostile.lean").read_bytes()
    assert contents(tmp_path) == before
    written = {line.split()[0]: int(line.split()[1]) for line in said.splitlines() if line.endswith(" MiB")}
    assert written == dict.fromkeys(places, 0) | {"/tmp": 50, "/dev/shm": 50}, said
    assert "/tmp File too large" in said  # 20 MiB a file
    assert "/tmp No space left on device" in said  # 50 MiB altogether
    assert not list(Path("/tmp").glob("filling-*")) and not list(Path("/dev/shm").glob("filling-*"))


#: Starts processes until it is stopped, at most 300 whatever happens; each sleeps for a minute.
_FORK = (
    "import os, sys, time\n"
    "print('forking', flush=True)\n"
    "for number in range(300):\n"
    "    try:\n"
    "        if os.fork() == 0:\n"
    "            time.sleep(60)\n"
    "            os._exit(0)\n"
    "    except OSError as error:\n"
    "        print('stopped at', number, error.strerror, flush=True)\n"
    "        break\n"
    "sys.stdout.flush()\n"
    "time.sleep(float(sys.argv[2]))\n"
)


def bomb(seconds: float) -> list[str]:
    """The process's own title makes it known to :func:`survivors`."""
    return [sys.executable, "-I", "bomb.py", "lean-prover-bomb", str(seconds)]


def survivors() -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if "lean-prover-bomb" in (process.info["cmdline"] or []):
            found.append(process.pid)
    return found


def nobody_left() -> bool:
    for _ in range(200):
        if not survivors():
            return True
        time.sleep(0.05)
    return False


def control_groups() -> list[Path]:
    return [group for base in guard._bases() for group in base.glob("lean-prover-*")]


def kernel_counts() -> bool:
    """Whether the kernel limits processes here: root can only be limited by a control group."""
    group = guard._make_group(10)
    if group is not None:
        group.rmdir()
    return group is not None or os.getuid() != 0


@needs_bwrap
@pytest.mark.skipif(not kernel_counts(), reason="root, and no control group can be made here")
def test_a_file_that_forks_without_end_is_stopped_by_the_kernel(home: Path) -> None:
    (home / "project" / "bomb.py").write_text(_FORK)
    said = run_hostile(home, spawning(bomb(0)), replace(limits_for(GIB), threads=48))
    assert "Resource temporarily unavailable" in said
    assert int(said.split("stopped at ")[1].split()[0]) < 48
    assert nobody_left()  # they sleep for a minute: the sandbox took them with it


@needs_bwrap
async def test_a_file_that_forks_too_much_is_killed_with_all_it_started(home: Path) -> None:
    (home / "project" / "bomb.py").write_text(_FORK)
    lean = home / "toolchain" / "bin" / "lean"
    behind = (str(home / "project"), bomb(60))
    lean.write_text(lean.read_text().replace("BEHIND = None", f"BEHIND = {behind!r}"))
    command = confined(home, replace(limits_for(GIB), processes=20))
    groups = control_groups()
    with pytest.raises(LeanDied) as caught:
        await LeanProcess.start(command, seconds=30)
    assert control_groups() == groups  # though the guard was killed
    assert caught.value.post_mortem.cause is Cause.PROCESS_LIMIT
    assert "forking" in caught.value.post_mortem.noise
    assert nobody_left()


@needs_bwrap
def test_a_process_cannot_take_all_memory_at_once(home: Path) -> None:
    limits = replace(limits_for(GIB), address_space=2 * GIB)
    grab = "bytearray(8 * 2**30)"
    assert "MemoryError" in run_hostile(home, spawning([sys.executable, "-I", "-c", grab]), limits)


# --- where there is no bubblewrap -------------------------------------------------------------------


@pytest.fixture
def no_bwrap(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    which = shutil.which
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None if name == "bwrap" else which(name))
    return home


def test_without_bubblewrap_there_are_limits_and_a_warning(no_bwrap: Path) -> None:
    command = choose_lean(no_bwrap / "project" / "A.lean", str(no_bwrap / "toolchain" / "bin" / "lean"))
    (warning,) = command.warnings
    assert "bubblewrap (bwrap) is not on the PATH" in warning and "--no-sandbox" in warning
    file = no_bwrap / "project" / "Limits.lean"
    file.write_text(spawning("ulimit -f", "ulimit -n", "ulimit -c", "env"))
    argv = command.argv([str(file)])
    done = subprocess.run(argv, cwd=command.cwd, env=command.env, capture_output=True, text=True)
    assert "sesame" not in done.stdout
    assert done.stdout.split("exit code 0\n")[:3] == [f"{256 * MIB // 512}\n", "4096\n", "0\n"]
    assert choose_lean(no_bwrap / "A.lean", command.prefix[-1], sandbox=False).warnings == ()


def test_a_bubblewrap_that_does_not_work_is_told(home: Path, tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    isolation, reason = isolation_of(str(broken))
    assert isolation == () and reason == "bwrap: No permissions to create new namespace"
