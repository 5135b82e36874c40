/-!
# Binary trees

Inductions with two hypotheses, and functions that call other functions.
-/

inductive Tree (α : Type) where
  | leaf : Tree α
  | node : Tree α → α → Tree α → Tree α

namespace Tree

variable {α β : Type}

def size : Tree α → Nat
  | leaf => 0
  | node l _ r => size l + size r + 1

def depth : Tree α → Nat
  | leaf => 0
  | node l _ r => max (depth l) (depth r) + 1

def mirror : Tree α → Tree α
  | leaf => leaf
  | node l x r => node (mirror r) x (mirror l)

def map (f : α → β) : Tree α → Tree β
  | leaf => leaf
  | node l x r => node (map f l) (f x) (map f r)

/-- The labels from left to right, in front of a list. -/
def onto : Tree α → List α → List α
  | leaf, xs => xs
  | node l x r, xs => onto l (x :: onto r xs)

/-- `x ∈ₜ t`: the tree holds `x`. -/
def Mem (x : α) : Tree α → Prop
  | leaf => False
  | node l y r => x = y ∨ Mem x l ∨ Mem x r

local infix:50 " ∈ₜ " => Mem

theorem size_leaf : (leaf : Tree α).size = 0 := by
  sorry

theorem mirror_mirror (t : Tree α) : t.mirror.mirror = t := by
  sorry

theorem size_mirror (t : Tree α) : t.mirror.size = t.size := by
  sorry

theorem depth_mirror (t : Tree α) : t.mirror.depth = t.depth := by
  sorry

theorem depth_le_size (t : Tree α) : t.depth ≤ t.size := by
  sorry

theorem size_map (f : α → β) (t : Tree α) : (t.map f).size = t.size := by
  sorry

theorem map_mirror (f : α → β) (t : Tree α) : t.mirror.map f = (t.map f).mirror := by
  sorry

theorem map_id (t : Tree α) : t.map (fun x => x) = t := by
  sorry

/-- The induction hypotheses must hold for every list. -/
theorem length_onto (t : Tree α) (xs : List α) : (t.onto xs).length = t.size + xs.length := by
  sorry

theorem mem_mirror (x : α) (t : Tree α) : x ∈ₜ t.mirror ↔ x ∈ₜ t := by
  induction t with
  | leaf => sorry
  | node l y r ihl ihr => sorry

theorem mem_map (f : α → β) (x : α) (t : Tree α) (h : x ∈ₜ t) : f x ∈ₜ t.map f := by
  sorry

/-- A tree of depth `d` has fewer than `2 ^ d` nodes: hard, for it takes both depths together. -/
theorem size_lt_two_pow_depth (t : Tree α) : t.size < 2 ^ t.depth := by
  sorry

end Tree
