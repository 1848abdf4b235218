from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kaggle_salt.errors import ConfigError
from kaggle_salt.learning import device
from kaggle_salt.learning.device import Compute, choose_compute

CPU = torch.device("cpu")


class Spy(nn.Module):
    """A convolution that remembers in which number format and layout it was run."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 1, 1)
        self.seen: tuple[torch.dtype, bool] | None = None

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.convolution(x)
        self.seen = (output.dtype, x.is_contiguous(memory_format=torch.channels_last))
        return output


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_format_and_layout_inside_float32_outside(bf16: bool, channels_last: bool) -> None:
    compute = Compute(CPU, bf16=bf16, channels_last=channels_last)
    network = Spy()
    assert compute.place(network) is network
    logits = compute.forward(network, torch.rand(2, 3, 4, 4))
    assert logits.dtype == torch.float32
    assert network.seen == (torch.bfloat16 if bf16 else torch.float32, channels_last)
    assert network.convolution.weight.dtype == torch.float32


def test_format_and_layout_change_no_more_than_rounding() -> None:
    network, inputs = Spy(), torch.rand(2, 3, 4, 4)
    plain = Compute(CPU, channels_last=False).forward(network, inputs)
    torch.testing.assert_close(Compute(CPU).forward(network, inputs), plain)
    half = Compute(CPU, bf16=True).forward(network, inputs)
    torch.testing.assert_close(half, plain, atol=0.05, rtol=0.05)
    assert not torch.equal(half, plain)


def test_precision_is_as_asked() -> None:
    assert choose_compute("cpu", "bf16").bf16
    assert not choose_compute("cpu", "float32").bf16
    assert not choose_compute("cpu", "float32", channels_last=False).channels_last


@pytest.mark.parametrize("native", [True, False])
def test_auto_precision_is_bf16_where_it_is_native(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_has_native_bf16", lambda _: native)
    assert choose_compute("cpu", "auto").bf16 is native


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (9, 0)])
def test_bf16_is_native_from_ampere_on(
    capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert device._has_native_bf16(torch.device("cuda")) == (capability >= (8, 0))


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_fastest_there_is(
    cuda: bool, mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_compute("auto", "float32").device.type == expected


def test_a_numbered_gpu_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_compute("cuda:1", "float32").device == torch.device("cuda", 1)


@pytest.mark.parametrize("name", ["cuda", "mps", "gpu", "cuda:x", "meta", ""])
def test_what_this_machine_has_not_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    expected = rf"the device '{name}' is not available(.|\n)*one of auto, cpu\n(.|\n)*--device auto"
    with pytest.raises(ConfigError, match=expected):
        choose_compute(name)


def test_a_compute_says_what_it_is() -> None:
    assert str(Compute(CPU, bf16=True)) == f"cpu, {torch.get_num_threads()} threads, bf16"
    assert str(Compute(torch.device("cuda"))) == "cuda, float32"


def test_the_gpus_that_a_device_means(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.visible_gpus("cpu") == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert device.visible_gpus("auto") == device.visible_gpus("cuda") == ["0", "1"]
    assert device.visible_gpus("cuda:1") == device.visible_gpus("mps") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-9a")
    assert device.visible_gpus("auto") == ["3", "GPU-9a"]


def test_threads_are_limited_for_a_while() -> None:
    before = device.thread_count()
    with device.limited_threads(1):
        assert device.thread_count() == 1
    with device.limited_threads(before + 1):
        assert device.thread_count() == before
    assert device.thread_count() == before
