"""A beginning for a new decoder: it copies before it has learned anything.

A model that names a lemma copies the name from its prompt. The circuit for that is known (Olsson et al. 2022,
"In-context Learning and Induction Heads"): a head of a low layer writes beside each token which token stood
before it, and a head above it looks for what stood behind earlier occurrences of the present token, and says
it. A small model finds it late on a small corpus, or never; so it is put there, in the manner of mimetic
initialization (Trockman and Kolter 2023, arXiv 2305.09828): the weights begin with a structure that trained
models have, and are trained like any others. The architecture stays a plain Llama.

The residual stream of D dimensions begins in three parts: what tells tokens apart, then one constant, and at
the end, as wide as a head, the token before. Sizes below are of one part's numbers, or of the stream's root
mean square where some parts of the same length are in it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from prover.errors import InputError

#: Of an embedding's numbers. Five times what is usual: the first steps of Adam would wash out smaller ones.
_SIZE = 0.1
#: The weight of the last normalization, so that the output begins no louder than it usually does.
_LOUDNESS = 0.3
#: By how many nats the token before is preferred to its neighbours.
_BEFORE = 6.0
#: The score of what stood behind the present token, in nats; others are around 0.
_MATCH = 12.0
#: How many times as long as its embedding a copied token is said.
_SAID = 6.0
#: Dimensions of a head that turn less than this over a whole sequence, in radians, tell tokens, not places.
_TURN = 0.7


@torch.no_grad()
def begin_with_copying(model: Any, seed: int) -> None:
    """Set the weights of a new Llama, in place, so that it copies.

    All that writes to the residual stream but the circuit begins at zero.

    Raises:
        InputError: it is too small: it needs three layers and three heads.
    """
    layers, hidden = model.model.layers, model.config.hidden_size
    width = layers[0].self_attn.head_dim
    if len(layers) < 3 or hidden < 3 * width:
        raise InputError("--induction needs three layers and three heads at least: see --layers and --heads")
    chance, told = torch.Generator().manual_seed(seed), hidden - width - 1
    for layer in layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    model.model.norm.weight.fill_(_LOUDNESS)
    _embed(model.get_input_embeddings().weight, told, chance)
    angles = model.model.rotary_emb.inv_freq.float()
    still = (angles * model.config.max_position_embeddings < _TURN).nonzero().flatten()
    compared = torch.cat([still, still + width // 2])
    seen = torch.randn(width, told, generator=chance) / told**0.5
    _note_token_before(layers[0].self_attn, angles, seen)
    _copy_what_followed(layers[len(layers) // 3].self_attn, compared, seen, chance)


def _embed(embeddings: Tensor, told: int, chance: torch.Generator) -> None:
    """Tell tokens apart at random; the constant is as long as that, and no token is before."""
    embeddings.zero_()
    embeddings[:, :told].normal_(std=_SIZE, generator=chance)
    embeddings[:, told] = _SIZE * told**0.5


def _rms(parts: int, seen: Tensor) -> float:
    """The root mean square of a residual stream of so many parts, each as long as what tells tokens apart."""
    width, told = seen.shape
    return float(_SIZE * (parts * told / (told + 1 + width)) ** 0.5)


def _first_head(attention: Any, width: int) -> list[Tensor]:
    """The weights of query, key and value of the first head, (d, D) each, cleared."""
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    return [part.weight[:width].zero_() for part in parts]


def _note_token_before(attention: Any, angles: Tensor, seen: Tensor) -> None:
    """The first head attends to the token before, and writes what tells it apart, as long as it was.

    Queries are the same at all places, and a key is a query that is turned by one place (Su et al. 2021,
    "RoFormer").
    """
    width, told = seen.shape
    constant = _SIZE * told**0.5 / _rms(2, seen)
    turned_away = float((1.0 - angles.cos()).sum())
    amplitude = (_BEFORE * width**0.5 / turned_away) ** 0.5 / constant
    query, key, value = _first_head(attention, width)
    query[: width // 2, told] = amplitude
    key[:, told] = amplitude * torch.cat([angles.cos(), angles.sin()])
    value[:, :told] = seen
    as_long = (told / width) ** 0.5 * _rms(2, seen)
    attention.o_proj.weight[told + 1 :, :width] = torch.eye(width) * as_long


def _copy_what_followed(attention: Any, compared: Tensor, seen: Tensor, chance: torch.Generator) -> None:
    """The first head attends to where the token before is the present one, and says what stands there.

    Args:
        compared: the dimensions of the head that hardly turn.
    """
    width, told = seen.shape
    query, key, value = _first_head(attention, width)
    as_long = (told / width) ** 0.5
    number = _SIZE * as_long / _rms(3, seen)  # the size of what is compared
    scale = (_MATCH * width**0.5 / max(1, len(compared))) ** 0.5 / number
    query[compared, :told] = scale * as_long * seen[compared]
    key[compared, told + 1 + compared] = scale
    said = torch.linalg.qr(torch.randn(told, width, generator=chance)).Q  # (told, d), orthonormal columns
    value[:, :told] = said.T
    attention.o_proj.weight[:told, :width] = said * (_SAID * _rms(3, seen))
