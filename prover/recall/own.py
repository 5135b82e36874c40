"""What the file at hand has declared, as a memory: a theorem of it may be used by those further down."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from memory.lookup import Memory
from prover.decoder.codec import Codec
from prover.environment import Scope
from prover.generators.base import Query
from prover.lean.messages import Declaration
from prover.premises import is_generated
from prover.recall.passages import LEMMA, REMEMBERED, of_declaration
from prover.recall.shelf import Located, Shelf, TextReader

if TYPE_CHECKING:
    import torch

#: Entries at most: a dozen a declaration, of which Lean tells a thousand a file.
CAPACITY = 1 << 17
#: Scopes whose declarations are kept in a form that is quick to compare.
_SCOPES = 64

#: The name and type of a declaration, on one line.
Said = tuple[str, str]


class OwnDeclarations:
    """Remembers declarations of files under proof. Safe for threads, but one alone may call :meth:`read`."""

    def __init__(self, codec: Codec, reader: TextReader, device: torch.device | str = "cpu") -> None:
        self._codec = codec
        self._shelf: Shelf[Said] = Shelf(reader, CAPACITY, device)
        #: By the id of ``own``, which is kept so that no other has it.
        self._scopes: OrderedDict[int, tuple[Sequence[Declaration], frozenset[Said]]] = OrderedDict()

    def is_due(self, queries: Iterable[Query]) -> bool:
        """Whether declarations that these queries may use wait to be read; they do from now on."""
        for query in queries:
            self._said(query.scope)
        return self._shelf.waiting > 0

    def read(self) -> None:
        """Read what waits, which runs the model."""
        for _ in self._shelf.read_waiting():
            pass

    def memories(self, query: Query) -> tuple[Memory, ...]:
        """What was read of the declarations that a query may use."""
        said = self._said(query.scope)
        return self._shelf.view(said, said.__contains__) if said else ()

    def located(self, query: Query) -> tuple[Located[Said], ...]:
        """The same, with the name and type of what each entry is of."""
        said = self._said(query.scope)
        return self._shelf.located(said, said.__contains__) if said else ()

    def _said(self, scope: Scope) -> frozenset[Said]:
        """The declarations of a scope, which are noted when it is seen first."""
        own, known = scope.own, self._scopes.get(id(scope.own))
        if known is None:
            known = self._scopes[id(own)] = own, frozenset(map(self._noted, filter(_is_kept, own)))
            if len(self._scopes) > _SCOPES:
                self._scopes.popitem(last=False)
        return known[1]

    def _noted(self, declaration: Declaration) -> Said:
        type_ = " ".join(declaration.type.split())
        line = Declaration(
            declaration.name, declaration.kind, declaration.module, type_, declaration.constants
        )
        self._shelf.note((line.name, type_), partial(of_declaration, self._codec, line, LEMMA))
        return line.name, type_


def _is_kept(declaration: Declaration) -> bool:
    return declaration.kind in REMEMBERED and not is_generated(declaration.name)
