/-!
# Logic

From `p ∧ q → q ∧ p` to quantifiers. Try it:

    prove lean_project/Examples/Logic.lean

Every `sorry` is looked for a proof of its own: whole proofs, cases of a proof begun by hand, and terms.
-/

namespace Logic

variable {p q r : Prop}

theorem and_swap (h : p ∧ q) : q ∧ p := by sorry

theorem or_swap (h : p ∨ q) : q ∨ p := by
  sorry

theorem imp_chain (f : p → q) (g : q → r) : p → r := by
  sorry

theorem and_or_distrib : p ∧ (q ∨ r) ↔ (p ∧ q) ∨ (p ∧ r) := by
  sorry

/-- A proof begun by hand: two open cases. -/
theorem curry : (p ∧ q → r) ↔ (p → q → r) := by
  constructor
  · intro h hp hq
    sorry
  · sorry

/-- Intuitionistically, the excluded middle cannot be refuted. -/
theorem not_not_em : ¬¬(p ∨ ¬p) := by
  intro h
  have hp : ¬p := by sorry
  exact h (Or.inr hp)

/-- Needs a classical step. -/
theorem peirce : ((p → q) → p) → p := by
  sorry

/-- A hole in a term. -/
theorem weaken (h : p ∧ q) : p ∨ r :=
  Or.inl sorry

section Quantifiers

variable {α : Type} {P Q : α → Prop}

theorem exists_or_split : (∃ x, P x ∨ Q x) ↔ (∃ x, P x) ∨ ∃ x, Q x := by
  sorry

theorem forall_and_split : (∀ x, P x ∧ Q x) ↔ (∀ x, P x) ∧ ∀ x, Q x := by
  sorry

theorem not_exists_of_forall_not (h : ∀ x, ¬P x) : ¬∃ x, P x := by
  sorry

theorem exists_swap {β : Type} {R : α → β → Prop} (h : ∃ x, ∀ y, R x y) : ∀ y, ∃ x, R x y := by
  sorry

end Quantifiers

end Logic
