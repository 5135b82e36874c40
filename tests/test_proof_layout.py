"""Every layout of a proof, read by a real Lean: its parser takes what `prover.proof_layout` makes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from prover.lean.install import ensure_embedded
from prover.lean.toolchain import embedded_lean, mounts_of
from prover.theorem_file import Replacement, splice

#: Proofs of ``n < 3 → n < 4`` in the forms that proofs have.
PROOFS = (
    ("omega",),
    ("intro h", "omega"),
    ("rcases Nat.eq_zero_or_pos n with h | h", "· intro _", "  omega", "· intro _", "  omega"),
    ("induction n with", "| zero => intro _; omega", "| succ n ih => intro _; omega"),
    ("intro h", "first", "  | omega", "  | simp"),
)

#: Places for them: ``‹t›`` is a ``sorry`` as a tactic, ``‹e›`` one as a term, ``P`` what they prove.
PLACES = (
    "theorem t (n : Nat) : P := by ‹t›",
    "theorem t\n    (n : Nat) :\n    P := by ‹t› -- comment",
    "theorem t (n : Nat) : P := by\n  ‹t›",
    "theorem t (n : Nat) : P := by { ‹t› }",
    "theorem t (n : Nat) : P := by (‹t›)",
    "theorem t (n : Nat) : P := by ‹t›\n\n/-- doc -/\ntheorem u : True := by trivial",
    "theorem t (n : Nat) : P := by ‹t›\n@[simp] theorem u : True := by trivial",
    "theorem t (n : Nat) : P ∧ True := by\n  constructor\n  · ‹t›\n  · trivial",
    "theorem t (n : Nat) : P ∧ True := by\n  constructor\n  . ‹t›\n  . trivial",
    "theorem t (n : Nat) : P ∧ True := by\n  have h : P := by ‹t›\n  exact ⟨h, trivial⟩",
    "theorem t (n : Nat) : P ∧ True := by\n  have h : P := by\n    ‹t›\n  exact ⟨h, trivial⟩",
    "theorem t (n : Nat) : P ∧ True := by\n  constructor\n  · have h : P := by ‹t›\n    exact h\n  · trivial",
    "theorem t (n : Nat) : P ∧ True := by\n  refine ⟨?_, ?_⟩\n  case refine_1 => ‹t›\n  trivial",
    "theorem t (n : Nat) : P ∧ True :=\n  ⟨by ‹t›, by trivial⟩",
    "theorem t (n : Nat) : P ∧ P :=\n  ⟨by ‹t›, by ‹t›⟩",
    "theorem t (n : Nat) : P ∧ P :=\n  ⟨‹e›, ‹e›⟩",
    "theorem t (n : Nat) : P ∧ P := by\n  constructor <;> ‹t›",
    "theorem t (n : Nat) : P ∧ P := by\n  constructor <;>\n    ‹t›",
    "theorem t (n : Nat) : P ∧ P := by\n  constructor; ‹t›; ‹t›",
    "theorem t (n : Nat) : P ∧ P := by\n  constructor; all_goals ‹t›",
    "theorem t (n m : Nat) : P := by\n  cases m with\n  | zero => ‹t›\n  | succ m => ‹t›",
    "theorem t (n m : Nat) : P := by\n  cases m with | zero => ‹t› | succ m => ‹t›",
    "theorem t (n m : Nat) : P := by\n  cases m\n  case zero => ‹t›\n  case succ m => ‹t›",
    "theorem t (n m : Nat) : P := by\n  cases m with\n  | zero =>\n    ‹t›\n"
    "  | succ m => have h : P := by ‹t›\n              exact h",
    "theorem t (n m : Nat) : P :=\n  match m with\n  | 0 => ‹e›\n  | m + 1 => ‹e›",
    "theorem t (n m : Nat) : P :=\n  match m with\n  | 0 => by ‹t›\n  | m + 1 => by\n    ‹t›",
    "theorem t (n : Nat) : P := ‹e›",
    "theorem t (n : Nat) : P :=\n  ‹e›",
    "theorem t (n : Nat) : P ∨ False :=\n  Or.inl ‹e›",
    "theorem t (n : Nat) : P ∨ False :=\n  Or.inl <| ‹e›",
    "theorem t (n : Nat) : P ∨ False := by\n  exact Or.inl ‹e›",
    "theorem t (n : Nat) : P ∧ True :=\n  have h : P := ‹e›\n  ⟨h, trivial⟩",
    "theorem t (n : Nat) : P ∧ True :=\n  have h : P := by ‹t›\n  ⟨h, trivial⟩",
    "theorem t (n : Nat) : P ∧ True :=\n  have h := (‹e› : P)\n  ⟨h, trivial⟩",
    "theorem t (n : Nat) : P ↔ True := by\n"
    "  calc P ↔ True := ⟨fun _ => trivial, fun _ => by ‹t›⟩\n    _ ↔ True := Iff.rfl",
    "theorem t (n : Nat) : P := by\n  first\n  | ‹t›\n  | simp",
    "theorem t (n : Nat) : P := by\n  first | ‹t› | simp",
    "theorem t (n m : Nat) : P := by\n  if h : m = 0 then ‹t› else ‹t›",
    "theorem t (n m : Nat) : P := by\n  if h : m = 0 then\n    ‹t›\n  else\n    ‹t›",
    "theorem t (n m : Nat) : P :=\n  if h : m = 0 then ‹e› else ‹e›",
    "theorem t (n m : Nat) : P := by\n  by_cases h : m = 0; ‹t›; ‹t›",
    "theorem t (n : Nat) : P := by\n  suffices h : P from h\n  ‹t›",
    "theorem t (n : Nat) : P := by\n  exact (show P from by ‹t›)",
    "theorem t (n : Nat) : P := show P from ‹e›",
    "theorem t (n : Nat) : S n where\n  a := by ‹t›\n  b := ‹e›",
    "theorem t (n : Nat) : S n := { a := by ‹t›, b := by ‹t› }",
    "theorem t (n : Nat) : S n :=\n  { a := by ‹t›\n    b := by ‹t› }",
    "theorem t (n : Nat) : S n := by\n  constructor\n  case a => ‹t›\n  next => ‹t›",
    "theorem t (n : Nat) : P := aux n\nwhere\n  aux (n : Nat) : P := by ‹t›",
    "theorem t (n : Nat) : P := aux n\n  where aux (n : Nat) : P := by ‹t›",
)
STRUCTURE = "structure S (n : Nat) : Prop where\n  a : n < 3 → n < 4\n  b : n < 3 → n < 4\n"


def filled(place: str, proof: tuple[str, ...]) -> str:
    marked = re.sub(r"\bP\b", "(n < 3 → n < 4)", place)
    kinds = re.findall("‹(.)›", marked)
    text = re.sub("‹.›", "sorry", marked)
    starts = [match.start() for match in re.finditer(rb"sorry", text.encode())]
    spots = zip(starts, kinds, strict=True)
    return splice(text, [Replacement(start, start + 5, proof, kind == "t") for start, kind in spots])


@pytest.mark.lean
def test_lean_reads_every_proof_in_every_place(tmp_path: Path) -> None:
    cases = [filled(place, proof) for place in PLACES for proof in PROOFS]
    spaces = [f"namespace N{nth}\n{case}\nend N{nth}\n" for nth, case in enumerate(cases)]
    file = tmp_path / "Layouts.lean"
    file.write_text("\n".join([STRUCTURE, *spaces]))
    lean = embedded_lean(ensure_embedded())
    argv = lean.argv(["-DmaxErrors=1000", "-Dlinter.all=false", str(file)], mounts_of([file]))
    result = subprocess.run(argv, cwd=lean.cwd, env=lean.env, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.lean
def test_a_wrong_layout_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "Wrong.lean"
    file.write_text("theorem t (n : Nat) : n < 3 → n < 4 := by intro h\n  omega\n")
    lean = embedded_lean(ensure_embedded())
    argv = lean.argv([str(file)], mounts_of([file]))
    result = subprocess.run(argv, cwd=lean.cwd, env=lean.env, capture_output=True, text=True)
    assert result.returncode == 1 and "error" in result.stdout
