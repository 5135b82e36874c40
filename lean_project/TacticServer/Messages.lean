import Lean

/-!
# The messages of the tactic server

Mirrors `prover/lean/messages.py`: whoever changes one file changes the other.
A request is one line of JSON with an `id` and an `op`; its answer is one line of JSON with the same
`id`, a `status` and `ms`, the milliseconds spent on it.

The embedded Lean ships library signatures without the bodies of generic helpers, so everything in
this folder keeps to plain recursion and to calls that do not inline such helpers.
-/

open Lean

namespace TacticServer

/-- What became of a request. -/
inductive Status where
  | ok | proved | tacticFailed | unknownState | missingModule | badRequest | internal

def Status.text : Status → String
  | .ok => "ok"
  | .proved => "proved"
  | .tacticFailed => "tactic_failed"
  | .unknownState => "unknown_state"
  | .missingModule => "missing_module"
  | .badRequest => "bad_request"
  | .internal => "internal"

/-- Limits of one request: Lean's heartbeats (in thousands of allocations) and recursion depth. -/
structure Limits where
  heartbeats : Nat
  recursion : Nat

/-- A module's source. -/
structure Source where
  name : String
  path : String
  text : String

inductive Request where
  | «open» (source : Source) (dependencies : Array Source) (limits : Limits)
  | statement (header : Source) (statement : String) (limits : Limits)
  | theorem (module name : String) (limits : Limits)
  | run (state : Nat) (tactic : String) (limits : Limits)
  | trust (names : Array String)
  | drop (states : Array Nat)
  | declarations (start limit : Nat) (module? : Option String)
  | check (original candidate : Source) (dependencies : Array Source) (limits : Limits)
  | checkTheorem (module name proof : String) (limits : Limits)
  | modules
  | info

/-- An answer without its `id` and `ms`. -/
structure Answer where
  status : Status
  error : String := ""
  body : List (String × Json) := []

/-! ## Reading requests -/

abbrev Read := Except String

def field (j : Json) (key : String) : Read Json :=
  match j.getObjVal? key with
  | .ok v => .ok v
  | .error _ => .error s!"the request has no field '{key}'"

def readString (j : Json) (key : String) : Read String :=
  match field j key with
  | .ok (.str s) => .ok s
  | .ok _ => .error s!"field '{key}' is not a string"
  | .error e => .error e

def asNat (j : Json) (key : String) : Read Nat :=
  match j.getNat? with
  | .ok n => .ok n
  | .error _ => .error s!"field '{key}' is not a natural number"

def readNat (j : Json) (key : String) : Read Nat :=
  match field j key with
  | .ok v => asNat v key
  | .error e => .error e

def readArray (j : Json) (key : String) : Read (Array Json) :=
  match field j key with
  | .ok (.arr a) => .ok a
  | .ok _ => .error s!"field '{key}' is not an array"
  | .error e => .error e

def readAll {α : Type} (items : Array Json) (f : Json → Read α) (i : Nat) (acc : Array α) : Read (Array α) :=
  if h : i < items.size then
    match f items[i] with
    | .ok a => readAll items f (i + 1) (acc.push a)
    | .error e => .error e
  else .ok acc
termination_by items.size - i

def readSource (j : Json) : Read Source :=
  match readString j "name", readString j "path", readString j "text" with
  | .ok name, .ok path, .ok text => .ok { name, path, text }
  | .error e, _, _ => .error e
  | _, .error e, _ => .error e
  | _, _, .error e => .error e

def readLimits (j : Json) : Read Limits :=
  match field j "limits" with
  | .error e => .error e
  | .ok l =>
    match readNat l "heartbeats", readNat l "recursion" with
    | .ok heartbeats, .ok recursion => .ok { heartbeats, recursion }
    | .error e, _ => .error e
    | _, .error e => .error e

def readSourceField (j : Json) (key : String) : Read Source :=
  match field j key with
  | .ok s => readSource s
  | .error e => .error e

def readList {α : Type} (j : Json) (key : String) (f : Json → Read α) : Read (Array α) :=
  match readArray j key with
  | .ok items => readAll items f 0 #[]
  | .error e => .error e

def readStr (j : Json) : Read String :=
  match j with
  | .str s => .ok s
  | _ => .error "a string was expected"

def readOpen (j : Json) : Read Request :=
  match readSourceField j "source", readList j "dependencies" readSource, readLimits j with
  | .ok s, .ok d, .ok l => .ok (.open s d l)
  | .error e, _, _ => .error e
  | _, .error e, _ => .error e
  | _, _, .error e => .error e

def readStatement (j : Json) : Read Request :=
  match readSourceField j "header", readString j "statement", readLimits j with
  | .ok h, .ok s, .ok l => .ok (.statement h s l)
  | .error e, _, _ => .error e
  | _, .error e, _ => .error e
  | _, _, .error e => .error e

def readTheorem (j : Json) : Read Request :=
  match readString j "module", readString j "name", readLimits j with
  | .ok m, .ok n, .ok l => .ok (.theorem m n l)
  | .error e, _, _ => .error e
  | _, .error e, _ => .error e
  | _, _, .error e => .error e

def readCheckTheorem (j : Json) : Read Request :=
  match readString j "module", readString j "name", readString j "proof", readLimits j with
  | .ok m, .ok n, .ok p, .ok l => .ok (.checkTheorem m n p l)
  | .error e, _, _, _ => .error e
  | _, .error e, _, _ => .error e
  | _, _, .error e, _ => .error e
  | _, _, _, .error e => .error e

def readRun (j : Json) : Read Request :=
  match readNat j "state", readString j "tactic", readLimits j with
  | .ok s, .ok t, .ok l => .ok (.run s t l)
  | .error e, _, _ => .error e
  | _, .error e, _ => .error e
  | _, _, .error e => .error e

def readDeclarations (j : Json) : Read Request :=
  match readNat j "start", readNat j "limit", field j "module" with
  | .ok s, .ok l, .ok (.str m) => .ok (.declarations s l (some m))
  | .ok s, .ok l, .ok .null => .ok (.declarations s l none)
  | .ok _, .ok _, .ok _ => .error "field 'module' is neither a string nor null"
  | .error e, _, _ => .error e
  | _, .error e, _ => .error e
  | _, _, .error e => .error e

def readCheck (j : Json) : Read Request :=
  match readSourceField j "original", readSourceField j "candidate",
      readList j "dependencies" readSource, readLimits j with
  | .ok o, .ok c, .ok d, .ok l => .ok (.check o c d l)
  | .error e, _, _, _ => .error e
  | _, .error e, _, _ => .error e
  | _, _, .error e, _ => .error e
  | _, _, _, .error e => .error e

def readRequest (j : Json) : Read Request :=
  match readString j "op" with
  | .error e => .error e
  | .ok op =>
    if op == "run" then readRun j
    else if op == "open" then readOpen j
    else if op == "statement" then readStatement j
    else if op == "drop" then
      match readList j "states" (fun v => asNat v "states") with
      | .ok s => .ok (.drop s)
      | .error e => .error e
    else if op == "trust" then
      match readList j "names" readStr with
      | .ok n => .ok (.trust n)
      | .error e => .error e
    else if op == "declarations" then readDeclarations j
    else if op == "check" then readCheck j
    else if op == "theorem" then readTheorem j
    else if op == "check_theorem" then readCheckTheorem j
    else if op == "modules" then .ok .modules
    else if op == "info" then .ok .info
    else .error s!"unknown op '{op}'"

/-! ## Writing answers -/

def natJson (n : Nat) : Json := .num ⟨n, 0⟩

/-- `xs ++ ys`, whose library code the embedded Lean lacks. -/
def chain {α : Type} : List α → List α → List α
  | [], ys => ys
  | x :: xs, ys => x :: chain xs ys

def Answer.toJson (a : Answer) (id : Nat) (ms : Nat) : Json :=
  let head := [("id", natJson id), ("status", Json.str a.status.text), ("ms", Json.num ⟨ms, 3⟩)]
  let error := if a.error.isEmpty then [] else [("error", Json.str a.error)]
  Json.mkObj (chain head (chain error a.body))

/-- Where something stands: line from 1, column from 0 (in characters), offset in UTF-8 bytes. -/
def positionJson (p : Position) (pos : String.Pos.Raw) : Json :=
  Json.mkObj [("line", natJson p.line), ("column", natJson p.column), ("byte", natJson pos.byteIdx)]

end TacticServer
