"""Sorting rows: the radix sort of the CPU beside torch's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kaggle_salt.learning.lovasz import largest_first


def assert_sorted_as_torch_does(values: Tensor) -> None:
    expected = torch.sort(values, dim=1, descending=True, stable=True)
    order = largest_first(values)
    assert order.dtype == torch.int64
    assert torch.equal(values.gather(1, order), expected.values)
    assert torch.equal(order, expected.indices)


def test_rows_by_hand() -> None:
    values = torch.tensor([[1.0, 3.0, -2.0, 2.0], [0.0, -1.0, 0.0, 5.0]])
    assert largest_first(values).tolist() == [[1, 3, 0, 2], [3, 0, 2, 1]]


@given(
    st.lists(
        st.lists(st.floats(width=32, allow_nan=False), min_size=6, max_size=6),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_any_numbers(rows: list[list[float]]) -> None:
    assert_sorted_as_torch_does(torch.tensor(rows, dtype=torch.float32))


@pytest.mark.parametrize("scale", [1e-42, 1e-3, 1.0, 1e30])
def test_long_rows_of_any_size(scale: float) -> None:
    values = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 20_000)) * scale)
    assert_sorted_as_torch_does(values.float())


def test_numbers_that_differ_in_their_last_bit_only() -> None:
    ones = torch.ones(1, 500).view(torch.int32) + torch.randperm(500, dtype=torch.int32)
    assert_sorted_as_torch_does(ones.view(torch.float32))
    assert_sorted_as_torch_does(-ones.view(torch.float32))


def test_both_zeros_are_equal_and_infinities_come_first_and_last() -> None:
    values = torch.tensor([[-0.0, -math.inf, 0.0, math.inf, -0.0]])
    assert largest_first(values).tolist() == [[3, 0, 2, 4, 1]]


def test_values_that_want_a_gradient_are_sorted_too() -> None:
    values = torch.tensor([[1.0, 2.0]], requires_grad=True)
    assert largest_first(values).tolist() == [[1, 0]]


@pytest.mark.gpu
def test_the_gpu_sorts_the_same() -> None:
    values = torch.randn(4, 1000)
    assert torch.equal(largest_first(values.cuda()).cpu(), largest_first(values))
