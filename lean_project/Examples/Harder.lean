/-!
# Harder ones

Each has a short proof, but one with an idea in it: a witness, a stronger statement, a diagonal. Simple tactics
find few of them.
-/

namespace Harder

variable {α : Type} {P : α → Prop}

/-- The barber who shaves just those who do not shave themselves. -/
theorem no_barber {shaves : α → α → Prop} (b : α) (h : ∀ x, shaves b x ↔ ¬shaves x x) : False := by
  sorry

/-- The drinker: the witness depends on a case split. -/
theorem drinker [Inhabited α] : ∃ x, P x → ∀ y, P y := by
  sorry

/-- Cantor: no function from a type reaches all its predicates. -/
theorem cantor (f : α → α → Prop) : ∃ Q : α → Prop, ∀ x, f x ≠ Q := by
  sorry

/-- `√2` is irrational. -/
theorem sqrt_two_irrational (a b : Nat) (h : a * a = 2 * (b * b)) : b = 0 := by
  sorry

theorem le_of_strictly_increasing (f : Nat → Nat) (h : ∀ n, f n < f (n + 1)) : ∀ n, n ≤ f n := by
  sorry

/-- The pigeonhole principle for three numbers. -/
theorem two_of_three_alike (a b c : Nat) : (a + b) % 2 = 0 ∨ (b + c) % 2 = 0 ∨ (a + c) % 2 = 0 := by
  sorry

end Harder
