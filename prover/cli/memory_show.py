"""What is in memories, and what was found in one, for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memory.index.files import read_file
from memory.store import MemoryStore, StoreInfo
from prover.decoder.checkpoint import LoadedModel
from prover.errors import InputError
from prover.recall.faults import as_prover_errors
from prover.recall.library import LIBRARY, OWN, completed, content_of, has_store

if TYPE_CHECKING:
    from prover.recall.looking import Looked


# --- a memory ---------------------------------------------------------------------------------------


def inspect(folder: Path, loaded: LoadedModel) -> dict[str, Any]:
    """Say what a memory holds, and whether it is a model's.

    Raises:
        InputError: there is none, or it is damaged.
        ModelUnavailable: the disk fails.
    """
    found: dict[str, Any] = {"folder": str(folder), "lean": completed(folder).get("lean", "")}
    for part in _parts(folder):
        with as_prover_errors(), MemoryStore.open(folder / part) as store:
            found[part] = _held(store.info())
            found["kind"] = asdict(store.kind)
            if part == LIBRARY:
                found["complete"] = completed(folder).get("content") == content_of([store])
            found["model"] = loaded.name
            found["belongs"] = store.kind == loaded.memory_kind
    found["index"] = {path.name: path.stat().st_size for path in _indices(folder)}
    return found


def _held(info: StoreInfo) -> dict[str, Any]:
    names = ("entries", "passages", "modules", "bytes", "kinds")
    return {name: getattr(info, name) for name in names}


def check(folder: Path) -> None:
    """Hold a memory against its checksums.

    Raises:
        InputError: there is none, or something is not as it was written.
        ModelUnavailable: the disk fails.
    """
    with as_prover_errors():
        for part in _parts(folder):
            with MemoryStore.open(folder / part) as store:
                store.verify()
        for path in _indices(folder):
            read_file(path)


def _parts(folder: Path) -> list[str]:
    parts = [part for part in (LIBRARY, OWN) if has_store(folder / part)]
    if not parts:
        raise InputError(f"There is no memory in {folder}: `prover memory build` makes one in the cache.")
    return parts


def _indices(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("index.*")) if path.suffix != ".new"]


def as_text(found: Mapping[str, Any]) -> str:
    """What :func:`inspect` found, in lines."""
    kind = found["kind"]
    whose = "is that of" if found["belongs"] else "is NOT that of"
    lines = [
        found["folder"],
        f"  Lean       {found['lean'] or 'not known before the library is complete'}",
        f"  model      {kind['model']}, which {whose} {found['model']}",
        f"  layer      {kind['layer']}, {kind['heads']} heads of {kind['width']}",
    ]
    for part in (LIBRARY, OWN):
        if part in found:
            broken = part == LIBRARY and not found["complete"]
            lines += _described(part, found[part], ", broken off: `prover memory build`" if broken else "")
    sizes = (f"{name} ({_mib(size)})" for name, size in found["index"].items())
    return "\n".join([*lines, f"  index      {', '.join(sizes) or 'made when it is opened'}"])


def _described(part: str, held: Mapping[str, Any], more: str) -> list[str]:
    counts = f"{held['entries']:,} entries of {held['passages']:,} passages in {held['modules']:,} modules"
    kinds = ", ".join(f"{count:,} of kind {kind}" for kind, count in held["kinds"].items())
    return [f"  {part:<9}  {counts}, {_mib(held['bytes'])}{more}", f"             {kinds or 'nothing'}"]


def _mib(size: int) -> str:
    return f"{size / 1024**2:,.1f} MiB"


# --- what was looked up -----------------------------------------------------------------------------


def looked_as_json(looked: Looked, top: int) -> dict[str, Any]:
    """The first few names, and hits of each head."""
    names = [{"name": name, "weight": weight} for name, weight in looked.names[:top]]
    heads = [
        {"head": head.number, "share": head.share, "hits": [asdict(hit) for hit in head.hits[:top]]}
        for head in looked.heads
    ]
    return {"names": names, "heads": heads}


def looked_as_text(looked: Looked, top: int) -> str:
    """The same in lines: weight, cosine, name, module, and the token that was found."""
    lines = ["all heads"]
    lines += [f"  {weight:5.2f}  {name}" for name, weight in looked.names[:top]]
    for head in looked.heads:
        hears = "" if head.share is None else f", which hears the memory by {head.share:.0%}"
        lines += ["", f"head {head.number}{hears}"]
        lines += [
            f"  {hit.weight:5.2f}  {hit.cosine:5.2f}  {hit.name}  {hit.module}  {hit.token!r}"
            for hit in head.hits[:top]
        ]
    return "\n".join(lines)
