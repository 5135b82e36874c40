/-!
# miniF2F without Mathlib

Stands in front of a statement in place of `import Mathlib`. Each name means what it means in
Mathlib: the definition is Mathlib's, or the comment says which facts of Mathlib make the two the same
(`tests/eval/core_header_facts.lean` proves these facts here). Definitions, notations and the decision
procedures that Mathlib has as well; no lemma and no `simp` attribute, so that nothing gets easier.
What a lemma would prove is inlined where a definition needs it.

What core Lean has itself is Mathlib's own: `Nat`, `Int`, `Rat`, their operations, `∣`, `Nat.gcd`, `Nat.lcm`, `Nat.Coprime`.
Not here: real and complex numbers, `NNReal`, `ZMod`, limits. A statement with them does not elaborate.
-/

set_option autoImplicit false
universe u v

notation "ℕ" => Nat
notation "ℤ" => Int
/-- Mathlib's `ℚ` is this very type of core Lean, with these operations; `x / 0 = 0` in both. -/
notation "ℚ" => Rat

/-! ## Sets: Mathlib's definitions, word for word -/

def Set (α : Type u) : Type u := α → Prop

def setOf {α : Type u} (p : α → Prop) : Set α := p

namespace Set
variable {α : Type u}

protected def Mem (s : Set α) (a : α) : Prop := s a

instance : Membership α (Set α) := ⟨Set.Mem⟩
instance : Singleton α (Set α) := ⟨fun b => setOf fun a => a = b⟩
instance : SDiff (Set α) := ⟨fun s t => setOf fun a => a ∈ s ∧ ¬a ∈ t⟩

end Set

/-- `{x | p}` and `{x : α | p}`; Mathlib's other forms are not here. -/
syntax "{" ident (" : " term)? " | " term "}" : term
macro_rules
  | `({$x:ident | $p}) => `(setOf fun $x:ident => $p)
  | `({$x:ident : $t | $p}) => `(setOf fun $x:ident : $t => $p)

def lowerBounds {α : Type u} [LE α] (s : Set α) : Set α := {x | ∀ ⦃a⦄, a ∈ s → x ≤ a}

def upperBounds {α : Type u} [LE α] (s : Set α) : Set α := {x | ∀ ⦃a⦄, a ∈ s → a ≤ x}

def IsLeast {α : Type u} [LE α] (s : Set α) (a : α) : Prop := a ∈ s ∧ a ∈ lowerBounds s

def IsGreatest {α : Type u} [LE α] (s : Set α) (a : α) : Prop := a ∈ s ∧ a ∈ upperBounds s

/-! ## Finite sets: Mathlib's definitions, a duplicate-free list up to the order of its elements -/

def Multiset (α : Type u) : Type u := Quotient (List.isSetoid α)

def Multiset.Nodup {α : Type u} (s : Multiset α) : Prop :=
  Quotient.liftOn s List.Nodup fun _ _ h => propext h.nodup_iff

structure Finset (α : Type u) where
  val : Multiset α
  nodup : val.Nodup

namespace Finset
variable {α : Type u} {β : Type v}

protected def Mem (s : Finset α) (a : α) : Prop :=
  Quotient.liftOn s.val (fun l => a ∈ l) fun _ _ h => propext h.mem_iff

instance : Membership α (Finset α) := ⟨Finset.Mem⟩

def card (s : Finset α) : ℕ := Quotient.liftOn s.val List.length fun _ _ h => h.length_eq

def range (n : ℕ) : Finset ℕ := ⟨Quotient.mk _ (List.range n), List.nodup_range⟩

def filter (p : α → Prop) [DecidablePred p] (s : Finset α) : Finset α where
  val := Quotient.liftOn s.val (fun l => Quotient.mk _ (l.filter fun a => decide (p a)))
    fun _ _ h => Quotient.sound (h.filter _)
  nodup := by
    obtain ⟨l, h⟩ := s
    induction l using Quotient.inductionOn
    exact List.Nodup.sublist List.filter_sublist h

/-- Mathlib's definition: with these two laws the order of the elements does not matter. -/
def fold (op : β → β → β) [Std.Commutative op] [Std.Associative op] (b : β) (f : α → β) (s : Finset α) : β :=
  Quotient.liftOn s.val (fun l => (l.map f).foldr op b) fun _ _ h =>
    (h.map f).foldr_eq' (fun x _ y _ z => by
      rw [← Std.Associative.assoc (op := op) y x z, Std.Commutative.comm (op := op) y x,
        Std.Associative.assoc (op := op) x y z]) b

/-- Mathlib's `Finset.sum_eq_fold`; there the laws come from `AddCommMonoid β`. -/
protected def sum [Add β] [Zero β] [Std.Commutative (α := β) (· + ·)] [Std.Associative (α := β) (· + ·)]
    (s : Finset α) (f : α → β) : β := s.fold (· + ·) 0 f

/-- Mathlib's `Finset.prod_eq_fold`; there the laws come from `CommMonoid β`. -/
protected def prod [Mul β] [One β] [Std.Commutative (α := β) (· * ·)] [Std.Associative (α := β) (· * ·)]
    (s : Finset α) (f : α → β) : β := s.fold (· * ·) 1 f

end Finset

/-- Of Mathlib's class only what its intervals are made of: `mem_Icc` determines `Icc`. -/
class LocallyFiniteOrder (α : Type u) [LE α] where
  Icc : α → α → Finset α
  mem_Icc : ∀ a b x : α, x ∈ Icc a b ↔ a ≤ x ∧ x ≤ b

instance : LocallyFiniteOrder ℕ where
  Icc a b := ⟨Quotient.mk _ (List.range' a (b + 1 - a)), List.nodup_range' _⟩
  mem_Icc a b x := List.mem_range'_1.trans (by omega)

/-- All `x` with `a ≤ x ≤ b`. -/
def Finset.Icc {α : Type u} [LE α] [LocallyFiniteOrder α] (a b : α) : Finset α := LocallyFiniteOrder.Icc a b

/-- Mathlib's notations with its precedence; of its binders only `x ∈ s`. -/
syntax "∑ " ident " ∈ " term ", " term:67 : term
syntax "∏ " ident " ∈ " term ", " term:67 : term
macro_rules
  | `(∑ $x:ident ∈ $s, $f) => `(Finset.sum $s fun $x => $f)
  | `(∏ $x:ident ∈ $s, $f) => `(Finset.prod $s fun $x => $f)

/-! ## Integers and natural numbers -/

/-- Mathlib's `a ⊔ -a`: in a linear order `⊔` is `max`. -/
def abs {α : Type u} [Max α] [Neg α] (a : α) : α := max a (-a)

/-- Mathlib's definition. -/
def Even {α : Type u} [Add α] (a : α) : Prop := ∃ r, a = r + r

/-- Mathlib's definition; there the numerals come from `Semiring α`. -/
def Odd {α : Type u} [Add α] [Mul α] [OfNat α 1] [OfNat α 2] (a : α) : Prop := ∃ m, a = 2 * m + 1

instance (n : ℕ) : Decidable (Even n) :=
  decidable_of_iff (n = n / 2 + n / 2) ⟨fun h => ⟨_, h⟩, fun ⟨_, _⟩ => by omega⟩
instance (n : ℤ) : Decidable (Even n) :=
  decidable_of_iff (n = n / 2 + n / 2) ⟨fun h => ⟨_, h⟩, fun ⟨_, _⟩ => by omega⟩
instance (n : ℕ) : Decidable (Odd n) :=
  decidable_of_iff (n = 2 * (n / 2) + 1) ⟨fun h => ⟨_, h⟩, fun ⟨_, _⟩ => by omega⟩
instance (n : ℤ) : Decidable (Odd n) :=
  decidable_of_iff (n = 2 * (n / 2) + 1) ⟨fun h => ⟨_, h⟩, fun ⟨_, _⟩ => by omega⟩

/-- Mathlib's definition. -/
def Int.ModEq (n a b : ℤ) : Prop := a % n = b % n

notation:50 a " ≡ " b " [ZMOD " n "]" => Int.ModEq n a b

instance (n a b : ℤ) : Decidable (a ≡ b [ZMOD n]) := Int.instDecidableEq _ _

namespace Nat

/-- Mathlib's definition. -/
def ModEq (n a b : ℕ) : Prop := a % n = b % n

notation:50 a " ≡ " b " [MOD " n "]" => Nat.ModEq n a b

instance (n a b : ℕ) : Decidable (a ≡ b [MOD n]) := instDecidableEqNat _ _

/-- Mathlib's definition. -/
def factorial : ℕ → ℕ
  | 0 => 1
  | n + 1 => (n + 1) * factorial n

scoped notation:10000 n "!" => Nat.factorial n

/-- Mathlib's definition. -/
def choose : ℕ → ℕ → ℕ
  | _, 0 => 1
  | 0, _ + 1 => 0
  | n + 1, k + 1 => choose n k + choose n (k + 1)

/-- Mathlib's is `Irreducible p`, for which its `Nat.prime_def` says this. -/
def Prime (p : ℕ) : Prop := 2 ≤ p ∧ ∀ m, m ∣ p → m = 1 ∨ m = p

instance (p : ℕ) : Decidable (Nat.Prime p) :=
  decidable_of_iff (2 ≤ p ∧ ∀ m, m < p → m ∣ p → m = 1)
    ⟨fun ⟨two, h⟩ => ⟨two, fun m d => (Nat.lt_or_eq_of_le (Nat.le_of_dvd (by omega) d)).imp_left (h m · d)⟩,
     fun ⟨two, h⟩ => ⟨two, fun m l d => (h m d).resolve_right (by omega)⟩⟩

/-- Mathlib's: the `d` of `[1, n + 1)` that divide `n`; none for `n = 0`. -/
def divisors (n : ℕ) : Finset ℕ := Finset.filter (fun d => d ∣ n) (Finset.Icc 1 n)

/-- Mathlib's: the `d` of `[1, n)` that divide `n`. -/
def properDivisors (n : ℕ) : Finset ℕ := Finset.filter (fun d => d ∣ n) (Finset.Icc 1 (n - 1))

/-- Counts `m` up, at most `fuel` times, as long as its square is at most `n`. -/
def sqrtAux (n : ℕ) : ℕ → ℕ → ℕ
  | 0, m => m
  | fuel + 1, m => if (m + 1) * (m + 1) ≤ n then sqrtAux n fuel (m + 1) else m

/-- The greatest `m` with `m * m ≤ n`. Mathlib finds it by Newton's method; its `Nat.sqrt_le` and
`Nat.lt_succ_sqrt` say that it is the same. -/
def sqrt (n : ℕ) : ℕ := sqrtAux n n 0

/-- At most `fuel` digits, the least significant first. -/
def digitsAux (b : ℕ) : ℕ → ℕ → List ℕ
  | 0, _ => []
  | _, 0 => []
  | fuel + 1, n => n % b :: digitsAux b fuel (n / b)

/-- The digits of a number, the least significant first. Mathlib's recursion on `n / b` is cut off after `n` steps
here, when nothing is left of `n`: its `Nat.digits_def'` holds. Bases 0 and 1 as in Mathlib. -/
def digits : ℕ → ℕ → List ℕ
  | 0, n => if n = 0 then [] else [n]
  | 1, n => List.replicate n 1
  | b, n => digitsAux b n n

end Nat
