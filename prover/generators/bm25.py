"""BM25 over sets of tokens, with masks: an inverted index in NumPy.

After Robertson & Zaragoza (2009, "The Probabilistic Relevance Framework: BM25 and Beyond"); a document is a
set, so that a token counts once in it. A query gives each of its tokens a weight.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: BM25's saturation and length normalisation, at their usual values.
K1, B = 1.2, 0.75


class Bm25:
    """An index over N documents, known by their places from 0 to N - 1."""

    def __init__(self, documents: Sequence[Collection[str]]) -> None:
        import numpy as np

        self._size = len(documents)
        self._mean_length = sum(map(len, documents)) / max(1, self._size) or 1.0
        self._norms = np.array([self._norm(len(words)) for words in documents], dtype=np.float32)
        self._postings = _invert(documents)

    def idf(self, token: str) -> float:
        """Inverse document frequency, BM25's, above 0."""
        posting = self._postings.get(token)
        df = 0 if posting is None else len(posting)
        return math.log(1.0 + (self._size - df + 0.5) / (df + 0.5))

    def scores(self, query: Mapping[str, float]) -> NDArray[np.float32]:
        """The score of each document, (N,)."""
        import numpy as np

        scores = np.zeros(self._size, dtype=np.float32)
        for token, weight in query.items():
            if (posting := self._postings.get(token)) is not None:
                scores[posting] += weight * self.idf(token) * self._norms[posting]
        return scores

    def score(self, query: Mapping[str, float], document: Collection[str]) -> float:
        """The score of a document that is not in the index, by the index's frequencies."""
        found = sum(query[token] * self.idf(token) for token in query.keys() & set(document))
        return found * self._norm(len(document))

    def _norm(self, length: int) -> float:
        """What one occurrence in a document of so many tokens is worth."""
        return (K1 + 1.0) / (1.0 + K1 * (1.0 - B + B * length / self._mean_length))


def _invert(documents: Sequence[Collection[str]]) -> dict[str, NDArray[np.int32]]:
    """For each token the places of the documents that have it."""
    import numpy as np

    lists: dict[str, list[int]] = {}
    for place, words in enumerate(documents):
        for word in words:
            lists.setdefault(word, []).append(place)
    return {word: np.array(places, dtype=np.int32) for word, places in lists.items()}


def top(scores: NDArray[np.float32], limit: int) -> list[int]:
    """The places of the highest scores above 0, the highest first; of equals, the first."""
    import numpy as np

    if not len(scores):
        return []
    some = np.argpartition(-scores, min(limit, len(scores) - 1))[:limit]
    return [int(i) for i in some[np.lexsort((some, -scores[some]))] if scores[i] > 0.0]
