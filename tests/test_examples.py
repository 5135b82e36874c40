"""The example files: enough of them, and each compiles with its ``sorry``s."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from prover.lean.install import ensure_embedded
from prover.lean.toolchain import embedded_lean, mounts_of

FOLDER = Path(__file__).parent.parent / "lean_project" / "Examples"
EXAMPLES = sorted(path for path in FOLDER.glob("*.lean") if not path.name.endswith(".proved.lean"))


def test_there_are_enough() -> None:
    texts = [path.read_text() for path in EXAMPLES]
    assert len(texts) >= 4
    assert sum(len(re.findall(r"^theorem ", text, re.MULTILINE)) for text in texts) >= 25


@pytest.mark.lean
def test_all_compile_with_their_sorries(tmp_path: Path) -> None:
    """They import nothing and have namespaces of their own, so one run of Lean reads them all."""
    file = tmp_path / "All.lean"
    file.write_text("\n".join(path.read_text() for path in EXAMPLES))
    lean = embedded_lean(ensure_embedded())
    argv = lean.argv(["-DmaxErrors=1000", str(file)], mounts_of([file]))
    result = subprocess.run(argv, cwd=lean.cwd, env=lean.env, capture_output=True, text=True)
    assert "error" not in result.stdout
    assert result.stdout.count("declaration uses `sorry`") >= 25
