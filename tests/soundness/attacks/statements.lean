-- Another theorem than the one that was asked for.

-- case: a changed statement
-- original
theorem t : 1 = 2 := sorry
-- candidate
theorem t : 1 = 1 := rfl
-- refused: not the original

-- case: a hypothesis added
-- original
theorem t (n : Nat) : 0 < n := sorry
-- candidate
theorem t (n : Nat) (h : 0 < n) : 0 < n := h
-- refused: not the original

-- case: an instance argument added
-- original
theorem t (p : Prop) : p ∨ ¬p := sorry
-- candidate
theorem t (p : Prop) [h : Decidable p] : p ∨ ¬p := h.em
-- refused: not the original

-- case: a variable adds a hypothesis
-- original
theorem t (n : Nat) : 0 < n := sorry
-- candidate
variable (h : ∀ n : Nat, 0 < n)
include h
theorem t (n : Nat) : 0 < n := h n
-- refused: not the original

-- case: a narrower type
-- original
theorem t (n : Int) : 0 ≤ n * n := sorry
-- candidate
theorem t (n : Nat) : 0 ≤ n * n := Nat.zero_le _
-- refused: not the original

-- case: a narrower universe
-- original
theorem t.{u} (α : Type u) (a : α) : ∃ b, a = b := sorry
-- candidate
theorem t (α : Type) (a : α) : ∃ b, a = b := ⟨a, rfl⟩
-- refused: not the original

-- case: a stronger hypothesis
-- original
theorem t (n : Nat) (h : n ≤ 1) : n = 0 ∨ n = 1 := sorry
-- candidate
theorem t (n : Nat) (h : n ≤ 0) : n = 0 ∨ n = 1 := by omega
-- refused: not the original

-- case: a changed definition
-- original
def f (n : Nat) : Nat := n + 1
theorem t : f 1 = 5 := sorry
-- candidate
def f (n : Nat) : Nat := n + 4
theorem t : f 1 = 5 := rfl
-- refused: rests on f

-- case: a changed definition two steps away
-- original
def f (n : Nat) : Nat := n + 1
def g (n : Nat) : Nat := f (f n)
theorem t : g 1 = 9 := sorry
-- candidate
def f (n : Nat) : Nat := n + 4
def g (n : Nat) : Nat := f (f n)
theorem t : g 1 = 9 := rfl
-- refused: rests on f

-- case: a changed constructor
-- original
inductive Tree
  | leaf
  | node (l r : Tree) (n : Nat)
theorem t (a : Tree) : a = .leaf := sorry
-- candidate
inductive Tree
  | leaf
theorem t (a : Tree) : a = .leaf := by cases a; rfl
-- refused: rests on Tree

-- case: a changed structure field
-- original
structure Point where
  x : Nat
  h : x = 0
theorem t (p q : Point) : p.x = q.x := sorry
-- candidate
structure Point where
  x : Fin 1
  h : x = 0
theorem t (p q : Point) : p.x = q.x := by rw [p.h, q.h]
-- refused: *

-- case: a changed instance
-- original
structure P where
  n : Nat
instance : Add P := ⟨fun a b => ⟨a.n + b.n⟩⟩
theorem t (a b : P) : a + b = a := sorry
-- candidate
structure P where
  n : Nat
instance : Add P := ⟨fun a _ => a⟩
theorem t (a b : P) : a + b = a := rfl
-- refused: rests on

-- case: a changed abbreviation
-- original
abbrev Number := Nat
theorem t (a : Number) (b : Number) : a = b := sorry
-- candidate
abbrev Number := Unit
theorem t (a : Number) (b : Number) : a = b := rfl
-- refused: rests on Number

-- case: a theorem deleted
-- original
theorem t : 1 = 1 := sorry
theorem u : 1 = 2 := sorry
-- candidate
theorem t : 1 = 1 := rfl
-- refused: missing

-- case: a theorem renamed
-- original
theorem t : 1 = 1 := sorry
-- candidate
theorem t' : 1 = 1 := rfl
-- refused: missing

-- case: everything after #exit
-- original
theorem t : 1 = 1 := sorry
theorem u : 1 = 2 := sorry
-- candidate
theorem t : 1 = 1 := rfl
#exit
theorem u : 1 = 2 := sorry
-- refused: missing

-- case: a theorem commented out
-- original
theorem t : 1 = 2 := sorry
-- candidate
/-
theorem t : 1 = 2 := sorry
-/
-- refused: missing

-- case: an example replaced by another
-- original
example : 1 = 2 := sorry
-- candidate
example : 1 = 1 := rfl
-- refused: not the original

-- case: an example in a namespace
-- original
theorem t : 1 = 1 := rfl
namespace N
example : 1 = 2 := sorry
end N
-- candidate
theorem t : 1 = 1 := rfl
namespace N
example : 1 = 2 := sorry
end N
-- refused: sorry

-- case: a theorem with the name of an equation
-- original
theorem t : 1 = 1 := rfl
theorem eq_1 : 1 = 2 := sorry
-- candidate
theorem t : 1 = 1 := rfl
theorem eq_1 : 1 = 2 := sorry
-- refused: sorry

-- case: a theorem with the name of a detail
-- original
theorem t : 1 = 1 := rfl
theorem _u : 1 = 2 := sorry
-- candidate
theorem t : 1 = 1 := rfl
theorem _u : 1 = 2 := sorry
-- refused: sorry

-- case: a sorry in a private theorem
-- original
theorem t : 1 = 1 := rfl
private theorem u : 1 = 2 := sorry
-- candidate
theorem t : 1 = 1 := rfl
private theorem u : 1 = 2 := sorry
-- refused: sorry

-- case: a sorry inside data
-- original
theorem t : 1 = 1 := rfl
def three : Fin 3 := ⟨7, by sorry⟩
-- candidate
theorem t : 1 = 1 := rfl
def three : Fin 3 := ⟨7, by sorry⟩
-- refused: sorry

-- case: a sorry inside an instance
-- original
class Good (n : Nat) where
  data : Nat
  law : n + data = 2
instance : Good 5 where
  data := 1
  law := by sorry
-- candidate
class Good (n : Nat) where
  data : Nat
  law : n + data = 2
instance : Good 5 where
  data := 1
  law := by sorry
-- refused: *

-- case: an import added
-- original
theorem t : 1 = 1 := sorry
-- candidate
import Std
theorem t : 1 = 1 := rfl
-- refused: imports

-- case: an import removed
-- original
import Init.Data.List.Basic
theorem t : 1 = 1 := sorry
-- candidate
prelude
theorem t : 1 = 1 := rfl
-- refused: imports
