import Lean
import TacticServer.Check

/-!
# The library: what it holds, and its theorems as goals

A library theorem is proved where its author stood: in an environment of what its module imports, and nothing
else. Its statement is read from the module's file, which is not imported, so neither the theorem nor
anything that came after it can be used.
-/

open Lean Elab Meta

namespace TacticServer

/-! ## Listing what an environment holds -/

/-- Where nothing is under proof. -/
def bareCell (env : Environment) : IO Cell := do
  let core ← withLimits { fileName := "", fileMap := FileMap.ofString "" } { heartbeats := 0, recursion := 1000 }
  let coreRef ← IO.mkRef ({ env, infoState := { enabled := false } } : Core.State)
  let metaRef ← IO.mkRef ({} : Meta.State)
  return { coreContext := core, core := coreRef, metaContext := {}, meta' := metaRef }

def kindText : ConstantInfo → String
  | .thmInfo _ => "theorem"
  | .defnInfo _ => "definition"
  | .axiomInfo _ => "axiom"
  | .opaqueInfo _ => "opaque"
  | .quotInfo _ => "quot"
  | .inductInfo _ => "inductive"
  | .ctorInfo _ => "constructor"
  | .recInfo _ => "recursor"

/-- Under stubs a library theorem shows as what it stands for. -/
def shownKind (env : Environment) (cell : Cell) (info : ConstantInfo) : IO String := do
  match info with
  | .axiomInfo v =>
    if libraryIsStubs env && stubIsLibrary v && !isNew env v.name then
      let proposition ← cell.run (fun a b c d => isProp v.type a b c d)
      return if proposition then "theorem" else "definition"
    else return "axiom"
  | _ => return kindText info

structure Listing where
  env : Environment
  cell : Cell
  stop : Nat
  index : IO.Ref Nat
  start : Nat
  found : IO.Ref (Array Json)

def list (l : Listing) (module : String) (info : ConstantInfo) : IO Unit := do
  let i ← l.index.get
  l.index.set (i + 1)
  if i < l.start || i ≥ l.stop || info.name.isInternalDetail then pure () else
  let kind ← shownKind l.env l.cell info
  let type ← pretty l.cell info.type
  let j := Json.mkObj [("name", .str info.name.toString), ("kind", .str kind), ("module", .str module), ("type", .str type.pretty),
    ("constants", .arr (nameJsons info.type.getUsedConstants 0 #[]))]
  l.found.modify (fun a => a.push j)

partial def listModules (l : Listing) (names : Array Name) (data : Array ModuleData) (i : Nat) (only : Option String) : IO Unit := do
  if h : i < data.size then
    let name := if h' : i < names.size then names[i].toString else ""
    let wanted := match only with
      | none => true
      | some m => m == name
    if wanted then
      let here ← l.index.get
      let size := data[i].constants.size
      -- Whole modules outside the window are skipped at once.
      if here + size ≤ l.start || here ≥ l.stop then l.index.set (here + size)
      else forArray data[i].constants (fun info => list l name info)
    listModules l names data (i + 1) only

partial def importJsons (imports : Array Import) (i : Nat) (acc : Array Json) : Array Json :=
  if h : i < imports.size then importJsons imports (i + 1) (acc.push (.str imports[i].module.toString)) else acc

partial def moduleJsons (names : Array Name) (data : Array ModuleData) (i : Nat) (acc : Array Json) : Array Json :=
  if h : i < data.size then
    let name := if h' : i < names.size then names[i].toString else ""
    let j := Json.mkObj [("name", .str name), ("imports", .arr (importJsons data[i].imports 0 #[]))]
    moduleJsons names data (i + 1) (acc.push j)
  else acc

/-! ## Library theorems -/

/-- Module files that were read; their memory is never freed. -/
structure Library where
  modules : IO.Ref (List (String × ModuleData))

def lookUpModule (name : String) : List (String × ModuleData) → Option ModuleData
  | [] => none
  | (n, data) :: rest => if n == name then some data else lookUpModule name rest

def readModule (library : Library) (name : String) : IO (Option ModuleData) := do
  let known ← library.modules.get
  match lookUpModule name known with
  | some data => return some data
  | none =>
    match ← (findOLean name.toName).toBaseIO with
    | .error _ => return none
    | .ok path =>
      let there ← path.pathExists
      if !there then return none
      let (data, _) ← readModuleData path
      library.modules.set ((name, data) :: known)
      return some data

partial def findConstant (constants : Array ConstantInfo) (name : String) (i : Nat) : Option ConstantInfo :=
  if h : i < constants.size then
    if constants[i].name.toString == name then some constants[i] else findConstant constants name (i + 1)
  else none

partial def firstUnknown (env : Environment) (used : Array Name) (i : Nat) : Option Name :=
  if h : i < used.size then
    if env.contains used[i] then firstUnknown env used (i + 1) else some used[i]
  else none

inductive LibraryTheorem where
  | found (env : Environment) (info : ConstantInfo)
  | missing (text : String)
  | unfit (text : String)

/-- A theorem's statement, and the environment of its module's imports. -/
def libraryTheorem (library : Library) (cache : ImportCache) (module name : String) : IO LibraryTheorem := do
  match ← readModule library module with
  | none => return .missing module
  | some data =>
    match findConstant data.constants name 0 with
    | none => return .unfit (module ++ " declares no " ++ name)
    | some info =>
      let imported ← importCached cache (addImports data.imports #[] 0 #[])
      let env := imported.setMainModule `Main
      match firstUnknown env info.type.getUsedConstants 0 with
      | some n => return .unfit ("its statement needs " ++ n.toString ++ ", which its own module declares")
      | none =>
        let cell ← bareCell env
        let proposition ← cell.run (fun a b c d => isProp info.type a b c d)
        return if proposition then .found env info else .unfit (name ++ " is no theorem")

/-- Binders with a name, and instances, become hypotheses, as in front of the colon of a theorem. -/
partial def introduce (lctx : LocalContext) (type : Expr) (fvars : Array Expr) (i : Nat) : LocalContext × Expr :=
  match type with
  | .forallE n t b bi =>
    let hidden := n.isAnonymous || n.hasMacroScopes || n.isInaccessibleUserName
    if hidden && !bi.isInstImplicit then (lctx, type.instantiateRev fvars) else
    let id : FVarId := ⟨.num `_library i⟩
    let lctx := lctx.mkLocalDecl id n (t.instantiateRev fvars) bi
    introduce lctx b (fvars.push (.fvar id)) (i + 1)
  | _ => (lctx, type.instantiateRev fvars)

def stateOfTheorem (env : Environment) (info : ConstantInfo) (limits : Limits) : IO ProofState := do
  let state ← initialState env limits
  let options := match state.scopes with
    | scope :: _ => scope.opts
    | [] => {}
  let core ← withLimits { fileName := "", fileMap := FileMap.ofString "", options := options.setBool `autoImplicit false } limits
  let blank : ProofState := {
    core, env := state.env, ngen := state.ngen, auxDeclNGen := { namePrefix := `_theorem }
    nextMacroScope := state.nextMacroScope, mctx := {}, levelNames := info.levelParams, goals := [], root := ⟨`none⟩ }
  let (lctx, type) := introduce {} info.type #[] 0
  let cell ← blank.cell core
  let cell := { cell with metaContext := { cell.metaContext with lctx := lctx } }
  let (lctx, instances) ← cleanContext cell lctx
  let root ← rootState blank cell lctx instances type
  return { root with levelNames := info.levelParams }

/-- The first thing wrong with a proof, and the axioms it rests on. Only the proof term counts, which the kernel
checks against the library's own statement over the bare imports. -/
def judgeTheorem (imported : Environment) (info : ConstantInfo) (proof : String) (limits : Limits) : IO (String × Array Name) := do
  let state ← stateOfTheorem imported info limits
  match ← runTactic state ("(\n" ++ proof ++ "\n)") limits #[] with
  | .failed text => return (text, #[])
  | .state _ => return ("goals are left", #[])
  | .proved done =>
    let cell ← done.cell done.core
    match ← closedProof done cell with
    | .ok (.thmDecl value) =>
      let walk ← newWalk done.env #[]
      walkExpr walk value.value
      let axioms ← walk.axioms.get
      match firstForbidden axioms 0 with
      | some n => return ("the proof uses the axiom " ++ n.toString, axioms)
      | none =>
        let env ← IO.mkRef imported
        let visited ← IO.mkRef (#[] : Array Name)
        let failure ← IO.mkRef (none : Option String)
        let replay : Replay := { candidate := done.env, env, visited, failure }
        replayExpr replay value.value
        addChecked replay info.name (.thmDecl { value with name := info.name, levelParams := info.levelParams, type := info.type })
        let failure ← failure.get
        return (match failure with | some text => text | none => "", axioms)
    | .ok _ => return ("no theorem", #[])
    | .error text => return (text, #[])

end TacticServer
