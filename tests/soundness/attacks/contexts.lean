-- The same letters, with another meaning.

-- case: a local instance before the theorem
-- original
theorem t (a b : Nat) : a + b = a * b := sorry
-- candidate
local instance : Add Nat := ⟨Nat.mul⟩
theorem t (a b : Nat) : a + b = a * b := rfl
-- refused: not the original

-- case: a local notation
-- original
theorem t (a b : Nat) : a + b = a := sorry
-- candidate
local infixl:65 (priority := high) " + " => fun (a _ : Nat) => a
theorem t (a b : Nat) : a + b = a := rfl
-- refused: not the original

-- case: a macro for a number
-- original
theorem t : 1 = 2 := sorry
-- candidate
macro_rules | `(1) => `(2)
theorem t : 1 = 2 := rfl
-- refused: *

-- case: a macro for the equality sign
-- original
theorem t : 1 = 2 := sorry
-- candidate
macro_rules | `($a = $b) => `(True)
theorem t : 1 = 2 := trivial
-- refused: not the original

-- case: a constant shadowed in a namespace
-- original
namespace N
theorem t : Nat.succ 1 = 5 := sorry
end N
-- candidate
namespace N
def Nat.succ (_ : _root_.Nat) : _root_.Nat := 5
theorem t : Nat.succ 1 = 5 := rfl
end N
-- refused: not the original

-- case: a constant shadowed by open
-- original
def f (n : Nat) : Nat := n
theorem t : f 1 = 2 := sorry
-- candidate
def f (n : Nat) : Nat := n
namespace N
scoped notation "f" => Nat.succ
end N
open N
theorem t : f 1 = 2 := rfl
-- refused: not the original

-- case: a variable with a default instance
-- original
theorem t (x : Nat) (h : x = x) : x < 3 := sorry
-- candidate
abbrev Small := Fin 3
local notation "Nat" => Small
theorem t (x : Nat) (h : x = x) : x < 3 := x.isLt
-- refused: not the original

-- case: autoImplicit turns a name into a variable
-- original
def q : Prop := False
theorem t : q → q → False := sorry
-- candidate
set_option autoImplicit true
namespace N
def q : Prop := False
theorem t : (q → r) → q → r := fun h => h
end N
-- refused: missing

-- case: autoImplicit changed
-- original
set_option autoImplicit false
def R : Prop := True
theorem t : R ∧ False := sorry
-- candidate
set_option autoImplicit true
theorem t : (R ∧ False) → (R ∧ False) := id
-- refused: not the original

-- case: a coercion
-- original
theorem t (n : Nat) : (n : Int) = 0 := sorry
-- candidate
local instance (priority := high) : NatCast Int := ⟨fun _ => 0⟩
local instance (priority := high) : IntCast Int := ⟨fun _ => 0⟩
theorem t (n : Nat) : (n : Int) = 0 := rfl
-- refused: *

-- case: a namespace closed early
-- original
namespace N
theorem t : 1 = 2 := sorry
end N
-- candidate
namespace N
end N
theorem t : 1 = 2 := absurd rfl (fun _ => trivial)
namespace N
theorem t' : 1 = 1 := rfl
end N
-- refused: *

-- case: sorryAx by another name
-- original
theorem t : 1 = 2 := sorry
-- candidate
namespace N
axiom sorryAx (α : Sort u) (synthetic : Bool) : α
end N
theorem t : 1 = 2 := N.sorryAx _ true
-- refused: uses the axiom N.sorryAx

-- case: sorryAx of the file's own, opened
-- original
theorem t : 1 = 2 := sorry
-- candidate
namespace N
theorem sorryAx (_ : Prop) : 1 = 1 := rfl
end N
open N
theorem t : 1 = 2 := sorry
-- refused: *
