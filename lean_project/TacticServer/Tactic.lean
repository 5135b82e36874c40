import Lean
import TacticServer.Frontend

/-!
# Running tactics

A tactic counts only when it logs no error, leaves no `sorry`, and, once no goal is left, when its
whole proof term has no metavariable, passes the kernel and rests on the allowed axioms alone.
-/

open Lean Elab Meta

namespace TacticServer

/-! ## Axioms -/

def standardAxioms : Array Name := #[``propext, ``Classical.choice, ``Quot.sound]

/-- Never allowed, whoever declares them. -/
def dangerousAxioms : Array Name := #[``sorryAx, ``Lean.ofReduceBool, ``Lean.ofReduceNat, ``Lean.trustCompiler,
  ``Lean.reduceBool, ``Lean.reduceNat]

structure AxiomWalk where
  env : Environment
  stubs : Bool
  trusted : Array Name
  visited : IO.Ref (Array Name)
  axioms : IO.Ref (Array Name)

def addAxiom (w : AxiomWalk) (n : Name) : IO Unit := do
  let known ← w.axioms.get
  if memName known n then pure () else w.axioms.set (known.push n)

def collectImported (env : Environment) (n : Name) : Array Name :=
  ((CollectAxioms.collect n env) {}).2.axioms

/-- An imported stub stands for what the shipped library proves or defines, opaquely: whatever holds for
every value of that type holds for the real one. Real axioms and unsafe constants stay axioms. -/
def stubIsLibrary (info : AxiomVal) : Bool :=
  !info.isUnsafe && !memName dangerousAxioms info.name && !memName standardAxioms info.name

mutual

partial def walkConstant (w : AxiomWalk) (n : Name) : IO Unit := do
  if (w.env.getModuleIdxFor? n).isSome then
    match w.env.find? n with
    | some (.axiomInfo info) =>
      if w.stubs && stubIsLibrary info then pure () else addAxiom w n
    | _ => if w.stubs then pure () else forArray (collectImported w.env n) (fun a => addAxiom w a)
  else
    let visited ← w.visited.get
    if memName visited n || memName w.trusted (privateToUserName n) then pure () else
    w.visited.set (visited.push n)
    match w.env.find? n with
    | none => addAxiom w (`unknown ++ n)
    | some (.axiomInfo info) => addAxiom w n; walkExpr w info.type
    | some info =>
      walkExpr w info.type
      match info with
      | .thmInfo v => walkExpr w v.value
      | .defnInfo v => walkExpr w v.value
      | .opaqueInfo v => walkExpr w v.value
      | .inductInfo v => forList v.ctors (fun c => walkConstant w c)
      | _ => pure ()

partial def walkExpr (w : AxiomWalk) (e : Expr) : IO Unit :=
  forArray e.getUsedConstants (fun n => walkConstant w n)

end

def newWalk (env : Environment) (trusted : Array Name) : IO AxiomWalk := do
  let visited ← IO.mkRef (#[] : Array Name)
  let axioms ← IO.mkRef (#[] : Array Name)
  return { env, stubs := libraryIsStubs env, trusted, visited, axioms }

partial def firstForbidden (names : Array Name) (i : Nat) : Option Name :=
  if h : i < names.size then
    if memName standardAxioms names[i] then firstForbidden names (i + 1) else some names[i]
  else none

/-! ## Running -/

inductive Ran where
  | failed (text : String)
  | state (s : ProofState)
  | proved (s : ProofState)

partial def logText (log : MessageLog) : IO String := do
  let texts ← IO.mkRef ""
  forPersistent log.unreported fun m => do
    if m.severity matches .error then
      let text ← m.data.toString
      texts.modify (fun t => if t.isEmpty then text else t ++ "\n" ++ text)
  texts.get

/-- The proof term of the whole theorem, closed over its context, as a declaration for the kernel. -/
def closedProof (s : ProofState) (cell : Cell) : IO (Except String Declaration) := do
  match s.mctx.findDecl? s.root with
  | none => return .error "the root goal is unknown"
  | some decl =>
    let cell := { cell with metaContext := { cell.metaContext with lctx := decl.lctx, localInstances := decl.localInstances } }
    let proof ← instantiate cell (.mvar s.root)
    if proof.hasExprMVar then return .error "the proof leaves a metavariable"
    let type ← instantiate cell decl.type
    let xs := decl.lctx.getFVars
    let proof ← cell.run (fun a b c d => mkLambdaFVars xs proof false false false true .default a b c d)
    let type ← cell.run (fun a b c d => mkForallFVars xs type false false true .default a b c d)
    let proof ← instantiate cell proof
    let type ← instantiate cell type
    if proof.hasMVar || type.hasMVar then return .error "the proof leaves a metavariable"
    if proof.hasFVar || type.hasFVar then return .error "the proof uses the theorem itself"
    let levels := (collectLevelParams (collectLevelParams {} type) proof).params.toList
    return .ok (.thmDecl { name := `_tacticServer.proof, levelParams := levels, type := type, value := proof })

def kernelText (e : Kernel.Exception) : IO String := do
  let text ← (e.toMessageData {}).toString
  return text

def finish (s : ProofState) (cell : Cell) (trusted : Array Name) : IO Ran := do
  match ← closedProof s cell with
  | .error text => return .failed text
  | .ok declaration =>
    match declaration with
    | .thmDecl value =>
      let walk ← newWalk s.env trusted
      walkExpr walk value.value
      let axioms ← walk.axioms.get
      match firstForbidden axioms 0 with
      | some n => return .failed ("the proof uses the axiom " ++ n.toString)
      | none =>
        match s.env.addDeclCore 0 declaration none with
        | .ok _ => return .proved s
        | .error e =>
          let text ← kernelText e
          return .failed ("the kernel rejects the proof: " ++ text)
    | _ => return .failed "no theorem"

def usesSorry (e : Expr) : Bool := memName e.getUsedConstants ``sorryAx

partial def anySorry (cell : Cell) (goals : List MVarId) : IO Bool := do
  match goals with
  | [] => return false
  | g :: gs =>
    let e ← instantiate cell (.mvar g)
    if usesSorry e then return true else anySorry cell gs

/-- What a failed tactic said: an aborted one has logged its errors before. -/
def failureText (cell : Cell) (e : Exception) : IO String := do
  let state ← cell.core.get
  if state.messages.hasErrors then logText state.messages else exceptionText e

def runTactic (s : ProofState) (tactic : String) (limits : Limits) (trusted : Array Name) : IO Ran := do
  match Parser.runParserCategory s.env `tactic tactic "<tactic>" with
  | .error text => return .failed text
  | .ok stx =>
    let core ← withLimits { s.core with fileName := "<tactic>", fileMap := FileMap.ofString tactic } limits
    let cell ← s.cell core
    let tacticRef ← IO.mkRef ({ goals := s.goals } : Tactic.State)
    let termRef ← IO.mkRef ({ levelNames := s.levelNames } : Term.State)
    let termContext : Term.Context := { errToSorry := false, mayPostpone := true }
    let tacticContext : Tactic.Context := { elaborator := .anonymous, recover := false }
    match ← (Tactic.evalTactic stx tacticContext tacticRef termContext termRef cell.metaContext cell.meta'
        cell.coreContext cell.core).toBaseIO with
    | .error e => let text ← failureText cell e; return .failed text
    | .ok _ =>
    match ← (Term.synthesizeSyntheticMVarsNoPostponing false termContext termRef cell.metaContext cell.meta'
        cell.coreContext cell.core).toBaseIO with
    | .error e => let text ← failureText cell e; return .failed text
    | .ok _ =>
    match ← (Tactic.pruneSolvedGoals tacticContext tacticRef termContext termRef cell.metaContext cell.meta'
        cell.coreContext cell.core).toBaseIO with
    | .error e => let text ← failureText cell e; return .failed text
    | .ok _ =>
    let coreState ← cell.core.get
    if coreState.messages.hasErrors then
      let text ← logText coreState.messages
      return .failed text
    let sorried ← anySorry cell s.goals
    if sorried then return .failed "the tactic uses sorry"
    let metaState ← cell.meta'.get
    let tacticState ← tacticRef.get
    let next := { s with
      env := coreState.env, ngen := coreState.ngen, auxDeclNGen := coreState.auxDeclNGen
      nextMacroScope := coreState.nextMacroScope, mctx := metaState.mctx, goals := tacticState.goals }
    match next.goals with
    | [] => finish next cell trusted
    | _ => return .state next

end TacticServer
