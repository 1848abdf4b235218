"""How times are taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median, quantiles

import torch

from benchmarks.items import Measurement


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call, and of all that it sets a GPU to."""
    _wait_for_gpu()
    started = time.perf_counter()
    work()
    _wait_for_gpu()
    return time.perf_counter() - started


def _wait_for_gpu() -> None:
    """Wait until a GPU has done what it was given; without one there is nothing to wait for."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
    if torch.backends.mps.is_available():
        torch.mps.synchronize()


def median_time(work: Callable[[], object], repeats: int) -> Measurement:
    """Median wall time of some calls in seconds, after one that warms up."""
    work()
    times = [seconds(work) for _ in range(repeats)]
    return Measurement(median(times), details={"seconds": times})


def calls_within(work: Callable[[], object], limit: float) -> int:
    """How often ``work`` can be called within ``limit`` seconds; at least twice."""
    work()  # the first call is slower
    return max(2, int(limit / seconds(work)))


def in_turn(
    ours: Callable[[], object],
    peer: Callable[[], object],
    pairs: int,
    *,
    scales: tuple[float, float] = (1.0, 1.0),
    equal: bool | None = None,
) -> Measurement:
    """Time ours and a peer's doing of the same, again and again.

    The two are timed in turn, and each comes first in every other pair, so that a machine that
    slows down or warms up treats both alike.

    Args:
        ours: The toolkit's way.
        peer: The other way.
        pairs: How often both are timed, after a call each that warms up.
        scales: What a call's seconds are multiplied with, ours and the peer's: to get the
            item's unit, or all the work from the part of it that a slow peer is given.
        equal: What the measurement is to say of the answers.

    Returns:
        See :func:`compared`.
    """
    ours(), peer()
    times = []
    for pair in range(pairs):
        peer_first = seconds(peer) if pair % 2 else None
        ours_time = seconds(ours) * scales[0]
        peer_time = seconds(peer) if peer_first is None else peer_first
        times.append((ours_time, peer_time * scales[1]))
    return compared(times, equal=equal)


def compared(times: Sequence[tuple[float, float]], *, equal: bool | None = None) -> Measurement:
    """What pairs of times say.

    Args:
        times: Ours and the peer's, in the item's unit.
        equal: What the measurement is to say of the answers.

    Returns:
        The medians over the pairs, of the times and of their ratio, and how far the ratios
        spread.
    """
    ratios = [peer_time / ours_time for ours_time, peer_time in times]
    lower, _, upper = quantiles(ratios, method="inclusive") if len(times) > 1 else 3 * ratios
    return Measurement(
        ours=median(ours_time for ours_time, _ in times),
        peer=median(peer_time for _, peer_time in times),
        ratio=median(ratios),
        spread=(upper - lower) / 2,
        equal=equal,
        details={"ratios": ratios},
    )
