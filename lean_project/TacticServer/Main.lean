import Lean
import TacticServer.Library

/-!
# The tactic server

Reads one request a line on standard input and answers on standard output, until the input ends.
The first line it reads is a nonce; every answer starts with it, so that nothing a file prints while
it is elaborated can pass for an answer.

Run it with `lean --run` (all files of this folder in one), or build it with `lake build`.
-/

open Lean Elab Meta

namespace TacticServer

structure Server where
  imports : ImportCache
  states : IO.Ref (Array (Option ProofState))
  trusted : IO.Ref (Array Name)
  library : Library
  /-- Environment of the source opened last. -/
  env : IO.Ref (Option Environment)

def failure (status : Status) (error : String) : Answer := { status, error }

def addState (server : Server) (s : ProofState) : IO Nat := do
  let states ← server.states.get
  let id := states.size
  server.states.set #[]
  server.states.set (states.push (some s))
  return id

def getState (server : Server) (id : Nat) : IO (Option ProofState) := do
  let states ← server.states.get
  if h : id < states.size then return states[id] else return none

partial def dropStates (states : Array (Option ProofState)) (ids : Array Nat) (i : Nat) : Array (Option ProofState) :=
  if h : i < ids.size then
    let id := ids[i]
    let states := if h' : id < states.size then states.set id none else states
    dropStates states ids (i + 1)
  else states

def sorryJson (server : Server) (done : Elaborated) (path : String) (limits : Limits) (found : FoundSorry) : IO Json := do
  let state ← stateOfSorry found path limits
  let id ← addState server state
  let goal ← goalJson state state.core state.root
  let cell ← state.cell state.core
  let isProp ← match state.mctx.findDecl? state.root with
    | some decl => do
      let cell := { cell with metaContext := { cell.metaContext with lctx := decl.lctx } }
      cell.run (fun a b c d => isProp decl.type a b c d)
    | none => pure false
  return Json.mkObj [
    ("declaration", .str found.declaration.toString),
    ("start", positionJson (done.map.toPosition found.start) found.start),
    ("end", positionJson (done.map.toPosition found.stop) found.stop),
    ("tactic", .bool found.isTactic), ("is_prop", .bool isProp),
    ("state", natJson id), ("goal", goal)]

def openSource (server : Server) (source : Source) (dependencies : Array Source) (limits : Limits) : IO Answer := do
  match ← prepare server.imports source dependencies limits with
  | .missing name => return failure .missingModule name.toString
  | .broken text => return { status := .ok, body := [
      ("messages", .arr #[Json.mkObj [("severity", .str "error"), ("position", positionJson ⟨1, 0⟩ 0), ("text", .str text)]]),
      ("sorries", .arr #[])] }
  | .ready _ env =>
    let done ← elaborateIn env source limits
    server.env.set (some done.env)
    server.trusted.set #[]
    let sorries ← IO.mkRef (#[] : Array Json)
    forArray done.sorries fun found => do
      let j ← sorryJson server done source.path limits found
      sorries.modify (fun a => a.push j)
    let sorries ← sorries.get
    return { status := .ok, body := [("messages", .arr done.messages), ("sorries", .arr sorries)] }

def run (server : Server) (id : Nat) (tactic : String) (limits : Limits) : IO Answer := do
  match ← getState server id with
  | none => return failure .unknownState ("no state " ++ toString id)
  | some s =>
    let trusted ← server.trusted.get
    match ← runTactic s tactic limits trusted with
    | .failed text => return failure .tacticFailed text
    | .proved _ => return { status := .proved }
    | .state next =>
      let core ← withLimits next.core { limits with heartbeats := 0 }
      let goals ← goalJsons next core next.goals #[]
      let id ← addState server next
      return { status := .ok, body := [("state", natJson id), ("goals", .arr goals)] }

def openStatement (server : Server) (header : Source) (statement : String) (limits : Limits) : IO Answer := do
  match ← prepare server.imports header #[] limits with
  | .missing name => return failure .missingModule name.toString
  | .broken text => return failure .badRequest text
  | .ready _ env =>
    let state ← initialState env limits
    let (done, state) ← elaborateFrom state header
    if done.failed then return { status := .badRequest, error := "the header does not compile", body := [("messages", .arr done.messages)] }
    server.env.set (some done.env)
    match ← stateOfStatement state header.path statement limits with
    | .error text => return failure .badRequest text
    | .ok s =>
      let id ← addState server s
      let goal ← goalJson s s.core s.root
      return { status := .ok, body := [("state", natJson id), ("goals", .arr #[goal])] }

def check (server : Server) (original candidate : Source) (dependencies : Array Source) (limits : Limits) : IO Answer := do
  let wanted ← allImports (dependencies.push original) dependencies 0 #[]
  let given ← allImports (dependencies.push candidate) dependencies 0 #[]
  if importKey wanted 0 "" != importKey given 0 "" then
    return { status := .ok, error := "the imports are not those of the original", body := [("messages", .arr #[]), ("verdicts", .arr #[])] }
  match ← prepare server.imports original dependencies limits with
  | .missing name => return failure .missingModule name.toString
  | .broken text => return failure .badRequest text
  | .ready imported env =>
    let first ← elaborateIn env original limits
    if first.failed then return { status := .badRequest, error := "the original does not compile", body := [("messages", .arr first.messages)] }
    let second ← elaborateIn env candidate limits
    let verdicts ← judgeAll { imported, original := first.env, candidate := second.env } env
    let error := if second.failed then "the file has errors"
      else if second.searches > first.searches then "a search tactic (exact?, apply?, rw?) stands for a proof" else ""
    return { status := .ok, error, body := [("messages", .arr second.messages), ("verdicts", .arr verdicts)] }

/-! ## The environment and the library -/

def declarations (server : Server) (start limit : Nat) (only : Option String) : IO Answer := do
  match ← server.env.get with
  | none => return failure .badRequest "no source is open"
  | some env =>
    let cell ← bareCell env
    let index ← IO.mkRef 0
    let found ← IO.mkRef (#[] : Array Json)
    let l : Listing := { env, cell, start, stop := start + limit, index, found }
    listModules l env.allImportedModuleNames env.header.moduleData 0 only
    let own := match only with
      | none => true
      | some m => m.isEmpty
    if own then forNew env (fun info => list l "" info)
    let total ← l.index.get
    let found ← found.get
    let next := if start + limit < total then natJson (start + limit) else Json.null
    return { status := .ok, body := [("declarations", .arr found), ("next", next)] }

def modules (server : Server) : IO Answer := do
  match ← server.env.get with
  | none => return failure .badRequest "no source is open"
  | some env => return { status := .ok, body := [("modules", .arr (moduleJsons env.allImportedModuleNames env.header.moduleData 0 #[]))] }

def openTheorem (server : Server) (module name : String) (limits : Limits) : IO Answer := do
  match ← libraryTheorem server.library server.imports module name with
  | .missing text => return failure .missingModule text
  | .unfit text => return failure .badRequest text
  | .found env info =>
    server.env.set (some env)
    server.trusted.set #[]
    let state ← stateOfTheorem env info limits
    let id ← addState server state
    let goal ← goalJson state state.core state.root
    let nowhere := positionJson ⟨1, 0⟩ 0
    let root := Json.mkObj [
      ("declaration", .str name), ("start", nowhere), ("end", nowhere), ("tactic", .bool true), ("is_prop", .bool true),
      ("state", natJson id), ("goal", goal)]
    return { status := .ok, body := [("messages", .arr #[]), ("sorries", .arr #[root])] }

def checkTheorem (server : Server) (module name proof : String) (limits : Limits) : IO Answer := do
  match ← libraryTheorem server.library server.imports module name with
  | .missing text => return failure .missingModule text
  | .unfit text => return failure .badRequest text
  | .found env info =>
    let (reason, axioms) ← judgeTheorem env info proof limits
    return { status := .ok, body := [("messages", .arr #[]), ("verdicts", .arr #[verdictJson info.name reason axioms])] }

partial def readNames (texts : Array String) (i : Nat) (acc : Array Name) : Array Name :=
  if h : i < texts.size then readNames texts (i + 1) (acc.push texts[i].toName) else acc

def info : Answer :=
  { status := .ok, body := [("lean", .str versionString), ("protocol", natJson 1)] }

def answer (server : Server) (request : Request) : IO Answer := do
  match request with
  | .info => return info
  | .run state tactic limits => run server state tactic limits
  | .open source dependencies limits => openSource server source dependencies limits
  | .drop ids =>
    let states ← server.states.get
    server.states.set #[]
    server.states.set (dropStates states ids 0)
    return { status := .ok }
  | .statement header statement limits => openStatement server header statement limits
  | .check original candidate dependencies limits => check server original candidate dependencies limits
  | .theorem module name limits => openTheorem server module name limits
  | .checkTheorem module name proof limits => checkTheorem server module name proof limits
  | .modules => modules server
  | .declarations start limit only => declarations server start limit only
  | .trust names =>
    server.trusted.modify (fun a => readNames names 0 a)
    return { status := .ok }

def answerLine (server : Server) (line : String) : IO (Nat × Answer) := do
  match Json.parse line with
  | .error e => return (0, failure .badRequest ("not JSON: " ++ e))
  | .ok j =>
    match readNat j "id" with
    | .error e => return (0, failure .badRequest e)
    | .ok id =>
      match readRequest j with
      | .error e => return (id, failure .badRequest e)
      | .ok request =>
        match ← (answer server request).toBaseIO with
        | .ok a => return (id, a)
        | .error e => return (id, failure .internal e.toString)

def reply (out : IO.FS.Stream) (nonce : String) (a : Answer) (id nanos : Nat) : IO Unit := do
  out.putStr (nonce ++ " " ++ (a.toJson id (nanos / 1000)).compress ++ "\n")
  out.flush

partial def serve (server : Server) (input output : IO.FS.Stream) (nonce : String) : IO Unit := do
  let line ← input.getLine
  -- The input has ended: leave at once, whatever threads are still there.
  if line.isEmpty then IO.Process.exit 0
  let start ← IO.monoNanosNow
  let (id, a) ← answerLine server line
  let stop ← IO.monoNanosNow
  reply output nonce a id (stop - start)
  serve server input output nonce

end TacticServer

open TacticServer in
public unsafe def main : IO Unit := do
  enableInitializersExecution
  let input ← IO.getStdin
  let output ← IO.getStdout
  let nonce ← input.getLine
  let nonce := nonce.trimAscii.toString
  let entries ← IO.mkRef ([] : List (String × Environment))
  let states ← IO.mkRef (#[] : Array (Option ProofState))
  let trusted ← IO.mkRef (#[] : Array Name)
  let env ← IO.mkRef (none : Option Environment)
  let modules ← IO.mkRef ([] : List (String × ModuleData))
  let server : Server := { imports := ⟨entries⟩, states, trusted, library := ⟨modules⟩, env }
  -- In a thread of its own, since its stack is larger than the main one's, and Lean knows where it ends.
  let work : BaseIO (Except IO.Error Unit) := (do
    reply output nonce info 0 0
    serve server input output nonce : IO Unit).toBaseIO
  let task ← BaseIO.asTask work .dedicated
  match ← IO.wait task with
  | .ok _ => pure ()
  | .error e => throw e
