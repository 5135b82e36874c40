import Mathlib.Data.Real.Basic
import Mathlib.Tactic.Linarith
import Mathlib.Tactic.Positivity
import Mathlib.Tactic.Ring

/-!
# Theorems about real numbers, for a Lean with Mathlib

`prove lean_project/WithMathlib/MathlibExamples/Reals.lean`, after the project was built (see its lakefile).
-/

namespace Reals

theorem square_of_sum (a b : ℝ) : (a + b) ^ 2 = a ^ 2 + 2 * a * b + b ^ 2 := by
  sorry

theorem between (a b : ℝ) (h : a < b) : a < (a + b) / 2 ∧ (a + b) / 2 < b := by
  sorry

theorem sum_of_squares_nonneg (a b : ℝ) : 0 ≤ a ^ 2 + b ^ 2 := by
  sorry

theorem product_le_half_sum_of_squares (a b : ℝ) : a * b ≤ (a ^ 2 + b ^ 2) / 2 := by
  sorry

end Reals
