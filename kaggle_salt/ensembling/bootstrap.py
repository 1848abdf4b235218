"""How far a mean over tiles may be from what other tiles would have given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.errors import DataError

#: Share of the bootstrap's means that an interval covers.
CONFIDENCE = 0.95

_CHUNK_DRAWS = 2**21


def bootstrap_interval(
    scores: NDArray[np.float64], *, seed: int = 0, resamples: int = 2000
) -> tuple[float, float]:
    """95 % percentile interval of a mean over tiles; see :func:`bootstrap_means`.

    Returns:
        Lower and upper end.
    """
    means = bootstrap_means(scores, seed=seed, resamples=resamples)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def bootstrap_means(
    scores: NDArray[np.float64], *, seed: int = 0, resamples: int = 2000
) -> NDArray[np.float64]:
    """Means over tiles of resamples of the tiles, as many as there are, with repetition.

    A resample's mean depends only on how often each distinct score was drawn, and these
    counts are multinomial: drawing them directly is the same bootstrap, and with the eleven
    scores a tile can have it costs next to nothing.

    Args:
        scores: float64 ``[N]``.
        seed: Seed of the resampling; the same seed gives the same means.
        resamples: Number of resamples.

    Returns:
        float64 ``[resamples]``.

    Raises:
        DataError: There are no scores.

    Source: Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 1979.
    """
    if not len(scores):
        raise DataError("there are no scores to resample", expected="at least one tile")
    rng = np.random.default_rng(seed)
    values, counts = np.unique(scores, return_counts=True)
    means = np.empty(resamples)
    step = max(1, _CHUNK_DRAWS // len(values))
    for start in range(0, resamples, step):
        chunk = means[start : start + step]
        chunk[:] = rng.multinomial(len(scores), counts / len(scores), len(chunk)) @ values
    return means / len(scores)
