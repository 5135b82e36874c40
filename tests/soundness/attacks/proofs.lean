-- Proofs that are none.

-- case: sorry
-- original
theorem t : 1 = 2 := sorry
-- candidate
theorem t : 1 = 2 := sorry
-- refused: sorry

-- case: admit
-- original
theorem t : 1 = 2 := sorry
-- candidate
theorem t : 1 = 2 := by admit
-- refused: sorry

-- case: sorryAx
-- original
theorem t : 1 = 2 := sorry
-- candidate
theorem t : 1 = 2 := sorryAx (1 = 2) false
-- refused: sorry

-- case: sorry behind a lemma
-- original
theorem t : 1 = 2 := sorry
-- candidate
theorem helper : 1 = 2 := by sorry
theorem t : 1 = 2 := helper
-- refused: sorry

-- case: sorry behind a definition
-- original
theorem t : 1 = 2 := sorry
-- candidate
def cast : 1 = 2 ∧ True := ⟨sorry, trivial⟩
def again := cast
theorem t : 1 = 2 := again.1
-- refused: sorry

-- case: sorry in a nested have
-- original
theorem t (p : Prop) : p → p ∧ 1 = 2 := sorry
-- candidate
theorem t (p : Prop) : p → p ∧ 1 = 2 := by
  intro h
  have : 1 = 2 := by sorry
  exact ⟨h, this⟩
-- refused: sorry

-- case: sorry of another universe, in a match
-- original
theorem t (n : Nat) : n = n + 1 := sorry
-- candidate
theorem t (n : Nat) : n = n + 1 :=
  match n with
  | 0 => nomatch (sorry : Empty)
  | _ + 1 => (sorry : Empty).elim
-- refused: sorry

-- case: one sorry of two is left
-- original
theorem t : 1 = 1 := sorry
theorem u : 2 = 2 := sorry
-- candidate
theorem t : 1 = 1 := rfl
theorem u : 2 = 2 := sorry
-- refused: sorry

-- case: apply? as a proof
-- original
theorem t (n : Nat) (h : n * n = 2) : False := sorry
-- candidate
theorem t (n : Nat) (h : n * n = 2) : False := by apply?
-- refused: *

-- case: exact? as a proof
-- original
theorem t (a b : Nat) : a + b = b + a := sorry
-- candidate
theorem t (a b : Nat) : a + b = b + a := by exact?
-- refused: a search tactic

-- case: a proof with an error
-- original
theorem t (n : Nat) : n = n + 1 := sorry
-- candidate
theorem t (n : Nat) : n = n + 1 := by omega
-- refused: *

-- case: a proof that does not parse
-- original
theorem t : 1 = 2 := sorry
-- candidate
theorem t : 1 = 2 := by exact )
-- refused: *

-- case: an unfinished proof
-- original
theorem t (p q : Prop) (h : p) : p ∧ q := sorry
-- candidate
theorem t (p q : Prop) (h : p) : p ∧ q := by
  constructor
  exact h
-- refused: *

-- case: a metavariable is left
-- original
theorem t (p : Nat → Prop) (h : p 0) : ∃ n, p n := sorry
-- candidate
theorem t (p : Nat → Prop) (h : p 0) : ∃ n, p n := by
  refine ⟨?n, ?_⟩
  case n => skip
-- refused: *

-- case: native_decide
-- original
theorem t : 10 ^ 3 = 1000 := sorry
-- candidate
theorem t : 10 ^ 3 = 1000 := by native_decide
-- refused: *

-- case: decide +native
-- original
theorem t : 10 ^ 3 = 1000 := sorry
-- candidate
theorem t : 10 ^ 3 = 1000 := by decide +native
-- refused: *

-- case: ofReduceBool by hand
-- original
theorem t : (1 == 1) = true := sorry
-- candidate
def test : Bool := 1 == 1
theorem t : (1 == 1) = true := Lean.ofReduceBool test true rfl
-- refused: *

-- case: ofReduceNat by hand
-- original
theorem t : 1 + 1 = 2 := sorry
-- candidate
def two : Nat := 1 + 1
theorem t : 1 + 1 = 2 := Lean.ofReduceNat two 2 rfl
-- refused: *

-- case: reduceBool without its axiom
-- original
theorem t : False := sorry
-- candidate
def yes : Bool := true
@[implemented_by yes] def no : Bool := false
def alsoNo : Bool := false
theorem one : Lean.reduceBool no = true := rfl
theorem two : Lean.reduceBool alsoNo = false := rfl
theorem three : Lean.reduceBool no = Lean.reduceBool alsoNo := rfl
theorem t : False := Bool.noConfusion (one.symm.trans (three.trans two))
-- refused: *

-- case: reduceBool at all
-- original
theorem t : ∃ b : Bool, b = true := sorry
-- candidate
theorem t : ∃ b : Bool, b = true := by
  by_cases h : Lean.reduceBool true = true
  · exact ⟨Lean.reduceBool true, h⟩
  · exact ⟨true, rfl⟩
-- refused: axiom

-- case: implemented_by lies
-- original
def f (n : Nat) : Nat := n
theorem t : f 1 = 2 := sorry
-- candidate
def lie (n : Nat) : Nat := n + 1
@[implemented_by lie] def f (n : Nat) : Nat := n
theorem t : f 1 = 2 := by native_decide
-- refused: *

-- case: extern lies
-- original
def f (n : Nat) : Nat := n
theorem t : f 1 = 2 := sorry
-- candidate
@[extern "lean_nat_succ"] def f (n : Nat) : Nat := n
theorem t : f 1 = 2 := by native_decide
-- refused: *

-- case: self-reference
-- original
theorem t : 1 = 2 := sorry
-- candidate
theorem t : 1 = 2 := t
-- refused: *

-- case: self-reference by simp
-- original
theorem t : 1 = 2 := sorry
-- candidate
@[simp] theorem t : 1 = 2 := by simp [t]
-- refused: *

-- case: two theorems prove each other
-- original
theorem t : 1 = 2 := sorry
theorem u : 1 = 2 := sorry
-- candidate
mutual
theorem t : 1 = 2 := u
theorem u : 1 = 2 := t
end
-- refused: *

-- case: recursion that does not decrease
-- original
theorem t (n : Nat) : n = n + 1 := sorry
-- candidate
theorem t (n : Nat) : n = n + 1 := by
  have := t (n + 1)
  omega
-- refused: *

-- case: termination by sorry
-- original
theorem t (n : Nat) : n = n + 1 := sorry
-- candidate
theorem t (n : Nat) : n = n + 1 := by
  have := t (n + 1)
  omega
termination_by n
decreasing_by sorry
-- refused: sorry

-- case: lcProof
-- original
theorem t : 1 = 2 := sorry
-- candidate
theorem t : 1 = 2 := lcProof
-- refused: *

-- case: lcUnreachable
-- original
theorem t : 1 = 2 := sorry
-- candidate
def nothing : 1 = 2 := lcUnreachable
theorem t : 1 = 2 := nothing
-- refused: *

-- case: unsafeCast
-- original
theorem t : 1 = 2 := sorry
-- candidate
theorem t : 1 = 2 := unsafeCast trivial
-- refused: *

-- case: unsafe term
-- original
theorem t : Nonempty (Fin 0) := sorry
-- candidate
def bad : Fin 0 := unsafe (unsafeCast 0)
theorem t : Nonempty (Fin 0) := ⟨bad⟩
-- refused: *

-- case: unsafe definition
-- original
theorem t : 1 = 2 := sorry
-- candidate
unsafe def bad : 1 = 2 := bad
theorem t : 1 = 2 := bad
-- refused: *

-- case: partial definition
-- original
theorem t : Nonempty Empty := sorry
-- candidate
partial def bad (n : Nat) : Empty := bad (n + 1)
theorem t : Nonempty Empty := ⟨bad 0⟩
-- refused: *

-- case: omega redefined
-- original
theorem t (n : Nat) : n = n + 1 := sorry
-- candidate
macro_rules | `(tactic| omega) => `(tactic| sorry)
theorem t (n : Nat) : n = n + 1 := by omega
-- refused: *

-- case: a tactic of the file's own
-- original
theorem t (n : Nat) : n = n + 1 := sorry
-- candidate
macro "finish" : tactic => `(tactic| first | done | sorry)
theorem t (n : Nat) : n = n + 1 := by finish
-- refused: sorry

-- case: a term notation for sorry
-- original
theorem t (n : Nat) : n = n + 1 := sorry
-- candidate
notation "QED" => sorryAx _ false
theorem t (n : Nat) : n = n + 1 := QED
-- refused: sorry

-- case: errors silenced
-- original
theorem t (n : Nat) : n = n + 1 := sorry
-- candidate
set_option warn.sorry false
#guard_msgs (drop all) in
theorem t (n : Nat) : n = n + 1 := by omega
-- refused: *

-- case: an error expected by guard_msgs
-- original
theorem t : 1 = 2 := sorry
-- candidate
/-- error: Type mismatch -/
#guard_msgs (substring := true) in
theorem t : 1 = 2 := (rfl : 1 = 1)
-- refused: *
