import Lean
import TacticServer.Messages

/-!
# Proof states and how they are shown

Monads are applied by hand (`x context ref …`): the embedded Lean lacks the bodies of the helpers
that `x.run` would inline.
-/

open Lean Elab Meta

namespace TacticServer

/-! ## Traversals -/

partial def forNode {α : Type} (node : PersistentArrayNode α) (f : α → IO Unit) : IO Unit :=
  match node with
  | .node children => goNodes children 0
  | .leaf items => goItems items 0
where
  goNodes (children : Array (PersistentArrayNode α)) (i : Nat) : IO Unit := do
    if h : i < children.size then
      forNode children[i] f
      goNodes children (i + 1)
  goItems (items : Array α) (i : Nat) : IO Unit := do
    if h : i < items.size then
      f items[i]
      goItems items (i + 1)

partial def forArray {α : Type} (items : Array α) (f : α → IO Unit) (i : Nat := 0) : IO Unit := do
  if h : i < items.size then
    f items[i]
    forArray items f (i + 1)

def forPersistent {α : Type} (items : PersistentArray α) (f : α → IO Unit) : IO Unit := do
  forNode items.root f
  forArray items.tail f

def forList {α : Type} (items : List α) (f : α → IO Unit) : IO Unit :=
  match items with
  | [] => pure ()
  | x :: xs => do f x; forList xs f

partial def memName (names : Array Name) (n : Name) (i : Nat := 0) : Bool :=
  if h : i < names.size then
    if names[i] == n then true else memName names n (i + 1)
  else false

partial def memString (items : Array String) (s : String) (i : Nat := 0) : Bool :=
  if h : i < items.size then
    if items[i] == s then true else memString items s (i + 1)
  else false

/-! ## States -/

/-- A proof under way, with all that is needed to go on from it. -/
structure ProofState where
  core : Core.Context
  env : Environment
  ngen : NameGenerator
  auxDeclNGen : DeclNameGenerator
  nextMacroScope : MacroScope
  mctx : MetavarContext
  levelNames : List Name
  goals : List MVarId
  /-- The metavariable whose assignment is the whole proof. -/
  root : MVarId

/-- The references of one computation in `MetaM`. -/
structure Cell where
  coreContext : Core.Context
  core : IO.Ref Core.State
  metaContext : Meta.Context
  meta' : IO.Ref Meta.State

def exceptionText (e : Exception) : IO String := do
  let text ← e.toMessageData.toString
  return text

def Cell.run {α : Type} (c : Cell) (x : MetaM α) : IO α := do
  match ← (x c.metaContext c.meta' c.coreContext c.core).toBaseIO with
  | .ok a => return a
  | .error e =>
    let text ← exceptionText e
    throw (IO.userError text)

def withLimits (core : Core.Context) (limits : Limits) : IO Core.Context := do
  let now ← IO.getNumHeartbeats
  return { core with
    initHeartbeats := now, maxHeartbeats := limits.heartbeats * 1000
    maxRecDepth := limits.recursion, currRecDepth := 0 }

def ProofState.cell (s : ProofState) (core : Core.Context) : IO Cell := do
  let coreRef ← IO.mkRef ({
    env := s.env, ngen := s.ngen, auxDeclNGen := s.auxDeclNGen
    nextMacroScope := s.nextMacroScope, infoState := { enabled := false } } : Core.State)
  let metaRef ← IO.mkRef ({ mctx := s.mctx } : Meta.State)
  return { coreContext := core, core := coreRef, metaContext := {}, meta' := metaRef }

/-! ## Showing goals -/

structure ShownHypothesis where
  name : String
  type : Format
  typeText : String
  value? : Option Format
  isProp : Bool
  inductive? : Option Name
  accessible : Bool

def pretty (c : Cell) (e : Expr) : IO Format := c.run (fun a b c d => ppExpr e a b c d)

def instantiate (c : Cell) (e : Expr) : IO Expr := do
  let state ← c.meta'.get
  let (e, mctx) := instantiateMVarsCore state.mctx e
  c.meta'.set { state with mctx := mctx }
  return e

def headName (e : Expr) : Option Name :=
  match e.consumeMData.getAppFn with
  | .const n _ => some n
  | _ => none

def inductiveOf (c : Cell) (env : Environment) (type : Expr) : IO (Option Name) := do
  let reduced ← c.run (fun a b c d => whnfR type a b c d)
  match headName reduced with
  | none => return none
  | some n =>
    match env.find? n with
    | some (.inductInfo _) => return some n
    | _ => return none

def showHypothesis (c : Cell) (env : Environment) (decl : LocalDecl) : IO ShownHypothesis := do
  let type ← instantiate c decl.type
  let format ← pretty c type
  let isProp ← c.run (fun a b c d => isProp type a b c d)
  let inductive? ← inductiveOf c env type
  let value? ← match decl with
    | .ldecl (value := v) (nondep := false) .. => do
      let v ← instantiate c v
      let format ← pretty c v
      pure (some format)
    | _ => pure none
  return { name := decl.userName.toString, type := format, typeText := format.pretty, value?, isProp, inductive?
           accessible := !decl.userName.hasMacroScopes && !decl.userName.isInaccessibleUserName }

def hypothesisJson (h : ShownHypothesis) : Json :=
  Json.mkObj [
    ("name", .str h.name), ("type", .str h.typeText),
    ("value", match h.value? with | some v => .str v.pretty | none => .null),
    ("is_prop", .bool h.isProp),
    ("inductive", match h.inductive? with | some n => .str n.toString | none => .null),
    ("accessible", .bool h.accessible)]

/-- `names : type`, broken over lines as Lean does. -/
def hypothesisLine (names : String) (h : ShownHypothesis) : String :=
  let type := match h.value? with
    | none => h.type
    | some v => .append h.type (.append (.text " :=") (.nest 2 (.append .line v)))
  (Format.group (.append (.text (names ++ " :")) (.nest 2 (.append .line type)))).pretty ++ "\n"

/-- As Lean prints a goal's context: neighbours of one type share a line. -/
partial def contextText (hs : Array ShownHypothesis) (i : Nat) (names : String) (acc : String) : String :=
  if h : i < hs.size then
    let here := hs[i]
    let names := if names.isEmpty then here.name else names ++ " " ++ here.name
    let together := if h' : i + 1 < hs.size then
      here.value?.isNone && hs[i + 1].value?.isNone && hs[i + 1].typeText == here.typeText else false
    if together then contextText hs (i + 1) names acc
    else contextText hs (i + 1) "" (acc ++ hypothesisLine names here)
  else acc

partial def addDefinitions (env : Environment) (used : Array Name) (i : Nat) (acc : IO.Ref (Array Name)) : IO Unit := do
  if h : i < used.size then
    let n := used[i]
    let known ← acc.get
    if (env.getModuleIdxFor? n).isNone && !memName known n then
      match env.find? n with
      | some (.defnInfo _) => acc.set (known.push n)
      | _ => pure ()
    addDefinitions env used (i + 1) acc

/-- Constants of an expression that were imported, each once. -/
partial def addConstants (env : Environment) (used : Array Name) (i : Nat) (acc : IO.Ref (Array Name)) : IO Unit := do
  if h : i < used.size then
    let n := used[i]
    let known ← acc.get
    if (env.getModuleIdxFor? n).isSome && !memName known n then acc.set (known.push n)
    addConstants env used (i + 1) acc

partial def nameJsons (names : Array Name) (i : Nat) (acc : Array Json) : Array Json :=
  if h : i < names.size then nameJsons names (i + 1) (acc.push (.str (privateToUserName names[i]).toString)) else acc

partial def hypothesisJsons (hs : Array ShownHypothesis) (i : Nat) (acc : Array Json) : Array Json :=
  if h : i < hs.size then hypothesisJsons hs (i + 1) (acc.push (hypothesisJson hs[i])) else acc

def headText (target : Expr) : String :=
  match target.consumeMData with
  | .forallE .. => "∀"
  | e => match headName e with
    | some n => n.toString
    | none => ""

def targetLine (target : Format) : Format := .append (.text "⊢ ") (.nest 2 target)

/-- One goal as the `Goal` of `prover/lean/messages.py`. -/
def goalJson (s : ProofState) (core : Core.Context) (g : MVarId) : IO Json := do
  match s.mctx.findDecl? g with
  | none => throw (IO.userError "unknown goal")
  | some decl =>
    let sanitizer : NameSanitizerState := { options := core.options }
    let lctx := (decl.lctx.sanitizeNames sanitizer).1
    let cell ← s.cell core
    let cell := { cell with metaContext := { cell.metaContext with lctx := lctx, localInstances := decl.localInstances } }
    let shown ← IO.mkRef (#[] : Array ShownHypothesis)
    let definitions ← IO.mkRef (#[] : Array Name)
    let constants ← IO.mkRef (#[] : Array Name)
    forPersistent lctx.decls fun d? => do
      match d? with
      | none => pure ()
      | some d =>
        if d.isImplementationDetail then pure () else
        let h ← showHypothesis cell s.env d
        shown.modify (fun hs => hs.push h)
        let type ← instantiate cell d.type
        addConstants s.env type.getUsedConstants 0 constants
        if h.isProp then
          addDefinitions s.env type.getUsedConstants 0 definitions
    let target ← instantiate cell decl.type
    let targetFormat ← pretty cell target
    addDefinitions s.env target.getUsedConstants 0 definitions
    addConstants s.env target.getUsedConstants 0 constants
    let constants ← constants.get
    let hs ← shown.get
    let names ← definitions.get
    return Json.mkObj [
      ("hypotheses", .arr (hypothesisJsons hs 0 #[])),
      ("target", .str targetFormat.pretty),
      ("pretty", .str (contextText hs 0 "" "" ++ (targetLine targetFormat).pretty)),
      ("tag", .str (if decl.userName.isAnonymous then "" else decl.userName.eraseMacroScopes.toString)),
      ("head", .str (headText target)),
      ("definitions", .arr (nameJsons names 0 #[])),
      ("constants", .arr (nameJsons constants 0 #[]))]

partial def goalJsons (s : ProofState) (core : Core.Context) (goals : List MVarId) (acc : Array Json) : IO (Array Json) := do
  match goals with
  | [] => return acc
  | g :: gs =>
    let j ← goalJson s core g
    goalJsons s core gs (acc.push j)

end TacticServer
