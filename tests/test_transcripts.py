"""The protocol of the tactic server, as recorded in ``transcripts/``: a request and its answer, line by line.

Each file is one conversation. ``ms`` is left out of the answers, and the ids of states count from 0 as in a
server that has just started. To record the answers anew after a deliberate change, or to an even number of
lines of which the answers are empty:

    pytest tests/test_transcripts.py --update-transcripts
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest

from prover.lean.messages import Request, Status
from prover.lean.toolchain import LeanCommand

pytestmark = pytest.mark.lean

FOLDER = Path(__file__).parent / "transcripts"
NAMES = [*(request.op for request in get_args(Request)), "errors"]
#: Above all ids in use: stays what it is.
NO_STATE = 999_999
SECONDS = 300.0


class Server:
    """A tactic server to which lines are sent as they are."""

    NONCE = "nonce"

    def __init__(self, command: LeanCommand) -> None:
        self._process = subprocess.Popen(
            list(command.tactic_server_argv(())),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=command.cwd,
            env=command.env,
            encoding="utf-8",
        )
        self._watchdog = threading.Timer(SECONDS, self._process.kill)
        self._watchdog.start()
        self.ask(self.NONCE)

    def ask(self, line: str) -> dict[str, Any]:
        """Send a line and return the next answer, without ``ms``."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        for said in self._process.stdout:
            if said.startswith(self.NONCE + " "):
                answer: dict[str, Any] = json.loads(said.removeprefix(self.NONCE))
                assert answer.pop("ms") >= 0
                return answer
        raise AssertionError(f"the server ended instead of answering {line}")

    def close(self) -> None:
        self._watchdog.cancel()
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def server(embedded_command: LeanCommand) -> Iterator[Server]:
    server = Server(embedded_command)
    yield server
    server.close()


def next_state(server: Server) -> int:
    """The id that the server will give to its next state."""
    header = {"name": "Probe", "path": "Probe.lean", "text": ""}
    limits = {"heartbeats": 1000, "recursion": 512}
    request = {"id": 1, "op": "statement", "header": header, "statement": "True", "limits": limits}
    return int(server.ask(json.dumps(request))["state"]) + 1


def shifted(message: Any, by: int, key: str = "") -> Any:
    """The message with ``by`` added to the ids of its states."""
    if isinstance(message, dict):
        return {name: shifted(value, by, name) for name, value in message.items()}
    if isinstance(message, list):
        return [shifted(value, by, key) for value in message]
    is_id = key in ("state", "states") and isinstance(message, int) and message != NO_STATE
    if key == "error" and (unknown := re.fullmatch(r"no state (\d+)", message)):
        return f"no state {shifted(int(unknown[1]), by, 'state')}"
    return message + by if is_id else message


def replay(server: Server, requests: list[str]) -> list[dict[str, Any]]:
    offset = next_state(server)
    answers = []
    for request in requests:
        with suppress(json.JSONDecodeError):  # the transcript of errors has a line that is no JSON
            request = json.dumps(shifted(json.loads(request), offset))
        answers.append(shifted(server.ask(request), -offset))
    return answers


def transcript(name: str) -> tuple[list[str], list[str]]:
    """The requests and the answers of a transcript."""
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines and len(lines) % 2 == 0, f"{name}: a request without its answer"
    return lines[::2], lines[1::2]


@pytest.mark.parametrize("name", NAMES)
def test_server_answers_as_recorded(server: Server, name: str, pytestconfig: pytest.Config) -> None:
    requests, recorded = transcript(name)
    answers = replay(server, requests)
    if pytestconfig.getoption("update_transcripts"):
        recorded = [json.dumps(answer, ensure_ascii=False) for answer in answers]
        lines = [line for pair in zip(requests, recorded, strict=True) for line in pair]
        (FOLDER / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert answers == [json.loads(answer) for answer in recorded]


def test_every_status_is_shown() -> None:
    shown = {json.loads(answer)["status"] for name in NAMES for answer in transcript(name)[1]}
    # "internal" is a fault of the server, which has no known way to happen.
    assert shown == {str(status) for status in Status} - {"internal"}


def test_every_transcript_is_read() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.jsonl")) == sorted(NAMES)
