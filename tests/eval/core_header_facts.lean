/-! Facts of Mathlib, by the names they have there, that determine what the core header's definitions mean.
Comes after the header; every one must be accepted. -/

/-! ## Sets -/

theorem Set.mem_setOf_eq (p : ℕ → Prop) (a : ℕ) : (a ∈ {x | p x}) = p a := rfl
theorem Set.mem_singleton_iff (a b : ℕ) : a ∈ ({b} : Set ℕ) ↔ a = b := Iff.rfl
theorem Set.mem_diff (s t : Set ℕ) (a : ℕ) : a ∈ s \ t ↔ a ∈ s ∧ ¬a ∈ t := Iff.rfl
theorem Set.ext (s t : Set ℕ) (h : ∀ a, a ∈ s ↔ a ∈ t) : s = t := funext fun a => propext (h a)
example : IsLeast {n : ℕ | 4 ≤ n ∧ n ∣ 12} 4 := ⟨⟨by decide, by decide⟩, fun _ h => h.1⟩
example : IsGreatest {n : ℤ | n < 3} 2 := ⟨show (2 : ℤ) < 3 by decide, fun _ h => Int.le_of_lt_add_one h⟩

/-! ## Finite sets -/

theorem Finset.mem_range (n x : ℕ) : x ∈ Finset.range n ↔ x < n := List.mem_range
theorem Finset.mem_Icc (a b x : ℕ) : x ∈ Finset.Icc a b ↔ a ≤ x ∧ x ≤ b := LocallyFiniteOrder.mem_Icc a b x

theorem Finset.mem_filter {α : Type} (p : α → Prop) [DecidablePred p] (s : Finset α) (x : α) :
    x ∈ Finset.filter p s ↔ x ∈ s ∧ p x := by
  obtain ⟨l, h⟩ := s
  induction l using Quotient.inductionOn with
  | _ l => exact List.mem_filter.trans (and_congr_right fun _ => decide_eq_true_iff)

theorem Finset.ext (s t : Finset ℕ) (h : ∀ x, x ∈ s ↔ x ∈ t) : s = t := by
  obtain ⟨l, hl⟩ := s
  obtain ⟨m, hm⟩ := t
  induction l using Quotient.inductionOn with
  | _ l =>
    induction m using Quotient.inductionOn with
    | _ m =>
      have perm : l.Perm m := by
        rw [List.perm_iff_count]
        intro x
        simp only [List.Nodup.count hl, List.Nodup.count hm, show x ∈ l ↔ x ∈ m from h x]
      congr 1
      exact Quotient.sound perm

theorem Finset.card_range (n : ℕ) : (Finset.range n).card = n := List.length_range
theorem Nat.card_Icc (a b : ℕ) : (Finset.Icc a b).card = b + 1 - a := List.length_range'

theorem Finset.sum_range_zero (f : ℕ → ℤ) : ∑ k ∈ Finset.range 0, f k = 0 := rfl
theorem Finset.sum_range_succ (f : ℕ → ℕ) (n : ℕ) :
    ∑ k ∈ Finset.range (n + 1), f k = ∑ k ∈ Finset.range n, f k + f n := by
  have foldr (l : List ℕ) (b : ℕ) : l.foldr (· + ·) b = l.foldr (· + ·) 0 + b := by
    induction l with
    | nil => simp
    | cons _ _ ih => simp only [List.foldr_cons, ih, Nat.add_assoc]
  show ((List.range (n + 1)).map f).foldr (· + ·) 0 = ((List.range n).map f).foldr (· + ·) 0 + f n
  rw [List.range_succ, List.map_append, List.foldr_append, foldr]
  simp

theorem Finset.prod_range_zero (f : ℕ → ℤ) : ∏ k ∈ Finset.range 0, f k = 1 := rfl
theorem Finset.prod_range_succ (f : ℕ → ℕ) (n : ℕ) :
    ∏ k ∈ Finset.range (n + 1), f k = (∏ k ∈ Finset.range n, f k) * f n := by
  have foldr (l : List ℕ) (b : ℕ) : l.foldr (· * ·) b = l.foldr (· * ·) 1 * b := by
    induction l with
    | nil => simp
    | cons _ _ ih => simp only [List.foldr_cons, ih, Nat.mul_assoc]
  show ((List.range (n + 1)).map f).foldr (· * ·) 1 = ((List.range n).map f).foldr (· * ·) 1 * f n
  rw [List.range_succ, List.map_append, List.foldr_append, foldr]
  simp

-- The notations bind as tightly as Mathlib's: tighter than +, less tightly than *.
example (f : ℕ → ℕ) : ∑ k ∈ Finset.range 9, f k + 1 = (Finset.sum (Finset.range 9) f) + 1 := rfl
example (f : ℕ → ℕ) : ∏ k ∈ Finset.range 9, f k - 1 = (Finset.prod (Finset.range 9) f) - 1 := rfl
example (f : ℕ → ℕ) : ∑ k ∈ Finset.range 9, f k * 2 = Finset.sum (Finset.range 9) (fun k => f k * 2) := rfl
example : ∑ k ∈ Finset.Icc 3 5, k ^ 2 = 50 := by decide
example : ∑ k ∈ Finset.range 3, (↑(k : ℕ) - 2 : ℤ) = -3 := by decide
example : ∏ k ∈ Finset.filter (fun k => k % 2 = 1) (Finset.range 6), k = 15 := by decide

/-! ## Numbers -/

theorem abs_of_nonneg (a : ℤ) (h : 0 ≤ a) : abs a = a := by unfold abs; omega
theorem abs_of_nonpos (a : ℤ) (h : a ≤ 0) : abs a = -a := by unfold abs; omega
example : abs (-3 / 2 : ℚ) = 3 / 2 := by decide +kernel
example : (1 / 0 : ℚ) = 0 := by decide +kernel
example : (6 / 4 : ℚ).num = 3 ∧ (6 / 4 : ℚ).den = 2 := by decide +kernel

theorem Nat.even_iff (n : ℕ) : Even n ↔ n % 2 = 0 := ⟨fun ⟨_, _⟩ => by omega, fun _ => ⟨n / 2, by omega⟩⟩
theorem Nat.odd_iff (n : ℕ) : Odd n ↔ n % 2 = 1 := ⟨fun ⟨_, _⟩ => by omega, fun _ => ⟨n / 2, by omega⟩⟩
theorem Int.even_iff (n : ℤ) : Even n ↔ n % 2 = 0 := ⟨fun ⟨_, _⟩ => by omega, fun _ => ⟨n / 2, by omega⟩⟩
theorem Int.odd_iff (n : ℤ) : Odd n ↔ n % 2 = 1 := ⟨fun ⟨_, _⟩ => by omega, fun _ => ⟨n / 2, by omega⟩⟩
example : Even 4 ∧ ¬Even 5 ∧ Odd 5 ∧ ¬Odd 4 := by decide
example : Even (-4 : ℤ) ∧ ¬Even (-5 : ℤ) ∧ Odd (-5 : ℤ) ∧ ¬Odd (-4 : ℤ) := by decide

theorem Nat.modEq_iff (n a b : ℕ) : a ≡ b [MOD n] ↔ a % n = b % n := Iff.rfl
theorem Int.modEq_iff_dvd (n a b : ℤ) : a ≡ b [ZMOD n] ↔ n ∣ b - a :=
  eq_comm.trans (Int.emod_eq_emod_iff_emod_sub_eq_zero.trans Int.dvd_iff_emod_eq_zero.symm)
example : 30 * 39 ≡ 42 [MOD 47] ∧ ¬30 * 38 ≡ 42 [MOD 47] := by decide
example : -1 ≡ 4 [ZMOD 5] ∧ ¬-1 ≡ 1 [ZMOD 5] := by decide

theorem Nat.factorial_succ (n : ℕ) : (n + 1)! = (n + 1) * n ! := rfl
example : 0! = 1 ∧ 5 ! = 120 := by decide

theorem Nat.choose_succ_succ (n k : ℕ) : choose (n + 1) (k + 1) = choose n k + choose n (k + 1) := rfl
theorem Nat.choose_zero_right (n : ℕ) : choose n 0 = 1 := by cases n <;> rfl
example : choose 5 2 = 10 ∧ choose 2 5 = 0 ∧ choose 0 0 = 1 := by decide

/-- `Irreducible p`, with Mathlib's `Nat.isUnit_iff`. -/
theorem Nat.prime_iff_irreducible (p : ℕ) : Nat.Prime p ↔ ¬p = 1 ∧ ∀ a b, p = a * b → a = 1 ∨ b = 1 := by
  constructor
  · intro ⟨two, h⟩
    refine ⟨by omega, fun a b e => (h a ⟨b, e⟩).imp_right fun ea => ?_⟩
    subst ea
    exact Nat.eq_of_mul_eq_mul_left (by omega) (by omega : a * b = a * 1)
  · intro ⟨one, h⟩
    refine ⟨?_, fun m ⟨c, e⟩ => (h m c e).imp_right fun ec => by simp [e, ec]⟩
    have := h 0 0
    omega
example : Nat.Prime 2 ∧ Nat.Prime 7 ∧ ¬Nat.Prime 0 ∧ ¬Nat.Prime 1 ∧ ¬Nat.Prime 9 := by decide

theorem Nat.mem_divisors (n d : ℕ) : d ∈ divisors n ↔ d ∣ n ∧ n ≠ 0 := by
  rw [divisors, Finset.mem_filter, Finset.mem_Icc]
  refine ⟨fun ⟨_, h⟩ => ⟨h, by omega⟩, fun ⟨h, n0⟩ => ?_⟩
  exact ⟨⟨Nat.pos_of_dvd_of_pos h (by omega), Nat.le_of_dvd (by omega) h⟩, h⟩
theorem Nat.mem_properDivisors (n d : ℕ) : d ∈ properDivisors n ↔ d ∣ n ∧ d < n := by
  rw [properDivisors, Finset.mem_filter, Finset.mem_Icc]
  refine ⟨fun ⟨_, h⟩ => ⟨h, by omega⟩, fun ⟨h, l⟩ => ?_⟩
  exact ⟨⟨Nat.pos_of_dvd_of_pos h (by omega), by omega⟩, h⟩
example : (divisors 12).card = 6 ∧ ∑ d ∈ properDivisors 6, d = 6 := by decide

theorem Nat.sqrtAux_spec (n fuel m : ℕ) (enough : n ≤ m + fuel) (h : m * m ≤ n) :
    sqrtAux n fuel m * sqrtAux n fuel m ≤ n ∧ n < (sqrtAux n fuel m + 1) * (sqrtAux n fuel m + 1) := by
  induction fuel generalizing m with
  | zero => exact ⟨h, by simp only [sqrtAux, Nat.mul_add, Nat.add_mul]; omega⟩
  | succ fuel ih =>
    unfold sqrtAux
    split
    · exact ih (m + 1) (by omega) (by assumption)
    · exact ⟨h, by omega⟩
theorem Nat.sqrt_le (n : ℕ) : sqrt n * sqrt n ≤ n := (Nat.sqrtAux_spec n n 0 (by omega) (by omega)).1
theorem Nat.lt_succ_sqrt (n : ℕ) : n < (sqrt n + 1) * (sqrt n + 1) :=
  (Nat.sqrtAux_spec n n 0 (by omega) (by omega)).2
example : sqrt 196 = 14 ∧ sqrt 195 = 13 := by decide

theorem Nat.digits_def' (b n : ℕ) (hb : 1 < b) (hn : 0 < n) : digits b n = n % b :: digits b (n / b) := by
  have enough (n : ℕ) : ∀ i j, n ≤ i → n ≤ j → digitsAux b i n = digitsAux b j n := by
    induction n using Nat.strongRecOn with
    | _ n ih =>
      intro i j hi hj
      match n, i, j with
      | 0, i, j => cases i <;> cases j <;> rfl
      | n + 1, i + 1, j + 1 =>
        have := Nat.div_lt_self (Nat.succ_pos n) hb
        simp only [digitsAux, List.cons.injEq, true_and]
        exact ih _ this i j (by omega) (by omega)
  match b, n with
  | b + 2, n + 1 =>
    have := Nat.div_lt_self (Nat.add_one_pos n) hb
    show _ :: digitsAux _ n _ = _ :: digitsAux _ _ _
    rw [enough _ n ((n + 1) / (b + 2)) (by omega) (Nat.le_refl _)]
theorem Nat.digits_zero (b : ℕ) : digits b 0 = [] := by
  match b with
  | 0 => rfl
  | 1 => rfl
  | b + 2 => rfl
example : digits 10 123 = [3, 2, 1] ∧ digits 2 4 = [0, 0, 1] ∧ digits 0 7 = [7] ∧ digits 1 3 = [1, 1, 1] := by decide
