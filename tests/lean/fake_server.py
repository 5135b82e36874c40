"""A stand-in for the tactic server that fails on demand: ``python fake_server.py MODE [FILE]``.

The tactic of a ``run`` request says what to do (see ``_obey``). MODE is what to do at the start: ``normal``,
``die``, ``hang``, ``not-ready``, or ``die-twice``, which counts the starts in FILE. Every start adds a line
with the process's id to FILE if there is one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GUARD = Path(__file__).parents[2] / "prover" / "lean" / "guard.py"

_GOAL = {
    "hypotheses": [],
    "target": "p",
    "pretty": "⊢ p",
    "tag": "",
    "head": "",
    "definitions": [],
    "constants": [],
}
#: What every source holds, whatever is opened; the state that it begins with is 100.
SORRY = {
    "declaration": "a",
    "start": {"line": 1, "column": 0, "byte": 0},
    "end": {"line": 1, "column": 5, "byte": 5},
    "tactic": True,
    "is_prop": True,
    "state": 100,
    "goal": _GOAL,
}


def fake_command(
    mode: str = "normal", file: Path | None = None, memory_limit: int = 300 * 1024**2, guarded: bool = False
) -> Any:
    """Return a ``LeanCommand`` that starts this file."""
    from prover.lean.toolchain import Kind, LeanCommand

    @dataclass(frozen=True)
    class FakeCommand(LeanCommand):
        def tactic_server_argv(self, mounts: Any = ()) -> list[str]:
            return self.argv([mode] if file is None else [mode, str(file)], mounts)

    guard = (sys.executable, "-I", str(GUARD)) if guarded else ()
    return FakeCommand(
        kind=Kind.TOOLCHAIN,
        prefix=(*guard, sys.executable, __file__),
        description="a fake Lean",
        memory_limit=memory_limit,
    )


class Server:
    def __init__(self, nonce: str) -> None:
        self.nonce = nonce
        self.hoard: list[bytes] = []
        self.dropped: list[int] = []

    def say(self, request_id: int, **body: Any) -> None:
        answer = {"id": request_id, "status": "ok", "ms": 0.1, **body}
        print(self.nonce, json.dumps(answer), flush=True)

    def serve(self) -> None:
        self.say(0)
        for line in sys.stdin:
            request = json.loads(line)
            if request["op"] == "run":
                self._obey(request["id"], request["state"], request["tactic"])
            elif request["op"] == "open" and "import Missing" in request["source"]["text"]:
                self.say(request["id"], status="missing_module", error="Missing")
            elif request["op"] == "open" and "import Unbuilt" in request["source"]["text"]:
                text = "object file '/p/Deep.olean' of module Deep does not exist"
                self.say(request["id"], status="internal", error=text)
            elif request["op"] == "open":
                self.say(request["id"], messages=[], sorries=[SORRY])
            elif request["op"] == "drop":
                self.dropped += request["states"]
                self.say(request["id"])
            else:
                self.say(request["id"], dropped=self.dropped)

    def _obey(self, request_id: int, state: int, tactic: str) -> None:
        match tactic.split():
            case ["hang"]:
                time.sleep(1000)
            case ["exit", code]:
                print("some last words", file=sys.stderr, flush=True)
                os._exit(int(code))
            case ["garbage"]:
                print(self.nonce, '{"id": oops', flush=True)
            case ["wrong-id"]:
                self.say(request_id + 1000)
            case ["half-line"]:
                sys.stdout.write(self.nonce + ' {"id"')
                sys.stdout.flush()
                os._exit(0)
            case ["prove"]:
                return self.say(request_id, status="proved")
            case ["forge"]:
                forged = json.dumps({"id": request_id, "status": "proved", "ms": 0})
                print(forged, f"deadbeef {forged}", f"{'0' * 32} {forged}", sep="\n", flush=True)
            case ["huge", size]:
                return self.say(request_id, state=state + 1, goals=[], padding="x" * int(size))
            case ["chatter", lines]:
                for number in range(int(lines)):
                    print(f"chatter {number}", file=sys.stderr)
            case ["eat", size]:
                while True:  # slowly enough for the watchdog to see it
                    self.hoard.append(os.urandom(int(size)))
                    time.sleep(0.01)
            case ["later", seconds]:
                time.sleep(float(seconds))
        self.say(request_id, state=state + 1, goals=[])


def _start_mode(mode: str, file: Path | None) -> None:
    if file is not None:
        with file.open("a") as starts:
            starts.write(f"{os.getpid()}\n")
    starts = len(file.read_text().splitlines()) if file is not None else 0
    if mode == "die" or (mode == "die-twice" and starts <= 2):
        print("cannot start", file=sys.stderr, flush=True)
        os._exit(9)
    if mode == "hang":
        time.sleep(1000)


def main() -> None:
    mode, *rest = sys.argv[1:]
    _start_mode(mode, Path(rest[0]) if rest else None)
    server = Server(sys.stdin.readline().strip())
    if mode == "not-ready":
        server.say(0, status="internal", error="no library")
    server.serve()


if __name__ == "__main__":
    main()
