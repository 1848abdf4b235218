from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kaggle_salt.competition import metric
from kaggle_salt.errors import DataError

mask_pairs = hnp.arrays(
    np.bool_, st.tuples(st.just(2), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5))
)


def grid(text: str) -> NDArray[np.bool_]:
    """Rows of 0 and 1, separated by spaces, as one tile ``[1, H, W]``."""
    return np.array([[[int(pixel) for pixel in row] for row in text.split()]], dtype=np.bool_)


def tile_by_tile(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> list[float]:
    """The definition in exact fractions."""
    scores = []
    for one, other in zip(truth, predicted, strict=True):
        union = int((one | other).sum())
        if union == 0:
            scores.append(1.0)
            continue
        iou = Fraction(int((one & other).sum()), union)
        scores.append(sum(iou > Fraction(k, 20) for k in range(10, 20)) / 10)
    return scores


EMPTY = "0000 0000 0000 0000"


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        (EMPTY, EMPTY, 1.0),
        (EMPTY, "0000 0000 0000 0001", 0.0),
        ("0000 0000 0000 0001", EMPTY, 0.0),
        ("1100 1100 0000 0000", "1100 1100 0000 0000", 1.0),
        ("1100 0000 0000 0000", "0000 0000 0000 0011", 0.0),  # both have salt, IoU 0
        ("1100 0000 0000 0000", "1000 0000 0000 0000", 0.0),  # IoU 1/2 does not exceed .50
        ("1110 0000 0000 0000", "1100 0000 0000 0000", 0.4),  # 2/3: .50 .55 .60 .65
        ("1111 0000 0000 0000", "1110 0000 0000 0000", 0.5),  # 3/4 = .75 does not exceed .75
        ("1111 1000 0000 0000", "1111 0000 0000 0000", 0.6),  # 4/5 = .80 does not exceed .80
        ("1111 1111 1100 0000", "1111 1111 1000 0000", 0.8),  # 9/10 = .90 does not exceed .90
        ("1111 1111 1111 1111", "1111 1111 1111 1110", 0.9),  # 15/16 = .9375
    ],
)
def test_hand_computed_tiles(truth: str, predicted: str, expected: float) -> None:
    assert metric.image_scores(grid(truth), grid(predicted)).tolist() == [expected]


def test_every_exact_threshold_is_missed_and_the_next_pixel_passes() -> None:
    for passed_below, k in enumerate(range(10, 20)):
        at_threshold = metric.scores_from_counts(50 * k, 1000, 50 * k)
        just_above = metric.scores_from_counts(50 * k + 1, 1000, 50 * k + 1)
        assert at_threshold == passed_below / 10
        assert just_above == (passed_below + 1) / 10


@given(mask_pairs)
def test_image_scores_equal_the_definition(pair: NDArray[np.bool_]) -> None:
    truth, predicted = pair
    assert metric.image_scores(truth, predicted).tolist() == tile_by_tile(truth, predicted)


@given(mask_pairs)
def test_truth_and_prediction_may_change_places(pair: NDArray[np.bool_]) -> None:
    forward = metric.image_scores(pair[0], pair[1])
    np.testing.assert_array_equal(forward, metric.image_scores(pair[1], pair[0]))


def test_score_is_the_mean_over_tiles() -> None:
    truth = np.concatenate([grid(EMPTY), grid("1110 0000 0000 0000")])
    predicted = np.concatenate([grid(EMPTY), grid("1100 0000 0000 0000")])
    assert metric.score(truth, predicted) == pytest.approx(0.7, abs=1e-15)


def test_counts_broadcast_and_narrow_integers_do_not_overflow() -> None:
    shared = np.array([[200, 100], [0, 0]], dtype=np.uint8)
    truth = np.array([[200], [0]], dtype=np.uint8)
    predicted = np.array([[200, 100], [0, 255]], dtype=np.uint64)
    scores = metric.scores_from_counts(shared, truth, predicted)
    assert scores.dtype == np.float64
    assert scores.tolist() == [[1.0, 0.0], [1.0, 0.0]]
    assert metric.scores_from_counts([10, 9, 5], 10, 10).tolist() == [1.0, 0.7, 0.0]


def test_tiles_of_another_shape_are_refused() -> None:
    truth = np.zeros((2, 4, 4), np.bool_)
    with pytest.raises(DataError, match=r"\[1, 4, 4\]\nexpected: \[2, 4, 4\]"):
        metric.score(truth, truth[:1])


def test_probabilities_are_refused() -> None:
    truth = np.zeros((2, 4, 4), np.bool_)
    with pytest.raises(DataError, match=r"predicted masks are float32 \[2, 4, 4\]"):
        metric.score(truth, np.zeros((2, 4, 4), np.float32))


def test_masks_of_zeros_and_ones_score_as_booleans_do() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.random((2, 5, 7, 6)) < 0.7
    numbers = truth.astype(np.uint8), predicted.astype(np.uint8)
    expected = metric.image_scores(truth, predicted)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(metric.image_scores(*numbers), expected)
    assert metric.score(truth, numbers[1]) == metric.score(truth, predicted)


@pytest.mark.parametrize("value", [2, 255])
def test_masks_of_other_numbers_are_refused(value: int) -> None:
    truth = np.zeros((2, 4, 4), np.uint8)
    other = truth.copy()
    other[1, 2, 3] = value
    with pytest.raises(DataError, match=f"predicted masks are uint8 with the value {value}\n"):
        metric.score(truth, other)
    with pytest.raises(DataError, match=f"true masks are uint8 with the value {value}\n"):
        metric.score(other, truth)


def test_no_tiles_have_no_score() -> None:
    nothing = np.zeros((0, 4, 4), np.bool_)
    with pytest.raises(DataError, match="no tiles to score"):
        metric.score(nothing, nothing)
    with pytest.raises(DataError, match="no tiles to score"):
        metric.agreement(nothing, nothing)


def test_agreement_by_hand() -> None:
    """Salt in both, in the prediction alone, in the truth alone, in neither."""
    truth = np.zeros((4, 2, 4), np.bool_)
    predicted = truth.copy()
    truth[0, 0, :3] = predicted[0, 0, 1:4] = True  # 2 of 4 pixels shared
    predicted[1, 0, 0] = True
    truth[2] = True
    found = metric.agreement(truth, predicted)
    assert found.score == metric.score(truth, predicted) == 0.25  # 2/4 is not above .5
    assert found.accuracy == (6 + 7 + 0 + 8) / 32
    assert found.iou == (2 / 4 + 0 + 0) / 3


def test_empty_tiles_alone_have_no_iou() -> None:
    nothing = np.zeros((2, 4, 4), np.bool_)
    found = metric.agreement(nothing, nothing)
    assert (found.score, found.accuracy) == (1.0, 1.0)
    assert np.isnan(found.iou)
