"""docker/bfs-prover.sh, with a vLLM and a Ray that are scripted: who is started, asked and stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eval.cli.run import run

SCRIPT = Path(__file__).parents[2] / "docker" / "bfs-prover.sh"

#: Notes how it was called; ``vllm`` then answers /health until it is stopped, unless it is to fail.
FAKE = """\
#!{python}
import http.server, json, os, pathlib, signal, sys, urllib.request
name = pathlib.Path(sys.argv[0]).name
note = pathlib.Path(os.environ["NOTES"])
def tell(what):
    with note.open("a") as file:
        file.write(json.dumps([name, what]) + "\\n")
tell(sys.argv[1:])
if name == "prover":
    model = sys.argv[sys.argv.index("--model") + 1]
    if model.startswith("http://127.0.0.1"):
        urllib.request.urlopen(model.removesuffix("/v1") + "/health", timeout=5)
        tell("the server answers")
if name == "vllm":
    if os.environ.get("VLLM_FAILS"):
        sys.exit("no GPU")
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
        def log_message(self, *arguments):
            pass
    def stop(*_):
        tell("stopped")
        os._exit(0)
    signal.signal(signal.SIGTERM, stop)
    port = int(sys.argv[sys.argv.index("--port") + 1])
    http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()
"""


class Machine:
    """A PATH with the scripted programs, and what they noted."""

    def __init__(self, folder: Path) -> None:
        self.notes = folder / "notes"
        programs = folder / "bin"
        programs.mkdir()
        for name in ("vllm", "ray", "prover"):
            path = programs / name
            path.write_text(FAKE.format(python=sys.executable))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.programs = programs
        self.env = {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "NOTES": str(self.notes),
            "PORT": str(self.port),
            "START_SECONDS": "30",
        }

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(SCRIPT), *arguments],
            env=self.env | env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def noted(self) -> list[tuple[str, object]]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [tuple(json.loads(line)) for line in lines]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_one_machine(machine: Machine) -> None:
    """The server is there while the benchmark runs, and then gone; the settings are the published ones."""
    done = machine.run("run", "--statements", "S", "--out", "RUN", "--passes", "2", GPUS="2")
    assert done.returncode == 0, done.stderr
    (vllm, served), (prover, asked), *rest = machine.noted()
    assert isinstance(served, list) and isinstance(asked, list)
    assert (vllm, prover) == ("vllm", "prover")
    assert served[:2] == ["serve", "ByteDance-Seed/BFS-Prover-V2-7B"]
    assert served[served.index("--host") + 1] == "127.0.0.1"
    assert served[served.index("--tensor-parallel-size") + 1] == "2"
    assert rest == [("prover", "the server answers"), ("vllm", "stopped")]

    assert asked[:2] == ["eval", "run"]
    chosen = run.make_context("run", asked[2:]).params
    assert chosen["benchmark"] == "minif2f" and chosen["passes"] == 2
    assert (chosen["length_exponent"], chosen["seconds"], chosen["prompt"]) == (2.0, 600.0, "bfs-prover")
    assert chosen["model"] == f"http://127.0.0.1:{machine.port}/v1"


def test_a_server_that_is_there_is_asked_and_left_alone(machine: Machine) -> None:
    assert machine.run("run", "--out", "RUN", SERVER="http://gpu:8000/v1").returncode == 0
    ((name, asked),) = machine.noted()
    assert name == "prover" and isinstance(asked, list) and "http://gpu:8000/v1" in asked


def test_a_run_over_ray_asks_each_machines_own_server(machine: Machine) -> None:
    with subprocess.Popen(
        ["bash", str(SCRIPT), "head"], env=machine.env, stdout=subprocess.PIPE, text=True
    ) as head:
        assert head.stdout is not None
        assert "The cluster is ready" in head.stdout.readline()
        assert machine.run("run", "--ray", "auto", "--out", "RUN").returncode == 0
        head.send_signal(signal.SIGTERM)
    calls = machine.noted()
    assert [name for name, what in calls if isinstance(what, list)] == ["vllm", "ray", "prover", "ray"]
    assert ("ray", ["start", "--head"]) in calls and ("ray", ["stop"]) in calls
    assert calls[-1] == ("vllm", "stopped") or ("vllm", "stopped") in calls


def test_a_worker_joins_the_head(machine: Machine) -> None:
    with subprocess.Popen(["bash", str(SCRIPT), "worker", "10.0.0.1:6379"], env=machine.env) as worker:
        deadline = time.monotonic() + 30
        while ("ray", ["start", "--address", "10.0.0.1:6379"]) not in machine.noted():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        worker.send_signal(signal.SIGTERM)
    assert ("vllm", "stopped") in machine.noted()


def test_a_server_that_ends_is_told_and_nothing_is_run(machine: Machine) -> None:
    done = machine.run("run", "--out", "RUN", VLLM_FAILS="1")
    assert done.returncode == 2 and "the server ended before it answered" in done.stderr
    assert [name for name, _ in machine.noted()] == ["vllm"]


@pytest.mark.parametrize("arguments", [(), ("unknown",), ("worker",)])
def test_wrong_usage(machine: Machine, arguments: tuple[str, ...]) -> None:
    done = machine.run(*arguments)
    assert done.returncode == 2 and done.stderr and not machine.noted()


def test_without_vllm_it_says_what_to_install(machine: Machine) -> None:
    (machine.programs / "vllm").unlink()
    done = machine.run("run", "--out", "RUN")
    assert done.returncode == 2 and "pip install vllm" in done.stderr
