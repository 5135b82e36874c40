"""What is needed of Ray: a connection, room, answers, and whether an actor is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prover.errors import InputError, LeanUnavailable, ProverError

_KNOCK_SECONDS = 10.0


class ActorLost(Exception):
    """The actor, or its node, is gone or out of reach."""


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to a Ray cluster; ``local`` starts one on this machine, and stops it at the end.

    Not to be called inside an event loop: Ray takes over the signals that the loop would get.

    Raises:
        InputError: Ray is not installed, or there is no cluster at this address.
    """
    try:
        import ray
    except ImportError:
        raise InputError("--ray needs Ray: pip install 'lean-prover[ray]'") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"no Ray cluster at {address} ({error}): start one with `ray start --head`, or give --ray local"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Find out whether somebody listens at ``HOST:PORT``: Ray itself would try that for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


async def answer_of(reference: Any) -> Any:
    """Wait for an actor's answer.

    Raises:
        ActorLost: there will be none.
        ProverError: what the actor raised.
    """
    from ray.exceptions import RayError, RayTaskError

    try:
        return await reference
    except RayTaskError as error:
        if isinstance(error.cause, ProverError):
            raise error.cause from None
        raise LeanUnavailable(f"a worker failed: {error.cause!r}") from error
    except RayError as error:
        raise ActorLost(str(error)) from error


async def wait_for(references: Sequence[Any], seconds: float) -> None:
    """Wait for answers, whatever they are, but not longer than so many seconds."""
    futures = [asyncio.wrap_future(reference.future()) for reference in references]
    if futures:
        await asyncio.wait(futures, timeout=seconds)


def kill(actor: Any) -> None:
    """End an actor, if it is alive."""
    import ray

    ray.kill(actor)


def room_for(resources: Mapping[str, float]) -> int:
    """Return how many actors that take these resources the cluster has room for.

    Raises:
        InputError: for none.
    """
    import ray

    there = ray.cluster_resources()
    names = {"num_cpus": "CPU", "num_gpus": "GPU"}
    room = int(min(there.get(names.get(name, name), 0) // need for name, need in resources.items()))
    if room < 1:
        needs = ", ".join(f"{name} {need:g}" for name, need in resources.items())
        raise InputError(f"the Ray cluster has no room for a worker, which takes {needs}: add a node")
    return room
