"""What LeanDojo's Lean4Repl.lean does, with the embedded Lean behind it: ``python repl.py FILE``.

The file holds ``lean_dojo_repl`` where a proof is to be. Requests ``{"sid": 0, "cmd": "simp"}`` come a line
each on standard input, and are answered on standard output after ``REPL> ``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from prover.environment import LeanError, ProofFinished, TacticCrash, TacticState
from prover.lean.messages import Source
from prover.lean.pool import LeanPool
from prover.lean.toolchain import choose_lean
from prover.lean_environment import LeanDojo, open_file

_PROOF = "by\n  lean_dojo_repl\n  sorry"


async def main(file: Path) -> None:
    text = file.read_text()
    assert text.startswith("import Lean4Repl\n") and text.count(_PROOF) == 1
    source = Source("Sums", file.name, text.removeprefix("import Lean4Repl\n").replace(_PROOF, "by sorry"))
    async with (
        LeanPool(choose_lean(None, "embedded"), size=1, spares=0) as pool,
        open_file(pool, source) as opened,
    ):
        dojo = LeanDojo(opened, 0, 1)
        states = [dojo.root]
        answer(sid=0, tacticState=dojo.root.pretty)
        while line := await asyncio.to_thread(sys.stdin.readline):
            request = json.loads(line)
            result = (await dojo.run_tac(states[request["sid"]], request["cmd"])).result
            if isinstance(result, ProofFinished):
                answer(sid=len(states), tacticState="no goals")
            elif isinstance(result, TacticState):
                states.append(result)
                answer(sid=len(states) - 1, tacticState=result.pretty)
            else:
                assert isinstance(result, LeanError | TacticCrash)
                answer(error=result.message)


def answer(**fields: Any) -> None:
    response = {"sid": None, "tacticState": None, "error": None} | fields
    print(f"REPL> {json.dumps(response, ensure_ascii=False)}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
