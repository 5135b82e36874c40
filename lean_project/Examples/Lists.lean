/-!
# Lists of one's own

Nothing about `Chain` is known to any library: all that can be used is in this file, and each theorem may
use those before it.
-/

namespace Lists

inductive Chain (α : Type) where
  | nil : Chain α
  | cons : α → Chain α → Chain α

namespace Chain

variable {α β γ : Type}

def append : Chain α → Chain α → Chain α
  | nil, ys => ys
  | cons x xs, ys => cons x (append xs ys)

local infixr:65 " +++ " => append

def length : Chain α → Nat
  | nil => 0
  | cons _ xs => length xs + 1

def reverse : Chain α → Chain α
  | nil => nil
  | cons x xs => reverse xs +++ cons x nil

/-- Reverses in one pass, onto what was already reversed. -/
def reverseOnto : Chain α → Chain α → Chain α
  | nil, done => done
  | cons x xs, done => reverseOnto xs (cons x done)

def map (f : α → β) : Chain α → Chain β
  | nil => nil
  | cons x xs => cons (f x) (map f xs)

theorem append_nil (xs : Chain α) : xs +++ nil = xs := by
  sorry

theorem append_assoc (xs ys zs : Chain α) : (xs +++ ys) +++ zs = xs +++ (ys +++ zs) := by
  sorry

theorem length_append (xs ys : Chain α) : (xs +++ ys).length = xs.length + ys.length := by
  sorry

theorem length_reverse (xs : Chain α) : xs.reverse.length = xs.length := by
  sorry

theorem reverse_append (xs ys : Chain α) : (xs +++ ys).reverse = ys.reverse +++ xs.reverse := by
  sorry

theorem reverse_reverse (xs : Chain α) : xs.reverse.reverse = xs := by
  sorry

theorem map_id (xs : Chain α) : xs.map (fun x => x) = xs := by
  sorry

theorem map_map (f : α → β) (g : β → γ) (xs : Chain α) : (xs.map f).map g = xs.map (fun x => g (f x)) := by
  sorry

theorem map_append (f : α → β) (xs ys : Chain α) : (xs +++ ys).map f = xs.map f +++ ys.map f := by
  induction xs with
  | nil => sorry
  | cons x xs ih => sorry

theorem length_map (f : α → β) (xs : Chain α) : (xs.map f).length = xs.length := by
  sorry

/-- The induction hypothesis must hold for every `done`. -/
theorem reverseOnto_eq (xs done : Chain α) : xs.reverseOnto done = xs.reverse +++ done := by
  sorry

theorem reverseOnto_nil (xs : Chain α) : xs.reverseOnto nil = xs.reverse := by
  sorry

end Chain

end Lists
