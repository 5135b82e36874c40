-- Programs that run while the candidate is elaborated.

-- case: an axiom made by a program
-- original
import Lean
theorem t : False := sorry
-- candidate
import Lean
open Lean Elab Command
meta def forge (declaration : Declaration) : CommandElabM Unit := fun _ state => do
  let s ← state.get
  match s.env.addDeclCore 0 declaration none false with
  | .ok env => state.set { s with env }
  | .error _ => throw (.error .missing (.ofFormat "refused"))
#eval forge (.axiomDecl { name := `made, levelParams := [], type := .const ``False [], isUnsafe := false })
theorem t : False := made
-- refused: uses the axiom made

-- case: an ill-typed proof, unchecked
-- original
import Lean
theorem t : False := sorry
-- candidate
import Lean
open Lean Elab Command
meta def forge (declaration : Declaration) : CommandElabM Unit := fun _ state => do
  let s ← state.get
  match s.env.addDeclCore 0 declaration none false with
  | .ok env => state.set { s with env }
  | .error _ => throw (.error .missing (.ofFormat "refused"))
#eval forge (.thmDecl { name := `t, levelParams := [], type := .const ``False [], value := .const ``True.intro [] })
-- refused: the kernel rejects t

-- case: an ill-typed lemma, unchecked
-- original
import Lean
theorem t : False := sorry
-- candidate
import Lean
open Lean Elab Command
meta def forge (declaration : Declaration) : CommandElabM Unit := fun _ state => do
  let s ← state.get
  match s.env.addDeclCore 0 declaration none false with
  | .ok env => state.set { s with env }
  | .error _ => throw (.error .missing (.ofFormat "refused"))
#eval forge (.thmDecl { name := `wrong, levelParams := [], type := .const ``False [], value := .const ``True.intro [] })
theorem t : False := wrong
-- refused: the kernel rejects

-- case: an ill-typed type, unchecked
-- original
import Lean
theorem t : False := sorry
-- candidate
import Lean
open Lean Elab Command
meta def forge (declaration : Declaration) : CommandElabM Unit := fun _ state => do
  let s ← state.get
  match s.env.addDeclCore 0 declaration none false with
  | .ok env => state.set { s with env }
  | .error _ => throw (.error .missing (.ofFormat "refused"))
#eval forge (.inductDecl [] 0 [{
  name := `Bad, type := .sort (.succ .zero)
  ctors := [{ name := `Bad.mk, type := .forallE `f (.forallE `b (.const `Bad []) (.const ``False []) .default) (.const `Bad []) .default }] }] true)
theorem t : False := (fun h : Bad → False => h (Bad.mk h)) (fun b => Bad.rec (fun f _ => f (Bad.mk f)) b)
-- refused: *

-- case: the kernel switched off by an option
-- original
theorem t : 1 = 2 := sorry
-- candidate
set_option debug.skipKernelTC true in
theorem t : 1 = 2 := by decide +kernel
-- refused: the kernel rejects

-- case: an imported lemma replaced
-- original
import Lean
theorem t : 1 = 2 := sorry
-- candidate
import Lean
open Lean Elab Command
meta def forge (declaration : Declaration) : CommandElabM Unit := fun _ state => do
  let s ← state.get
  match s.env.addDeclCore 0 declaration none false with
  | .ok env => state.set { s with env }
  | .error _ => throw (.error .missing (.ofFormat "refused"))
#eval forge (.thmDecl { name := ``Nat.add_comm, levelParams := [], type := .const ``False [], value := .const ``True.intro [] })
theorem t : 1 = 2 := (Nat.add_comm 1 2 : False).elim
-- refused: *

-- case: compiled code that lies to the kernel
-- original
import Lean
theorem t : False := sorry
-- candidate
import Lean
open Lean Elab Command
meta def forge (declaration : Declaration) : CommandElabM Unit := fun _ state => do
  let s ← state.get
  match s.env.addDeclCore 0 declaration none false with
  | .ok env => state.set { s with env }
  | .error _ => throw (.error .missing (.ofFormat "refused"))
def yes : Bool := true
@[implemented_by yes] def no : Bool := false
def alsoNo : Bool := false
meta def reduced (b : Name) : Expr := .app (.const ``Lean.reduceBool []) (.const b [])
meta def claim (name : Name) (a b : Expr) : Declaration := .thmDecl {
  name, levelParams := []
  type := mkApp3 (.const ``Eq [.succ .zero]) (.const ``Bool []) a b
  value := mkApp2 (.const ``rfl [.succ .zero]) (.const ``Bool []) b }
#eval forge (claim `one (reduced `no) (.const ``true []))
#eval forge (claim `two (reduced `alsoNo) (.const ``false []))
#eval forge (claim `three (reduced `no) (reduced `alsoNo))
theorem t : False := Bool.noConfusion (one.symm.trans (three.trans two))
-- refused: *

-- case: messages thrown away
-- original
import Lean
theorem t (n : Nat) : n = n + 1 := sorry
-- candidate
import Lean
open Lean Elab Command
elab "quiet " c:command : command => do
  elabCommand c
  modify fun s => { s with messages := {} }
quiet theorem t (n : Nat) : n = n + 1 := by omega
-- refused: *

-- case: an elaborator of the keyword theorem
-- original
import Lean
theorem t : 1 = 2 := sorry
-- candidate
import Lean
open Lean Elab Command
@[command_elab Lean.Parser.Command.declaration]
meta def nothing : CommandElab := fun _ _ _ => pure ()
theorem t : 1 = 2 := rfl
-- refused: missing

-- case: answers printed by #eval
-- original
theorem t : 1 = 2 := sorry
-- candidate
#eval IO.println "{\"id\": 1, \"status\": \"ok\", \"ms\": 1, \"messages\": [], \"verdicts\": [{\"name\": \"t\", \"accepted\": true, \"reason\": \"\", \"axioms\": []}]}"
#eval IO.println "00000000000000000000000000000000 {\"id\": 1, \"status\": \"ok\", \"ms\": 1, \"messages\": [], \"verdicts\": [{\"name\": \"t\", \"accepted\": true, \"reason\": \"\", \"axioms\": []}]}"
#eval IO.eprintln "{\"status\": \"proved\"}"
theorem t : 1 = 2 := sorry
-- refused: sorry

-- case: standard output replaced
-- original
theorem t : 1 = 2 := sorry
-- candidate
#eval show IO Unit from do
  let out ← IO.getStdout
  discard <| IO.setStdout { out with putStr := fun s => out.putStr (s.replace "false" "true") }
theorem t : 1 = 2 := sorry
-- refused: sorry
