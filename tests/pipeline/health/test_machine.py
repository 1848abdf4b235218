"""``salt doctor``: what is off on a machine, told from figures; and the machine that this is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psutil
import pytest

from kaggle_salt import diagnose
from kaggle_salt.learning.device import Abilities, abilities
from kaggle_salt.learning.networks import hub
from kaggle_salt.pipeline.health import folder_signs, machine
from kaggle_salt.pipeline.health.folder_signs import (
    GIB,
    folder_sign,
    look_at_folders,
    shared_memory_sign,
)
from kaggle_salt.pipeline.health.machine import (
    busy_trainings,
    device_sign,
    load_sign,
    memory_sign,
    threads_sign,
    usable_cores,
    versions_sign,
    weights_sign,
)
from kaggle_salt.pipeline.workspace import Workspace
from tests.makers import write_competition
from tests.tiny import files_under, salt


@pytest.fixture(autouse=True)
def not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "WATCHED", 0.0)


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_competition(tmp_path / "data", n_train=3, n_test=1)
    before = files_under(tmp_path)
    diagnosis = diagnose("data", device="cpu")
    assert files_under(tmp_path) == before, "nothing is written"
    assert not list(tmp_path.glob("runs"))
    told = {sign.about: sign for sign in diagnosis.signs}
    assert list(told)[:9] == [
        "versions", "device", "threads", "load", "memory", "data", "tile cache", "runs",
        "fold table",
    ]  # fmt: skip
    assert list(told)[-1] == "pretrained encoders"
    assert told["versions"].advice == ""
    assert "torch" in told["versions"].found
    assert told["device"].found.startswith("cpu")
    assert told["tile cache"].found.startswith("data/.salt-cache, ")
    assert diagnosis.run is None
    assert not diagnosis.damaged


def test_the_command_prints_lines_or_one_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = salt("doctor", "--device", "cpu", "--runs", "my runs").stdout
    assert "look at  data: data has no training tiles\n" in told
    assert "next  salt download, or --data FOLDER" in told
    assert "good  runs: my runs, " in told or "look at  runs: my runs, " in told
    document = json.loads(salt("doctor", "--device", "cpu", "--json").stdout)
    assert document["run"] is None
    assert document["damaged"] is False
    assert {"about", "found", "advice", "damaged"} == set(document["signs"][0])


def test_versions_other_than_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        "torch>=999",
        "albumentations==0.0.1",
        "gone>=1",
        "numpy>=1",
        'kaggle>=9; extra == "x"',
    ]
    monkeypatch.setattr(machine.metadata, "requires", lambda _: asked)
    wanted = "pip install 'torch>=999' 'albumentations==0.0.1' 'gone>=1'"
    assert versions_sign().advice == wanted


def test_abilities_of_the_processor() -> None:
    able = abilities("cpu")
    assert able.compute.startswith("cpu, ")
    assert "bf16 is" in able.because
    assert able.threads >= 1
    assert able.gpu == ""


@pytest.mark.gpu
def test_abilities_of_a_gpu() -> None:
    able = abilities("cuda")
    assert able.compute.startswith("cuda")
    assert able.because.startswith("compute capability ")
    assert able.gpu
    assert 0 < able.gpu_free <= able.gpu_total


def test_a_gpu_that_torch_does_not_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "NVIDIA", tmp_path)
    assert "CUDA 13.0" in device_sign(Abilities("cpu", "", 2, "13.0")).advice
    assert device_sign(Abilities("cpu", "", 2, "")).advice == ""
    monkeypatch.setattr(machine, "NVIDIA", tmp_path / "not there")
    assert device_sign(Abilities("cpu", "", 2, "13.0")).advice == ""


def test_a_gpu_whose_memory_is_taken() -> None:
    full = device_sign(Abilities("cuda, float16", "capability 7.5", 2, "13.0", "T4", GIB, 16 * GIB))
    assert full.found == "cuda, float16 (capability 7.5); T4, 1.0 of 16.0 GiB free"
    assert "nvidia-smi" in full.advice
    free = device_sign(
        Abilities("cuda, float16", "capability 7.5", 2, "13.0", "T4", 15 * GIB, 16 * GIB)
    )
    assert free.advice == ""


@pytest.mark.parametrize(
    ("threads", "cores", "others", "advice"),
    [
        (2, 2, [], ""),
        (2, 2, [17], ""),
        (1, 2, [17], ""),
        (1, 2, [], "export OMP_NUM_THREADS=2, unless another training is to run beside"),
        (8, 2, [], "export OMP_NUM_THREADS=2: threads without a core wait for each other"),
    ],
)
def test_threads_against_cores(threads: int, cores: int, others: list[int], advice: str) -> None:
    told = threads_sign(threads, cores, str(threads), others)
    assert told.found == f"{threads} for {cores} cores (OMP_NUM_THREADS={threads})"
    assert told.advice == advice
    assert "is not set" in threads_sign(2, 2, None, []).found


@pytest.mark.parametrize(
    ("threads", "load", "others", "advice"),
    [
        (2, 1.9, [], ""),
        (2, 4.5, [], "a training is slower than it could be while others compute"),
        (2, 1.0, [17, 18], "export OMP_NUM_THREADS=1 in each"),
        (1, 1.0, [17], ""),
        (1, 4.5, [17], "a training is slower than it could be while these compute"),
    ],
)
def test_load(threads: int, load: float, others: list[int], advice: str) -> None:
    told = load_sign(threads, 2, load, others)
    assert told.advice.startswith(advice)
    assert bool(told.advice) == bool(advice)
    assert ("(17" in told.found) == bool(others)


def test_a_container_leaves_less_than_the_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert usable_cores() == len(os.sched_getaffinity(0))
    for name, text in (("cpu.max", "150000 100000"), ("memory.max", str(2 * GIB)),
                       ("memory.current", str(GIB))):  # fmt: skip
        (tmp_path / name).write_text(text + "\n", encoding="ascii")
    assert usable_cores() == 1
    free, total = machine._memory()
    assert total == 2 * GIB
    assert free <= GIB
    for name in ("cpu.max", "memory.max"):
        (tmp_path / name).write_text("max 100000\n", encoding="ascii")
    assert usable_cores() == len(os.sched_getaffinity(0))
    assert machine._memory()[1] == psutil.virtual_memory().total


def test_memory() -> None:
    assert memory_sign(3 * GIB, 4 * GIB).advice == ""
    little = memory_sign(GIB, 4 * GIB)
    assert little.found == "1.0 of 4.0 GiB free"
    assert "--set training.batch_size=8" in little.advice


def test_who_computes_with_torch_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    class Process:
        def __init__(self, pid: int, path: str, *times: float) -> None:
            self.pid, self.path, self.times = pid, path, iter(times)

        def cpu_times(self) -> object:
            seconds = next(self.times, None)
            if seconds is None:
                raise psutil.NoSuchProcess(self.pid)
            return type("", (), {"user": seconds, "system": 0.0})

        def memory_maps(self) -> list[object]:
            if not self.path:
                raise psutil.AccessDenied(self.pid)
            return [type("", (), {"path": self.path})]

    there = [
        Process(os.getpid(), "libtorch_cpu.so", 1, 9),
        Process(30, "/x/libtorch_cpu.so", 1, 2),
        Process(20, "/x/libtorch_cpu.so", 1, 1),  # sleeps
        Process(21, "/x/libblas.so", 1, 2),
        Process(22, "", 1, 2),  # another user's
        Process(23, "/x/libtorch_cpu.so", 1),  # ends meanwhile
        Process(24, "/x/libtorch_cpu.so"),  # hidden
        Process(10, "/x/libtorch_cuda.so", 1, 2),
    ]
    monkeypatch.setattr(psutil, "process_iter", lambda: there)
    assert busy_trainings() == [10, 30]


def test_folders_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    told = folder_sign("runs", tmp_path / "file" / "runs", "--runs FOLDER")
    assert "cannot be written to: Not a directory" in told.found
    assert told.advice == "mend that, or --runs FOLDER"
    assert "GiB free" in folder_sign("runs", tmp_path / "a" / "b", "--runs FOLDER").found
    monkeypatch.setattr(folder_signs, "LEAST_DISK", 1 << 62)
    assert folder_sign("runs", tmp_path, "x").advice.startswith("make room of ")


def test_where_tiles_may_not_be_kept_beside_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    made = write_competition(tmp_path / "data", n_train=3, n_test=1)
    made.path.chmod(0o555)
    signs = {sign.about: sign for sign in look_at_folders(Workspace.under(tmp_path))}
    made.path.chmod(0o755)
    assert signs["tile cache"].found.startswith(str(tmp_path / "elsewhere" / "kaggle_salt"))


def test_shared_memory() -> None:
    assert shared_memory_sign(GIB).advice == ""
    assert "--shm-size" in shared_memory_sign(GIB // 16).advice


def test_pretrained_encoders() -> None:
    both = weights_sign(True, {"resnet34": True, "xception": False})
    assert both.found == "here: resnet34; to be downloaded when first needed: xception"
    assert "HF_HUB_OFFLINE" in both.advice
    assert weights_sign(False, {"resnet34": False}).advice == ""
    assert weights_sign(True, {"resnet34": True}).advice == ""


def test_the_encoders_of_the_presets_can_be_looked_up() -> None:
    names = machine.pretrained_encoders()
    assert "resnet34" in names
    assert all(isinstance(hub.is_cached(name), bool) for name in names)
