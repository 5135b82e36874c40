import Lean
import TacticServer.Tactic

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
  | .ready env _ =>
    let done ← elaborateIn env source limits
    server.env.set (some done.env)
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
  | _ => return failure .badRequest "not there"

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
  if line.isEmpty then return
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
  reply output nonce info 0 0
  serve { imports := ⟨entries⟩, states, trusted, env } input output nonce
