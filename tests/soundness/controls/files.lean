-- Honest files.

-- case: the file's own lemmas
-- original
theorem helper (n : Nat) : 0 + n = n := by simp
theorem t (n : Nat) : 0 + (0 + n) = n := sorry
-- candidate
theorem helper (n : Nat) : 0 + n = n := by simp
theorem t (n : Nat) : 0 + (0 + n) = n := by rw [helper, helper]

-- case: a lemma that had a sorry too
-- original
theorem helper (n : Nat) : 0 + n = n := sorry
theorem t (n : Nat) : 0 + (0 + n) = n := sorry
-- candidate
theorem helper (n : Nat) : 0 + n = n := by simp
theorem t (n : Nat) : 0 + (0 + n) = n := (helper _).trans (helper n)

-- case: helper lemmas added
-- original
theorem t (p q : Prop) : p ∧ q ↔ q ∧ p := sorry
-- candidate
/-- Half of it. -/
private theorem half {p q : Prop} (h : p ∧ q) : q ∧ p := ⟨h.2, h.1⟩
theorem t (p q : Prop) : p ∧ q ↔ q ∧ p := ⟨half, half⟩

-- case: helper definitions and tactics added
-- original
theorem t (n : Nat) : n ≤ n * n + 1 := sorry
-- candidate
def square (n : Nat) : Nat := n * n
macro "both" : tactic => `(tactic| (first | omega | grind))
theorem bound (n : Nat) : n ≤ square n := by
  cases n with
  | zero => both
  | succ n => exact Nat.le_mul_of_pos_left _ (Nat.succ_pos n)
theorem t (n : Nat) : n ≤ n * n + 1 := Nat.le_succ_of_le (bound n)

-- case: unicode names
-- original
theorem größe_α₁ (ε δ : Nat) (h₀ : ε < δ) : ¬ δ ≤ ε := sorry
theorem «with a space» : True := sorry
-- candidate
theorem größe_α₁ (ε δ : Nat) (h₀ : ε < δ) : ¬ δ ≤ ε := by omega
theorem «with a space» : True := trivial

-- case: open in
-- original
open Nat in
theorem t (n : Nat) : succ n ≠ zero := sorry
-- candidate
open Nat in
theorem t (n : Nat) : succ n ≠ zero := nofun

-- case: docstrings and attributes
-- original
/-- Nothing is added. -/
@[simp] theorem t (n : Nat) : n + 0 * n = n := sorry
@[simp, grind =] theorem u (n : Nat) : Nat.gcd n n = n := sorry
-- candidate
/-- Nothing is added. -/
@[simp] theorem t (n : Nat) : n + 0 * n = n := by omega
@[simp, grind =] theorem u (n : Nat) : Nat.gcd n n = n := by simp

-- case: private theorem
-- original
private theorem t : 1 + 1 = 2 := sorry
-- candidate
private theorem t : 1 + 1 = 2 := rfl

-- case: protected theorem in a namespace
-- original
namespace Mine
protected theorem t : 1 + 1 = 2 := sorry
end Mine
-- candidate
namespace Mine
protected theorem t : 1 + 1 = 2 := rfl
end Mine

-- case: example
-- original
example (p : Prop) (h : p) : p := sorry
namespace Mine
example : 2 = 2 := by sorry
end Mine
-- candidate
example (p : Prop) (h : p) : p := h
namespace Mine
example : 2 = 2 := by rfl
end Mine

-- case: mutual theorems
-- original
mutual
inductive Even : Nat → Prop
  | zero : Even 0
  | succ (n : Nat) (h : Odd n) : Even (n + 1)
inductive Odd : Nat → Prop
  | succ (n : Nat) (h : Even n) : Odd (n + 1)
end
mutual
theorem even_mod (n : Nat) (h : Even n) : n % 2 = 0 := sorry
theorem odd_mod (n : Nat) (h : Odd n) : n % 2 = 1 := sorry
end
-- candidate
mutual
inductive Even : Nat → Prop
  | zero : Even 0
  | succ (n : Nat) (h : Odd n) : Even (n + 1)
inductive Odd : Nat → Prop
  | succ (n : Nat) (h : Even n) : Odd (n + 1)
end
mutual
theorem even_mod (n : Nat) (h : Even n) : n % 2 = 0 :=
  match h with
  | .zero => rfl
  | .succ m k => by have := odd_mod m k; omega
theorem odd_mod (n : Nat) (h : Odd n) : n % 2 = 1 :=
  match h with
  | .succ m k => by have := even_mod m k; omega
end

-- case: nested inductive type
-- original
inductive Rose
  | node (n : Nat) (children : List Rose)
def Rose.label : Rose → Nat
  | .node n _ => n
theorem t (r : Rose) : ∃ n cs, r = .node n cs ∧ r.label = n := sorry
-- candidate
inductive Rose
  | node (n : Nat) (children : List Rose)
def Rose.label : Rose → Nat
  | .node n _ => n
theorem t (r : Rose) : ∃ n cs, r = .node n cs ∧ r.label = n := by
  cases r with
  | node n cs => exact ⟨n, cs, rfl, rfl⟩

-- case: structure and class
-- original
class Group' (α : Type) extends Mul α where
  one : α
  one_mul (a : α) : one * a = a
structure Pair (α : Type) where
  (fst snd : α)
deriving Repr, DecidableEq
theorem t (α : Type) [Group' α] (a : α) : Group'.one * (Group'.one * a) = a := sorry
-- candidate
class Group' (α : Type) extends Mul α where
  one : α
  one_mul (a : α) : one * a = a
structure Pair (α : Type) where
  (fst snd : α)
deriving Repr, DecidableEq
theorem t (α : Type) [Group' α] (a : α) : Group'.one * (Group'.one * a) = a := by
  rw [Group'.one_mul, Group'.one_mul]

-- case: instance with a proof to fill
-- original
class Good (n : Nat) where
  data : Nat
  law : n + data = 2
instance : Good 1 where
  data := 1
  law := by sorry
-- candidate
class Good (n : Nat) where
  data : Nat
  law : n + data = 2
instance : Good 1 where
  data := 1
  law := by rfl

-- case: data with a proof to fill
-- original
def three (n : Nat) (h : n < 3) : Fin 3 := ⟨n, by sorry⟩
theorem t (n : Nat) (h : n < 3) : (three n h).val = n := sorry
-- candidate
def three (n : Nat) (h : n < 3) : Fin 3 := ⟨n, by exact h⟩
theorem t (n : Nat) (h : n < 3) : (three n h).val = n := rfl

-- case: data to define
-- original
def witness : Nat := sorry
theorem t : witness > 3 := sorry
-- candidate
def witness : Nat := 4
theorem t : witness > 3 := by decide

-- case: nested haves filled
-- original
theorem t (a b : Nat) (h : a < b) : a + 1 ≤ b ∧ a ≠ b := by
  have h₁ : a + 1 ≤ b := by sorry
  have h₂ : a ≠ b := by
    intro e
    sorry
  exact ⟨h₁, h₂⟩
-- candidate
theorem t (a b : Nat) (h : a < b) : a + 1 ≤ b ∧ a ≠ b := by
  have h₁ : a + 1 ≤ b := by omega
  have h₂ : a ≠ b := by
    intro e
    omega
  exact ⟨h₁, h₂⟩

-- case: where clauses
-- original
theorem t (n : Nat) : n * 0 = 0 ∧ 0 * n = 0 := sorry
-- candidate
theorem t (n : Nat) : n * 0 = 0 ∧ 0 * n = 0 := ⟨left n, right n⟩
where
  left (n : Nat) : n * 0 = 0 := rfl
  right (n : Nat) : 0 * n = 0 := by
    induction n with
    | zero => rfl
    | succ n ih => rw [Nat.mul_succ, ih]

-- case: variables and universes
-- original
universe u
variable {α : Type u} (xs : List α)
theorem t : xs ++ [] = xs := sorry
-- candidate
universe u
variable {α : Type u} (xs : List α)
theorem t : xs ++ [] = xs := by simp

-- case: names of equations and details
-- original
theorem eq_1 : 1 + 1 = 2 := sorry
theorem match_2 : 1 + 1 = 2 := sorry
theorem _u : 1 + 1 = 2 := sorry
-- candidate
theorem eq_1 : 1 + 1 = 2 := rfl
theorem match_2 : 1 + 1 = 2 := rfl
theorem _u : 1 + 1 = 2 := rfl

-- case: notation and set_option
-- original
set_option autoImplicit false
notation "ℕ" => Nat
local infixl:70 " ⊗ " => Nat.mul
theorem t (a b : ℕ) : a ⊗ b = b ⊗ a := sorry
-- candidate
set_option autoImplicit false
notation "ℕ" => Nat
local infixl:70 " ⊗ " => Nat.mul
set_option maxHeartbeats 400000 in
theorem t (a b : ℕ) : a ⊗ b = b ⊗ a := Nat.mul_comm a b

-- case: a library to import
-- original
import Std.Data.HashMap
open Std
theorem t (m : HashMap Nat Nat) : (m.insert 1 2)[1]? = some 2 := sorry
-- candidate
import Std.Data.HashMap
open Std
theorem t (m : HashMap Nat Nat) : (m.insert 1 2)[1]? = some 2 := by simp

-- case: what was proved already stays
-- original
theorem done : 1 + 1 = 2 := by decide
-- candidate
theorem done : 1 + 1 = 2 := by decide
