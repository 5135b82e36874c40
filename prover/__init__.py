"""An agent that proves Lean 4 theorems tactic by tactic."""

from __future__ import annotations

__version__ = "0.1.0"
