-- Honest proofs.

-- case: structural recursion
-- original
def len : List Nat → Nat
  | [] => 0
  | _ :: xs => len xs + 1
theorem t (xs ys : List Nat) : len (xs ++ ys) = len xs + len ys := sorry
-- candidate
def len : List Nat → Nat
  | [] => 0
  | _ :: xs => len xs + 1
theorem t (xs ys : List Nat) : len (xs ++ ys) = len xs + len ys :=
  match xs with
  | [] => by simp [len]
  | _ :: xs => by simp [len, t xs ys]; omega

-- case: well-founded recursion
-- original
theorem t (n : Nat) : n / 2 * 2 ≤ n := sorry
-- candidate
theorem t (n : Nat) : n / 2 * 2 ≤ n := by
  if h : n < 2 then omega
  else
    have := t (n - 2)
    omega
termination_by n
decreasing_by omega

-- case: well-founded definition
-- original
def half (n : Nat) : Nat := if h : n < 2 then 0 else half (n - 2) + 1
termination_by n
theorem t (n : Nat) : half n ≤ n := sorry
-- candidate
def half (n : Nat) : Nat := if h : n < 2 then 0 else half (n - 2) + 1
termination_by n
theorem t (n : Nat) : half n ≤ n := by
  unfold half
  split
  · omega
  · have := t (n - 2)
    omega
termination_by n

-- case: calc
-- original
theorem t (a b c : Nat) (h : a = b) (k : b < c) : a < c + 1 := sorry
-- candidate
theorem t (a b c : Nat) (h : a = b) (k : b < c) : a < c + 1 :=
  calc a = b := h
    _ < c := k
    _ < c + 1 := Nat.lt_succ_self c

-- case: match on hypotheses
-- original
theorem t (p q : Prop) : p ∧ q → q ∧ p := sorry
-- candidate
theorem t (p q : Prop) : p ∧ q → q ∧ p
  | ⟨hp, hq⟩ => ⟨hq, hp⟩

-- case: decide
-- original
theorem t : ∀ a b : Fin 4, a + b = b + a := sorry
-- candidate
theorem t : ∀ a b : Fin 4, a + b = b + a := by decide

-- case: decide by the kernel
-- original
theorem t : 2 ^ 64 % 7 = 2 := sorry
-- candidate
theorem t : 2 ^ 64 % 7 = 2 := by decide +kernel

-- case: rfl
-- original
theorem t : 2 + 2 = 4 := sorry
-- candidate
theorem t : 2 + 2 = 4 := rfl

-- case: omega
-- original
theorem t (a b : Int) (h : 2 * a < b) (k : b < 2 * a + 2) : b = 2 * a + 1 := sorry
-- candidate
theorem t (a b : Int) (h : 2 * a < b) (k : b < 2 * a + 2) : b = 2 * a + 1 := by omega

-- case: grind
-- original
theorem t (f : Nat → Nat) (h : f (f 1) = 1) (k : f 1 = 2) : f 2 = 1 := sorry
-- candidate
theorem t (f : Nat → Nat) (h : f (f 1) = 1) (k : f 1 = 2) : f 2 = 1 := by grind

-- case: simp
-- original
theorem t (xs : List Nat) : (xs ++ []).map id = xs := sorry
-- candidate
theorem t (xs : List Nat) : (xs ++ []).map id = xs := by simp

-- case: bullets and rcases
-- original
theorem t (p q r : Prop) (h : (p ∧ q) ∨ r) : (p ∨ r) ∧ (q ∨ r) := sorry
-- candidate
theorem t (p q r : Prop) (h : (p ∧ q) ∨ r) : (p ∨ r) ∧ (q ∨ r) := by
  rcases h with ⟨hp, hq⟩ | hr
  · exact ⟨.inl hp, .inl hq⟩
  · exact ⟨.inr hr, .inr hr⟩

-- case: induction
-- original
theorem t (n : Nat) : 0 + n = n := sorry
-- candidate
theorem t (n : Nat) : 0 + n = n := by
  induction n with
  | zero => rfl
  | succ n ih => rw [Nat.add_succ, ih]

-- case: classical logic
-- original
theorem t (p : Prop) : p ∨ ¬p := sorry
-- candidate
theorem t (p : Prop) : p ∨ ¬p := by
  by_cases h : p
  · exact .inl h
  · exact .inr h

-- case: choice and extensionality
-- original
theorem t (p : Nat → Nat → Prop) (h : ∀ n, ∃ m, p n m) : ∃ f : Nat → Nat, ∀ n, p n (f n) := sorry
theorem u (p q : Prop) (h : p ↔ q) : p = q := sorry
-- candidate
theorem t (p : Nat → Nat → Prop) (h : ∀ n, ∃ m, p n m) : ∃ f : Nat → Nat, ∀ n, p n (f n) :=
  ⟨fun n => Classical.choose (h n), fun n => Classical.choose_spec (h n)⟩
theorem u (p q : Prop) (h : p ↔ q) : p = q := propext h

-- case: an opaque function of the library
-- original
theorem t (s : String) : s.length = s.length + 0 := sorry
theorem u (x : Float) (h : x = x + x) : x + x = x := sorry
-- candidate
theorem t (s : String) : s.length = s.length + 0 := by simp
theorem u (x : Float) (h : x = x + x) : x + x = x := h.symm
