module
public meta import Lean
public meta section
open Lean Elab Command

syntax (name := loadServer) "load_server" : command

unsafe def pick (all : Array (Name × Array EnvExtensionEntry)) (i : Nat) (ctx : Core.Context) (ref : IO.Ref Core.State) : EIO Exception Unit := do
  if h : i < all.size then
    let (n, entries) := all[i]
    if n.toString == "Lean.IR.declMapExt" then IR.addDecls (unsafeCast entries) ctx ref
    else dbgTrace (n.toString ++ " " ++ toString entries.size) fun _ => pure ()
    pick all (i + 1) ctx ref

@[command_elab loadServer] unsafe def elabLoad : CommandElab := fun _ _ ref => do
  match ← (readModuleData "/build/Server.ir").toBaseIO with
  | .ok (data, _) =>
    let s ← ref.get
    let core ← IO.mkRef ({ env := s.env } : Core.State)
    pick data.entries 0 { fileName := "", fileMap := FileMap.ofString "" } core
    let c ← core.get
    ref.set { s with env := c.env }
  | .error e => throw (.error .missing (.ofFormat (.text e.toString)))
end
load_server
