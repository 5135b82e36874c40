/-!
# Even, odd, and sums

Inductive predicates and recursive functions on numbers.
-/

namespace Numbers

mutual
  inductive Even : Nat → Prop
    | zero : Even 0
    | succ {n : Nat} : Odd n → Even (n + 1)
  inductive Odd : Nat → Prop
    | succ {n : Nat} : Even n → Odd (n + 1)
end

theorem even_two : Even 2 := by
  sorry

theorem odd_of_even_succ {n : Nat} (h : Even (n + 1)) : Odd n := by
  sorry

theorem not_odd_zero : ¬Odd 0 := by
  sorry

theorem even_or_odd (n : Nat) : Even n ∨ Odd n := by
  sorry

theorem even_double (n : Nat) : Even (2 * n) := by
  sorry

/-- Hard: the induction goes over both predicates at once. -/
theorem not_even_and_odd (n : Nat) (he : Even n) (ho : Odd n) : False := by
  sorry

/-- `0 + 1 + … + n` -/
def sumTo : Nat → Nat
  | 0 => 0
  | n + 1 => sumTo n + (n + 1)

def sumOfOdds : Nat → Nat
  | 0 => 0
  | n + 1 => sumOfOdds n + (2 * n + 1)

def factorial : Nat → Nat
  | 0 => 1
  | n + 1 => (n + 1) * factorial n

def fib : Nat → Nat
  | 0 => 0
  | 1 => 1
  | n + 2 => fib n + fib (n + 1)

theorem sumTo_ten : sumTo 10 = 55 := by
  sorry

theorem two_mul_sumTo (n : Nat) : 2 * sumTo n = n * (n + 1) := by
  sorry

theorem le_sumTo (n : Nat) : n ≤ sumTo n := by
  sorry

theorem sumOfOdds_eq_square (n : Nat) : sumOfOdds n = n * n := by
  induction n with
  | zero => sorry
  | succ n ih =>
    simp only [sumOfOdds, ih]
    sorry

theorem factorial_pos (n : Nat) : 0 < factorial n := by
  sorry

theorem fib_add_two (n : Nat) : fib (n + 2) = fib n + fib (n + 1) := by
  sorry

theorem fib_pos (n : Nat) : 0 < fib (n + 1) := by
  sorry

/-- Hard: the addition law needs a stronger induction. -/
theorem fib_add (m n : Nat) : fib (m + n + 1) = fib m * fib n + fib (m + 1) * fib (n + 1) := by
  sorry

end Numbers
