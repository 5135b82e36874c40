import Lean
import TacticServer.Tactic

/-!
# The verdict on a finished source

For each theorem of the original source: the candidate declares it with the same statement, its proof
passes the kernel once more when replayed over the bare imports, and it rests on the allowed axioms alone.
Nothing that was said while the candidate was elaborated counts, only the declarations it left.
-/

open Lean Elab Meta

namespace TacticServer

/-! ## The declarations of a source -/

partial def forConstants (node : PersistentHashMap.Node Name ConstantInfo) (f : ConstantInfo → IO Unit) : IO Unit :=
  match node with
  | .entries entries => goEntries entries 0
  | .collision _ values _ => goValues values 0
where
  goEntries (entries : Array (PersistentHashMap.Entry Name ConstantInfo (PersistentHashMap.Node Name ConstantInfo)))
      (i : Nat) : IO Unit := do
    if h : i < entries.size then
      match entries[i] with
      | .entry _ info => f info
      | .ref child => forConstants child f
      | .null => pure ()
      goEntries entries (i + 1)
  goValues (values : Array ConstantInfo) (i : Nat) : IO Unit := do
    if h : i < values.size then
      f values[i]
      goValues values (i + 1)

/-- Run `f` on every declaration that was not imported. -/
def forNew (env : Environment) (f : ConstantInfo → IO Unit) : IO Unit :=
  forConstants env.constants.map₂.root f

def valueOf? : ConstantInfo → Option Expr
  | .thmInfo v => some v.value
  | .defnInfo v => some v.value
  | .opaqueInfo v => some v.value
  | _ => none

def isNew (env : Environment) (n : Name) : Bool := (env.getModuleIdxFor? n).isNone

/-! ## The same statement -/

/-- A lemma that Lean made of a proof inside a definition: one proof there is as good as another. -/
def isInnerProof (env : Environment) (n : Name) : Bool :=
  if isNew env n && (privateToUserName n).isInternalDetail then
    match env.find? n with
    | some (.thmInfo _) => true
    | _ => false
  else false

def isHole (env : Environment) (e : Expr) : Bool :=
  match e.getAppFn with
  | .const n _ => n == ``sorryAx || isInnerProof env n
  | _ => false

/-- Equal but for the places where the original has a `sorry`, or a proof that Lean made a lemma of. -/
partial def sameButSorry (env : Environment) (original candidate : Expr) : Bool :=
  if original == candidate || isHole env original then true else
  match original, candidate with
  | .app f a, .app g b => sameButSorry env f g && sameButSorry env a b
  | .lam _ t b _, .lam _ u c _ => sameButSorry env t u && sameButSorry env b c
  | .forallE _ t b _, .forallE _ u c _ => sameButSorry env t u && sameButSorry env b c
  | .letE _ t v b _, .letE _ u w c _ => sameButSorry env t u && sameButSorry env v w && sameButSorry env b c
  | .mdata _ e, e' => sameButSorry env e e'
  | e, .mdata _ e' => sameButSorry env e e'
  | .proj _ i e, .proj _ j e' => i == j && sameButSorry env e e'
  | _, _ => false

partial def sameNames : List Name → List Name → Bool
  | [], [] => true
  | x :: xs, y :: ys => x == y && sameNames xs ys
  | _, _ => false

/-- The two declarations mean the same, taken by themselves; proofs are not compared. -/
def sameDeclaration (env : Environment) (a b : ConstantInfo) : Bool :=
  if !(sameNames a.levelParams b.levelParams && sameButSorry env a.type b.type) then false else
  match a, b with
  | .thmInfo _, .thmInfo _ => true
  | .defnInfo v, .defnInfo w => sameButSorry env v.value w.value
  | .opaqueInfo v, .opaqueInfo w => sameButSorry env v.value w.value
  | .inductInfo v, .inductInfo w => sameNames v.ctors w.ctors && v.numParams == w.numParams
  | .ctorInfo v, .ctorInfo w => v.induct == w.induct && v.cidx == w.cidx
  | .recInfo v, .recInfo w => sameNames v.all w.all
  | .axiomInfo _, .axiomInfo _ => true
  | .quotInfo _, .quotInfo _ => true
  | _, _ => false

/-- Follows a statement into every declaration it mentions. -/
structure Comparison where
  original : Environment
  candidate : Environment
  visited : IO.Ref (Array Name)
  different : IO.Ref (Option Name)

mutual

partial def compareConstant (c : Comparison) (n : Name) : IO Unit := do
  let visited ← c.visited.get
  if memName visited n || !isNew c.original n || isInnerProof c.original n then pure () else
  c.visited.set (visited.push n)
  match c.original.find? n, c.candidate.find? n with
  | some a, some b =>
    if sameDeclaration c.original a b then
      compareAll c a.type
      match a with
      | .defnInfo v => compareAll c v.value
      | .opaqueInfo v => compareAll c v.value
      | .inductInfo v => forList v.ctors (fun k => compareConstant c k)
      | _ => pure ()
    else c.different.set (some n)
  | _, _ => c.different.set (some n)

partial def compareAll (c : Comparison) (e : Expr) : IO Unit :=
  forArray e.getUsedConstants (fun n => compareConstant c n)

end

/-! ## Replay -/

/-- Adds the candidate's declarations to the bare imports, each checked by the kernel, as needed. -/
structure Replay where
  candidate : Environment
  env : IO.Ref Environment
  visited : IO.Ref (Array Name)
  failure : IO.Ref (Option String)

def addChecked (r : Replay) (n : Name) (declaration : Declaration) : IO Unit := do
  let env ← r.env.get
  match env.addDeclCore 0 declaration none with
  | .ok env => r.env.set env
  | .error e =>
    let text ← kernelText e
    -- The first failure is the fault; what needs the declaration fails as well.
    match ← r.failure.get with
    | some _ => pure ()
    | none => r.failure.set (some ("the kernel rejects " ++ n.toString ++ ": " ++ text))

partial def constructorsOf (env : Environment) : List Name → List Constructor
  | [] => []
  | n :: ns =>
    match env.find? n with
    | some info => { name := n, type := info.type } :: constructorsOf env ns
    | none => constructorsOf env ns

partial def typesOf (env : Environment) : List Name → List InductiveType
  | [] => []
  | n :: ns =>
    match env.find? n with
    | some (.inductInfo v) => { name := n, type := v.type, ctors := constructorsOf env v.ctors } :: typesOf env ns
    | _ => typesOf env ns

mutual

partial def replayConstant (r : Replay) (n : Name) : IO Unit := do
  let visited ← r.visited.get
  if memName visited n || !isNew r.candidate n then pure () else
  r.visited.set (visited.push n)
  match r.candidate.find? n with
  | none => r.failure.set (some ("unknown declaration " ++ n.toString))
  | some info =>
    match info with
    | .inductInfo v => replayInductive r v
    | .ctorInfo v => replayConstant r v.induct
    | .recInfo v => forList v.all (fun m => replayConstant r m)
    | .quotInfo _ => pure ()
    | .axiomInfo v => replayExpr r v.type; addChecked r n (.axiomDecl v)
    | .thmInfo v => replayExpr r v.type; replayExpr r v.value; addChecked r n (.thmDecl v)
    | .defnInfo v => replayExpr r v.type; replayExpr r v.value; addChecked r n (.defnDecl v)
    | .opaqueInfo v => replayExpr r v.type; replayExpr r v.value; addChecked r n (.opaqueDecl v)

partial def replayInductive (r : Replay) (v : InductiveVal) : IO Unit := do
  let types := typesOf r.candidate v.all
  forList v.all fun n => r.visited.modify (fun a => if memName a n then a else a.push n)
  forList types fun t => do
    replayExpr r t.type
    forList t.ctors (fun k => replayExpr r k.type)
  addChecked r v.name (.inductDecl v.levelParams v.numParams types v.isUnsafe)

partial def replayExpr (r : Replay) (e : Expr) : IO Unit :=
  forArray e.getUsedConstants (fun n => replayConstant r n)

end

/-! ## Verdicts -/

structure Judge where
  imported : Environment
  original : Environment
  candidate : Environment

/-- The first thing wrong with a declaration, and the axioms it rests on. -/
def judge (j : Judge) (replay : Replay) (info : ConstantInfo) : IO (String × Array Name) := do
  let visited ← IO.mkRef (#[] : Array Name)
  let different ← IO.mkRef (none : Option Name)
  compareConstant { original := j.original, candidate := j.candidate, visited, different } info.name
  let walk ← newWalk j.candidate #[]
  walkConstant walk info.name
  let axioms ← walk.axioms.get
  match ← different.get with
  | some n =>
    if n == info.name then
      return (if (j.candidate.find? n).isSome then "the statement is not the original one"
              else "the declaration is missing", axioms)
    return ("the statement rests on " ++ (privateToUserName n).toString ++ ", which is not as in the original", axioms)
  | none =>
    match firstForbidden axioms 0 with
    | some n => return ((if n == ``sorryAx then "the proof uses sorry" else "the proof uses the axiom " ++ n.toString), axioms)
    | none =>
      replay.failure.set none
      replayConstant replay info.name
      match ← replay.failure.get with
      | some text => return (text, axioms)
      | none =>
        let env ← replay.env.get
        return (if (env.find? info.name).isSome then "" else "the kernel has not seen the declaration", axioms)

def verdictJson (name : Name) (reason : String) (axioms : Array Name) : Json :=
  Json.mkObj [("name", .str (privateToUserName name).toString), ("accepted", .bool reason.isEmpty),
              ("reason", .str reason), ("axioms", .arr (nameJsons axioms 0 #[]))]

def isExample : Name → Bool
  | .str _ last => last.startsWith "_example_"
  | _ => false

partial def anyUnproved (env : Environment) (used : Array Name) (i : Nat) : Bool :=
  if h : i < used.size then
    let here := isInnerProof env used[i] && match env.find? used[i] with
      | some (.thmInfo v) => usesSorry v.value
      | _ => false
    if here then true else anyUnproved env used (i + 1)
  else false

/-- The original left it with a `sorry`, in itself or in a proof inside it. -/
def isUnproved (env : Environment) (info : ConstantInfo) : Bool :=
  match valueOf? info with
  | some v => usesSorry v || anyUnproved env v.getUsedConstants 0
  | none => false

/-- What has to be judged: theorems, examples, and whatever the original left with a `sorry`. -/
def isTarget (env : Environment) (info : ConstantInfo) : Bool :=
  let name := privateToUserName info.name
  if isExample name then true
  else if isInnerProof env info.name then isUnproved env info && !hasOwner name
  else if isUnproved env info then true
  else match info with
    | .thmInfo _ => !name.isInternalDetail
    | _ => false
where
  /-- A proof inside a definition is judged with the definition, whose name is its prefix. -/
  hasOwner (name : Name) : Bool :=
    match name with
    | .str owner _ => match env.find? owner with
      | some owner => (valueOf? owner).isSome
      | none => false
    | _ => false

def judgeAll (j : Judge) (before : Environment) : IO (Array Json) := do
  let verdicts ← IO.mkRef (#[] : Array Json)
  let env ← IO.mkRef j.imported
  let visited ← IO.mkRef (#[] : Array Name)
  let failure ← IO.mkRef (none : Option String)
  let replay : Replay := { candidate := j.candidate, env, visited, failure }
  forNew j.original fun info => do
    if isTarget j.original info && !before.contains info.name then
      let (reason, axioms) ← judge j replay info
      verdicts.modify (fun a => a.push (verdictJson info.name reason axioms))
  verdicts.get

end TacticServer
