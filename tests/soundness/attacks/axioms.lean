-- New axioms, wherever they hide.

-- case: a new axiom
-- original
theorem t : 1 = 2 := sorry
-- candidate
axiom cheat : 1 = 2
theorem t : 1 = 2 := cheat
-- refused: uses the axiom cheat

-- case: an axiom in a namespace
-- original
theorem t : 1 = 2 := sorry
-- candidate
namespace Lean.Grind
axiom done : False
end Lean.Grind
theorem t : 1 = 2 := Lean.Grind.done.elim
-- refused: uses the axiom Lean.Grind.done

-- case: an axiom with the end of a standard name
-- original
theorem t : 1 = 2 := sorry
-- candidate
namespace Mine
axiom propext : 1 = 2
end Mine
open Mine in
theorem t : 1 = 2 := Mine.propext
-- refused: uses the axiom Mine.propext

-- case: a private axiom
-- original
theorem t : 1 = 2 := sorry
-- candidate
private axiom cheat : 1 = 2
theorem t : 1 = 2 := cheat
-- refused: uses the axiom

-- case: an axiom of data
-- original
theorem t : Nonempty Empty := sorry
-- candidate
axiom thing : Empty
theorem t : Nonempty Empty := ⟨thing⟩
-- refused: uses the axiom thing

-- case: an axiom behind an opaque constant
-- original
theorem t : 1 = 2 := sorry
-- candidate
axiom cheat : 1 = 2
opaque hidden : 1 = 2 ∧ True := ⟨cheat, trivial⟩
theorem t : 1 = 2 := hidden.1
-- refused: uses the axiom cheat

-- case: an axiom in an inductive type
-- original
theorem t : 1 = 2 := sorry
-- candidate
axiom cheat : PUnit.{1} → Empty
inductive Box : Type
  | mk (e : (fun _ : Empty => Unit) (cheat ⟨⟩) = Unit)
theorem t : 1 = 2 := (cheat ⟨⟩).elim
-- refused: uses the axiom cheat

-- case: an axiom behind an instance
-- original
theorem t : 1 = 2 := sorry
-- candidate
axiom cheat (n m : Nat) : n = m
instance : Subsingleton Nat := ⟨cheat⟩
theorem t : 1 = 2 := Subsingleton.elim _ _
-- refused: uses the axiom cheat

-- case: the theorem itself is an axiom
-- original
theorem t : 1 = 2 := sorry
-- candidate
axiom t : 1 = 2
-- refused: *

-- case: the theorem is opaque
-- original
theorem t : 1 = 1 := sorry
-- candidate
opaque t : 1 = 1 := rfl
-- refused: not the original

-- case: the theorem is a definition
-- original
theorem t : 1 = 1 := sorry
-- candidate
def t : 1 = 1 := rfl
-- refused: not the original

-- case: an axiom of the original is not allowed either
-- original
axiom given : 1 = 2
theorem t : 1 = 2 := sorry
-- candidate
axiom given : 1 = 2
theorem t : 1 = 2 := given
-- refused: uses the axiom given

-- case: variables turned into an axiom
-- original
theorem t (h : 1 = 2) : 3 = 4 := sorry
-- candidate
axiom h : 1 = 2
theorem t (_ : 1 = 2) : 3 = 4 := absurd h (by decide)
-- refused: uses the axiom h
