import Lean
import TacticServer.Goals

/-!
# Elaborating a source, command by command, and finding its `sorry`s

Every `sorry` is recorded with the environment *before* its command, so that a theorem is not at hand
in its own proof (as a lemma, or through `@[simp]`), and without the auxiliary local declaration that
stands for recursive calls.
-/

open Lean Elab Meta

namespace TacticServer

/-- A `sorry` as found in the info trees. -/
structure FoundSorry where
  declaration : Name
  start : String.Pos.Raw
  stop : String.Pos.Raw
  isTactic : Bool
  context : ContextInfo
  lctx : LocalContext
  /-- The metavariable of a tactic goal; a term has none. -/
  goal? : Option MVarId
  /-- The goal of a tactic is its metavariable's type; a term's is the type of this expression. -/
  expr : Expr
  envBefore : Environment

structure Elaborated where
  env : Environment
  messages : Array Json
  failed : Bool
  sorries : Array FoundSorry
  searches : Nat
  map : FileMap

partial def collectSorries (tree : InfoTree) (context? : Option ContextInfo) (env : Environment)
    (acc : IO.Ref (Array FoundSorry)) : IO Unit := do
  match tree with
  | .context partialContext t => collectSorries t (partialContext.mergeIntoOuter? context?) env acc
  | .hole _ => pure ()
  | .node info children =>
    let found? := sorryOf info context?
    match found? with
    | some found => acc.modify (fun a => a.push found)
    | none => forPersistent children (fun t => collectSorries t context? env acc)
where
  sorryOf (info : Info) (context? : Option ContextInfo) : Option FoundSorry :=
    match info, context? with
    | .ofTacticInfo i, some context =>
      if i.stx.getKind == ``Parser.Tactic.tacticSorry || i.stx.getKind == ``Parser.Tactic.tacticAdmit then
        match i.goalsBefore, i.stx.getPos?, i.stx.getTailPos? with
        | g :: _, some start, some stop => some {
            declaration := declarationOf context, start, stop, isTactic := true
            context := { context with mctx := i.mctxBefore }, lctx := {}, goal? := some g
            expr := .mvar g, envBefore := env }
        | _, _, _ => none
      else none
    | .ofTermInfo i, some context =>
      if i.stx.getKind == ``Parser.Term.sorry then
        match i.stx.getPos?, i.stx.getTailPos? with
        | some start, some stop => some {
            declaration := declarationOf context, start, stop, isTactic := false
            context, lctx := i.lctx, goal? := none, expr := i.expr, envBefore := env }
        | _, _ => none
      else none
    | _, _ => none
  declarationOf (context : ContextInfo) : Name :=
    match context.parentDecl? with
    | some n => privateToUserName n
    | none => .anonymous

/-- An `example` leaves nothing in the environment; as a definition `_example_n` it can be checked. -/
def nameExample (command : Syntax) (n : Nat) : Option Syntax :=
  match command with
  | .node info kind #[modifiers, .node info' kind' #[token, signature, value]] =>
    if kind' == ``Parser.Command.example then
      let name := Name.mkSimple ("_example_" ++ toString n)
      let ident := Syntax.ident (SourceInfo.fromRef token) name.toString.toRawSubstring name []
      let declId := Syntax.node .none ``Parser.Command.declId #[ident, .node .none nullKind #[]]
      let keyword := Syntax.atom (SourceInfo.fromRef token) "def"
      some (.node info kind #[modifiers,
        .node info' ``Parser.Command.definition #[keyword, declId, signature, value, .node .none nullKind #[]]])
    else none
  | _ => none

def severityText : MessageSeverity → String
  | .information => "info"
  | .warning => "warning"
  | .error => "error"

def messageJson (map : FileMap) (m : Message) : IO Json := do
  let text ← m.data.toString
  return Json.mkObj [
    ("severity", .str (severityText m.severity)),
    ("position", positionJson m.pos (map.ofPosition m.pos)),
    ("text", .str text)]

/-- What `elaborateCommands` gathers on its way. -/
structure Gather where
  messages : IO.Ref (Array Json)
  failed : IO.Ref Bool
  sorries : IO.Ref (Array FoundSorry)
  examples : IO.Ref Nat
  /-- Commands in which a search tactic (`exact?` and the like) stands for a proof. -/
  searches : IO.Ref Nat

/-- Tactics that look for a proof and suggest it: they are no proof themselves. -/
def isSearch (kind : SyntaxNodeKind) : Bool :=
  kind == ``Parser.Tactic.exact? || kind == ``Parser.Tactic.apply? || kind == ``Parser.Tactic.rewrites?

partial def hasSearch (stx : Syntax) : Bool :=
  match stx with
  | .node _ kind children => if isSearch kind then true else go children 0
  | _ => false
where
  go (children : Array Syntax) (i : Nat) : Bool :=
    if h : i < children.size then
      if hasSearch children[i] then true else go children (i + 1)
    else false

def gatherMessages (gather : Gather) (map : FileMap) (log : MessageLog) : IO Unit := do
  if log.hasErrors then gather.failed.set true
  let take := fun (m : Message) => do
    if m.isSilent then pure () else
    let j ← messageJson map m
    gather.messages.modify (fun a => a.push j)
  forPersistent log.reported take
  forPersistent log.unreported take

/-- The embedded Lean ships library theorems as axioms: statement without proof. -/
def libraryIsStubs (env : Environment) : Bool :=
  -- A theorem of the prelude, which every module imports.
  match env.find? ``congrArg with
  | some (.axiomInfo _) => (env.getModuleIdxFor? ``congrArg).isSome
  | _ => false

def elaborateOnce (path : String) (map : FileMap) (command : Syntax) (start : String.Pos.Raw)
    (state : Command.State) : IO Command.State := do
  let context : Command.Context := {
    fileName := path, fileMap := map, cmdPos := start, snap? := none, cancelTk? := none }
  let ref ← IO.mkRef state
  match ← (Command.elabCommandTopLevel command context ref).toBaseIO with
  | .ok _ => ref.get
  | .error e =>
    let after ← ref.get
    let text ← exceptionText e
    let position := map.toPosition start
    let message : Message := { fileName := path, pos := position, severity := .error, data := .ofFormat (.text text) }
    return { after with messages := after.messages.add message }

def setNoncomputable (flag : Bool) (state : Command.State) : Command.State :=
  match state.scopes with
  | [] => state
  | scope :: rest => { state with scopes := { scope with isNoncomputable := flag } :: rest }

/-- The embedded Lean lacks much of what compiling a definition takes, and proofs do not need the code: what
fails is elaborated again without compiling, and when that goes well it counts. -/
def elaborateCommand (path : String) (map : FileMap) (command : Syntax) (start : String.Pos.Raw)
    (state : Command.State) : IO Command.State := do
  let first ← elaborateOnce path map command start state
  match state.scopes with
  | [] => return first
  | scope :: _ =>
    if !first.messages.hasErrors || scope.isNoncomputable || !libraryIsStubs state.env then return first
    let second ← elaborateOnce path map command start (setNoncomputable true state)
    return if second.messages.hasErrors then first else setNoncomputable false second

partial def elaborateCommands (path : String) (input : Parser.InputContext) (parser : Parser.ModuleParserState)
    (state : Command.State) (gather : Gather) : IO Command.State := do
  match state.scopes with
  | [] => throw (IO.userError "no scope left")
  | scope :: _ =>
    let context : Parser.ParserModuleContext := {
      env := state.env, options := scope.opts
      currNamespace := scope.currNamespace, openDecls := scope.openDecls }
    let (command, parser', log) := Parser.parseCommand input context parser {}
    gatherMessages gather input.fileMap log
    if Parser.isTerminalCommand command then return state
    if hasSearch command then gather.searches.modify (fun n => n + 1)
    let n ← gather.examples.get
    let command ← match nameExample command (n + 1) with
      | some renamed => do gather.examples.set (n + 1); pure renamed
      | none => pure command
    let before := state.env
    let state ← elaborateCommand path input.fileMap command parser.pos
      { state with messages := {}, infoState := { enabled := true } }
    gatherMessages gather input.fileMap state.messages
    let infos := state.infoState.substituteLazy.get
    forPersistent infos.trees (fun t => collectSorries (t.substitute infos.assignment) none before gather.sorries)
    elaborateCommands path input parser' state gather

/-! ## Imports -/

def isDependency (dependencies : Array Source) (n : Name) : Bool :=
  go 0
where
  go (i : Nat) : Bool :=
    if h : i < dependencies.size then
      if dependencies[i].name == n.toString then true else go (i + 1)
    else false
  termination_by dependencies.size - i

partial def addImports (items : Array Import) (dependencies : Array Source) (i : Nat) (acc : Array Import) : Array Import :=
  if h : i < items.size then
    let item := items[i]
    let skip := isDependency dependencies item.module || has acc item.module 0
    addImports items dependencies (i + 1)
      (if skip then acc else acc.push { module := item.module })
  else acc
where
  has (acc : Array Import) (n : Name) (i : Nat) : Bool :=
    if h : i < acc.size then
      if acc[i].module == n then true else has acc n (i + 1)
    else false

partial def importKey (items : Array Import) (i : Nat) (acc : String) : String :=
  if h : i < items.size then importKey items (i + 1) (acc ++ items[i].module.toString ++ " ") else acc

/-- The first import that no file answers to. -/
partial def missingModule (items : Array Import) (i : Nat) : IO (Option Name) := do
  if h : i < items.size then
    let name := items[i].module
    match ← (findOLean name).toBaseIO with
    | .error _ => return some name
    | .ok path =>
      let there ← path.pathExists
      if there then missingModule items (i + 1) else return some name
  else return none

/-- Environments that were made before: of imports alone, and of imports with dependencies elaborated on top. -/
structure ImportCache where
  entries : IO.Ref (List (String × Environment))

def lookUp (key : String) : List (String × Environment) → Option Environment
  | [] => none
  | (k, env) :: rest => if k == key then some env else lookUp key rest

def importCached (cache : ImportCache) (items : Array Import) : IO Environment := do
  let key := importKey items 0 ""
  let entries ← cache.entries.get
  match lookUp key entries with
  | some env => return env
  | none =>
    -- An imported environment is never freed; loading extensions makes notations and attributes work.
    let env ← importModules items {} (trustLevel := 0) (loadExts := true)
    cache.entries.set ((key, env) :: entries)
    return env

/-! ## Sources -/

def inputOf (source : Source) : Parser.InputContext :=
  { inputString := source.text, fileName := source.path, fileMap := FileMap.ofString source.text
    endPos := source.text.rawEndPos, endPos_valid := Nat.le_refl _ }

def importsOf (source : Source) : IO (Array Import) := do
  let (header, _, _) ← Parser.parseHeader (inputOf source)
  return headerToImports header

partial def allImports (sources : Array Source) (dependencies : Array Source) (i : Nat) (acc : Array Import) : IO (Array Import) := do
  if h : i < sources.size then
    let items ← importsOf sources[i]
    allImports sources dependencies (i + 1) (addImports items dependencies 0 acc)
  else return acc

def bareState (env : Environment) (limits : Limits) : Command.State :=
  let state := Command.mkState env {} {}
  { state with maxRecDepth := limits.recursion, infoState := { enabled := true } }

/-- What a file starts with. The embedded Lean takes every file for a `module`, whose declarations are hidden
from each other's interfaces unless it says otherwise. -/
def opening (env : Environment) : String :=
  if libraryIsStubs env then "@[expose] public section\n" else "section\n"

def elaborateFrom (state : Command.State) (source : Source) : IO (Elaborated × Command.State) := do
  let input := inputOf source
  let (_, parser, log) ← Parser.parseHeader input
  let messages ← IO.mkRef (#[] : Array Json)
  let failed ← IO.mkRef false
  let sorries ← IO.mkRef (#[] : Array FoundSorry)
  let examples ← IO.mkRef 0
  let searches ← IO.mkRef 0
  let gather : Gather := { messages, failed, sorries, examples, searches }
  gatherMessages gather input.fileMap log
  let state ← elaborateCommands source.path input parser state gather
  let messages ← gather.messages.get
  let failed ← gather.failed.get
  let sorries ← gather.sorries.get
  let searches ← gather.searches.get
  return ({ env := state.env, messages, failed, sorries, searches, map := input.fileMap }, state)

/-- The state in which the first command of a file is elaborated. -/
def initialState (env : Environment) (limits : Limits) : IO Command.State := do
  let (_, state) ← elaborateFrom (bareState env limits) { name := "", path := "", text := opening env }
  return state

def elaborateIn (env : Environment) (source : Source) (limits : Limits) : IO Elaborated := do
  let state ← initialState env limits
  let (done, _) ← elaborateFrom state source
  return done

/-- The commands that close every scope but the file's own. -/
def closing : List Command.Scope → String
  | [] => ""
  | [_] => ""
  | scope :: rest => "end " ++ scope.header ++ "\n" ++ closing rest

/-- Process the project's own modules in the same environment, in order. Each stands in a section of
its own, so that what is `local` in it ends with it, as at the end of a file. -/
partial def elaborateDependencies (env : Environment) (dependencies : Array Source) (limits : Limits) (i : Nat) : IO (Except String Environment) := do
  if h : i < dependencies.size then
    let source := dependencies[i]
    let state ← initialState env limits
    let (done, state) ← elaborateFrom state source
    if done.failed then
      return .error ("the imported file " ++ source.path ++ " does not compile: " ++ firstError done.messages 0)
    let (_, state) ← elaborateFrom state { source with text := closing state.scopes }
    elaborateDependencies state.env dependencies limits (i + 1)
  else return .ok env
where
  firstError (messages : Array Json) (i : Nat) : String :=
    if h : i < messages.size then
      match messages[i].getObjVal? "severity" with
      | .ok (.str "error") => messages[i].compress
      | _ => firstError messages (i + 1)
    else ""

partial def sourceKey (sources : Array Source) (i : Nat) (acc : String) : String :=
  if h : i < sources.size then
    let source := sources[i]
    sourceKey sources (i + 1) (acc ++ "\n" ++ source.name ++ "\n" ++ source.text)
  else acc

inductive Prepared where
  /-- `imported` is the environment of the imports alone, `env` that with the dependencies. -/
  | ready (imported env : Environment)
  | missing (module : Name)
  | broken (text : String)

def prepare (cache : ImportCache) (source : Source) (dependencies : Array Source) (limits : Limits) : IO Prepared := do
  let items ← allImports (dependencies.push source) dependencies 0 #[]
  match ← missingModule items 0 with
  | some name => return .missing name
  | none =>
    let imported ← importCached cache items
    let imported := imported.setMainModule `Main
    if dependencies.size == 0 then return .ready imported imported
    let key := importKey items 0 "" ++ sourceKey dependencies 0 ""
    let entries ← cache.entries.get
    match lookUp key entries with
    | some env => return .ready imported env
    | none =>
      match ← elaborateDependencies imported dependencies limits 0 with
      | .error text => return .broken text
      | .ok env =>
        cache.entries.set ((key, env) :: entries)
        return .ready imported env

/-! ## From a `sorry` to a proof state -/

def coreContextOf (context : ContextInfo) (path : String) : Core.Context :=
  { fileName := path, fileMap := context.fileMap, options := context.options
    currNamespace := context.currNamespace, openDecls := context.openDecls }

/-- Local instances, and the context without the stand-ins for recursive calls. -/
def cleanContext (cell : Cell) (lctx : LocalContext) : IO (LocalContext × LocalInstances) := do
  let cleaned ← IO.mkRef lctx
  let instances ← IO.mkRef (#[] : LocalInstances)
  forPersistent lctx.decls fun d? => do
    match d? with
    | none => pure ()
    | some d =>
      if d.isAuxDecl then cleaned.modify (fun l => l.erase d.fvarId) else
      match ← cell.run (fun a b c e => isClass? d.type a b c e) with
      | some className => instances.modify (fun a => a.push { className, fvar := .fvar d.fvarId })
      | none => pure ()
  let lctx ← cleaned.get
  let instances ← instances.get
  return (lctx, instances)

/-- Every constant of the goal is known before the command, so its own declaration is not needed. -/
partial def allKnown (env : Environment) (used : Array Name) (i : Nat) : Bool :=
  if h : i < used.size then
    if env.contains used[i] then allKnown env used (i + 1) else false
  else true

partial def contextKnown (env : Environment) (cell : Cell) (lctx : LocalContext) (type : Expr) : IO Bool := do
  let known ← IO.mkRef (allKnown env type.getUsedConstants 0)
  forPersistent lctx.decls fun d? => do
    match d? with
    | none => pure ()
    | some d =>
      let type ← instantiate cell d.type
      if allKnown env type.getUsedConstants 0 then pure () else known.set false
  known.get

def levelsOf (cell : Cell) (lctx : LocalContext) (type : Expr) : IO (List Name) := do
  let state ← IO.mkRef (collectLevelParams {} type)
  forPersistent lctx.decls fun d? => do
    match d? with
    | none => pure ()
    | some d =>
      let type ← instantiate cell d.type
      state.modify (fun s => collectLevelParams s type)
  let state ← state.get
  return state.params.toList

/-- The state whose only goal is a new metavariable of the given type. -/
def rootState (blank : ProofState) (cell : Cell) (lctx : LocalContext) (instances : LocalInstances) (type : Expr) : IO ProofState := do
  let goal ← cell.run (fun a b c d => mkFreshExprMVarAt lctx instances type .syntheticOpaque .anonymous 0 a b c d)
  let levelNames ← levelsOf cell lctx type
  let metaState ← cell.meta'.get
  let coreState ← cell.core.get
  return { blank with
    ngen := coreState.ngen, mctx := metaState.mctx, levelNames
    goals := [goal.mvarId!], root := goal.mvarId! }

def stateOfSorry (found : FoundSorry) (path : String) (limits : Limits) : IO ProofState := do
  let core ← withLimits (coreContextOf found.context path) limits
  let blank : ProofState := {
    core, env := found.context.env, ngen := found.context.ngen, auxDeclNGen := {}
    nextMacroScope := firstFrontendMacroScope + 1, mctx := found.context.mctx, levelNames := []
    goals := [], root := ⟨`none⟩ }
  let lctx := match found.goal? with
    | some g => match found.context.mctx.findDecl? g with
      | some decl => decl.lctx
      | none => {}
    | none => found.lctx
  let cell ← blank.cell core
  let cell := { cell with metaContext := { cell.metaContext with lctx := lctx } }
  let type ← cell.run (fun a b c d => inferType found.expr a b c d)
  let type ← instantiate cell type
  let (lctx, instances) ← cleanContext cell lctx
  let early ← contextKnown found.envBefore cell lctx type
  let state ← rootState blank cell lctx instances type
  return { state with
    env := if early then found.envBefore else found.context.env
    auxDeclNGen := { namePrefix := found.declaration ++ `_tactic } }

/-- The state of a bare statement, elaborated after a header (`open`, `variable` and the like count). -/
def stateOfStatement (state : Command.State) (path statement : String) (limits : Limits) : IO (Except String ProofState) := do
  match state.scopes, Parser.runParserCategory state.env `term statement "<statement>" with
  | _, .error text => return .error text
  | [], _ => return .error "no scope left"
  | scope :: _, .ok stx =>
    let core ← withLimits {
      fileName := path, fileMap := FileMap.ofString statement, options := scope.opts.setBool `autoImplicit false
      currNamespace := scope.currNamespace, openDecls := scope.openDecls } limits
    let blank : ProofState := {
      core, env := state.env, ngen := state.ngen, auxDeclNGen := { namePrefix := `_statement }
      nextMacroScope := state.nextMacroScope, mctx := {}, levelNames := scope.levelNames, goals := [], root := ⟨`none⟩ }
    let cell ← blank.cell core
    let termRef ← IO.mkRef ({ levelNames := scope.levelNames } : Term.State)
    let termContext : Term.Context := { errToSorry := false }
    match ← (Term.elabTermEnsuringType stx (some (.sort .zero)) true true none termContext termRef
        cell.metaContext cell.meta' cell.coreContext cell.core).toBaseIO with
    | .error e => let text ← exceptionText e; return .error text
    | .ok type =>
    match ← (Term.synthesizeSyntheticMVarsNoPostponing false termContext termRef cell.metaContext cell.meta'
        cell.coreContext cell.core).toBaseIO with
    | .error e => let text ← exceptionText e; return .error text
    | .ok _ =>
      let type ← instantiate cell type
      if type.hasMVar then return .error "the statement leaves a metavariable: add a type annotation"
      let root ← rootState blank cell {} #[] type
      return .ok root

end TacticServer
