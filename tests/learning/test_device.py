from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kaggle_salt.errors import ConfigError
from kaggle_salt.learning import device
from kaggle_salt.learning.device import (
    HALVES,
    Compute,
    Format,
    abilities,
    choose_compute,
    native_format,
)

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


@pytest.mark.parametrize("precision", ["float32", "bf16", "float16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_format_and_layout_inside_float32_outside(precision: Format, channels_last: bool) -> None:
    compute = Compute(CPU, precision, channels_last)
    network = Spy()
    assert compute.place(network) is network
    logits = compute.forward(network, torch.rand(2, 3, 4, 4))
    assert logits.dtype == torch.float32
    assert network.seen == (HALVES.get(precision, torch.float32), channels_last)
    assert network.convolution.weight.dtype == torch.float32


def test_format_and_layout_change_no_more_than_rounding() -> None:
    network, inputs = Spy(), torch.rand(2, 3, 4, 4)
    plain = Compute(CPU, channels_last=False).forward(network, inputs)
    torch.testing.assert_close(Compute(CPU).forward(network, inputs), plain)
    for precision, off in (("bf16", 0.05), ("float16", 0.005)):
        half = choose_compute("cpu", precision).forward(network, inputs)
        torch.testing.assert_close(half, plain, atol=off, rtol=off)
        assert not torch.equal(half, plain)


@pytest.mark.parametrize("precision", ["float32", "bf16", "float16"])
def test_precision_is_as_asked(precision: Format) -> None:
    assert choose_compute("cpu", precision).precision == precision
    assert not choose_compute("cpu", "float32", channels_last=False).channels_last


@pytest.mark.parametrize("native", [True, False])
def test_auto_on_a_cpu_is_bf16_where_it_is_native(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert choose_compute("cpu").precision == ("bf16" if native else "float32")
    assert abilities("cpu").because == f"bf16 is {'' if native else 'not '}native"


@pytest.mark.parametrize(
    ("capability", "expected", "because"),
    [
        ((6, 0), "float32", "compute capability 6.0: float16 is not measured without tensor"),
        ((6, 1), "float32", "compute capability 6.1: float16 is not measured without tensor"),
        ((7, 0), "float16", "compute capability 7.0: float16 is native, bf16 is not"),
        ((7, 5), "float16", "compute capability 7.5: float16 is native, bf16 is not"),
        ((8, 0), "bf16", "compute capability 8.0: bf16 is native"),
        ((12, 0), "bf16", "compute capability 12.0: bf16 is native"),
    ],
)
def test_auto_on_a_gpu_is_what_it_computes_in_natively(
    capability: tuple[int, int], expected: str, because: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert choose_compute("cuda").precision == expected
    assert native_format(torch.device("cuda"))[1].startswith(because)
    assert choose_compute("cuda", "float16").precision == "float16"  # who asks, gets it


@pytest.mark.gpu
def test_auto_asks_the_gpu_that_is_there() -> None:
    natively = {6: "float32", 7: "float16"}.get(torch.cuda.get_device_capability()[0], "bf16")
    assert choose_compute("cuda").precision == natively
    assert natively in abilities("cuda").compute


def test_auto_on_mps_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_compute("mps").precision == "float32"
    assert native_format(torch.device("mps"))[1] == "nothing else was tried on mps"


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
    assert str(Compute(CPU, "bf16")) == f"cpu, {torch.get_num_threads()} threads, bf16"
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
