module
public meta import Lean

/-!
# Starting the tactic server without compiling it again

The embedded Lean does not load the code of imported modules, only their signatures, and compiling the server
takes most of a minute. So it is compiled once (`lean -o`), and this file puts the code that came of it into
its own environment, where `lean --run` finds `main`.
-/

public meta section
open Lean Elab Command

syntax (name := loadServer) "load_server" : command

/-- Adds the code (`Lean.IR.Decl`) of a compiled module; Lean keeps it under the name of this extension. -/
unsafe def addCode (all : Array (Name × Array EnvExtensionEntry)) (i : Nat) (context : Core.Context)
    (core : IO.Ref Core.State) : EIO Exception Unit := do
  if h : i < all.size then
    let (extension, entries) := all[i]
    if extension.toString == "Lean.IR.declMapExt" then IR.addDecls (unsafeCast entries) context core
    addCode all (i + 1) context core

@[command_elab loadServer] unsafe def elabLoadServer : CommandElab := fun _ _ state => do
  match ← (readModuleData "/tactic-server/TacticServer.ir").toBaseIO with
  | .ok (data, _) =>
    let s ← state.get
    let core ← IO.mkRef ({ env := s.env } : Core.State)
    addCode data.entries 0 { fileName := "", fileMap := FileMap.ofString "" } core
    let c ← core.get
    state.set { s with env := c.env }
  | .error e => throw (.error .missing (.ofFormat (.text e.toString)))

end

load_server
