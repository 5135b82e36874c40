"""The command line options that choose a decoder, the same wherever there is one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from prover.decoder.completion import Decoding
from prover.decoder.options import MEMORIES, SHIPPED, USUAL, DecoderOptions


class Memories(click.ParamType[tuple[str, ...]]):
    """Kinds of memories with commas between them, or ``all``, or ``none``."""

    name = "kinds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        if value in ("all", "none"):
            return MEMORIES if value == "all" else ()
        given = value.split(",")
        if unknown := set(given) - set(MEMORIES):
            self.fail(
                f"{', '.join(map(repr, sorted(unknown)))}: choose of {', '.join(MEMORIES)}, or all, or none",
                param,
                ctx,
            )
        # In one order, and each once: a plan of the same memories is the same plan.
        return tuple(name for name in MEMORIES if name in given)


_OPTIONS = (
    click.option(
        "--model",
        default="",
        metavar="MODEL",
        help="Decoder: a checkpoint's folder, a hub id, or a server's http://…/v1 (default: our own).",
    ),
    click.option(
        "--prompt",
        default="",
        metavar="FORM",
        help="Decoder: goal, history, context, whole, or a template's name (default: as it was trained).",
    ),
    click.option(
        "--samples",
        type=click.IntRange(min=1),
        metavar="N",
        help="Decoder: tactics drawn at a state (default: 16, or what the prompt's template says).",
    ),
    click.option(
        "--decoding",
        type=click.Choice([d.value for d in Decoding]),
        help="Decoder: how they are drawn (default: by beam, or what the template says).",
    ),
    click.option(
        "--temperature",
        type=click.FloatRange(min=0, min_open=True),
        metavar="T",
        help="Decoder: of the samples (default: 1, or what the template says).",
    ),
    click.option("--device", default="", metavar="DEVICE", help="Decoder: cpu, cuda ... (default: a GPU)."),
    click.option(
        "--dtype", default="", metavar="TYPE", help="Decoder: float32, bfloat16 (default: the faster)."
    ),
    click.option(
        "--engine",
        type=click.Choice(["transformers", "vllm"]),
        default=SHIPPED.engine,
        show_default=True,
        help="Decoder: what runs a model that is no server's.",
    ),
    click.option(
        "--memory",
        type=Memories(),
        metavar="KINDS",
        help=f"Decoder with a memory layer: some of {','.join(MEMORIES)}, all, or none "
        f"(default: {','.join(USUAL)}).",
    ),
)
_NAMES = ("model", "prompt", "samples", "decoding", "temperature", "device", "dtype", "engine", "memory")


def decoder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the decoder's options; it gets them as one ``decoder``."""

    @functools.wraps(command)
    def gathered(*args: Any, **given: Any) -> Any:
        chosen = {name: given.pop(name) for name in _NAMES}
        chosen["decoding"] = chosen["decoding"] and Decoding(chosen["decoding"])
        return command(*args, decoder=DecoderOptions(**chosen), **given)

    for option in reversed(_OPTIONS):
        gathered = option(gathered)
    return gathered
