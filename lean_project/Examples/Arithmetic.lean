/-!
# Arithmetic over `Nat` and `Int`

Linear facts, a little algebra, divisibility, and a first induction.
-/

namespace Arithmetic

open Nat

theorem add_comm_again (a b : Nat) : a + b = b + a := by
  sorry

theorem sandwich (a b : Nat) (h₁ : a ≤ b) (h₂ : b < a + 1) : a = b := by
  sorry

theorem odd_ne_even (m n : Nat) : 2 * m + 1 ≠ 2 * n := by
  sorry

theorem solve_system (x y : Int) (h₁ : 2 * x + y = 7) (h₂ : x - y = -1) : x = 2 ∧ y = 3 := by
  sorry

theorem sub_sub_again (a b c : Int) : a - (b - c) = a - b + c := by sorry

theorem square_of_sum (a b : Int) : (a + b) * (a + b) = a * a + 2 * a * b + b * b := by
  sorry

theorem pow_succ_two (n : Nat) : 2 ^ (n + 1) = 2 * 2 ^ n := by
  sorry

theorem lt_two_pow (n : Nat) : n < 2 ^ n := by
  induction n with
  | zero => sorry
  | succ n ih => sorry

theorem dvd_chain (a b c : Nat) (h₁ : a ∣ b) (h₂ : b ∣ c) : a ∣ c := by
  sorry

theorem square_mod_two (n : Nat) : n * n % 2 = n % 2 := by
  sorry

theorem consecutive_product_even (n : Nat) : n * (n + 1) % 2 = 0 := by
  sorry

theorem mul_self_nonneg (a : Int) : 0 ≤ a * a := by
  sorry

theorem max_le_iff_both (a b c : Nat) : max a b ≤ c ↔ a ≤ c ∧ b ≤ c := by
  sorry

/-- One step of a calculation is left open. -/
theorem chained (a b c : Nat) (h₁ : a = b + 1) (h₂ : b = c * 2) : a = 2 * c + 1 :=
  calc
    a = b + 1 := h₁
    _ = 2 * c + 1 := by sorry

end Arithmetic
