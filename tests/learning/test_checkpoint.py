from __future__ import annotations

import random
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn

from kaggle_salt.errors import TrainingError
from kaggle_salt.learning.checkpoint import Progress, load_checkpoint, save_checkpoint
from kaggle_salt.runs import FoldFolder

CPU = torch.device("cpu")


def progress() -> Progress:
    return Progress(
        stage=1,
        stage_epoch=2,
        epoch=7,
        seconds=1.5,
        history=[{"stage": "bce", "epoch": 1, "score": 0.5}],
        best_cost=-0.5,
        bad_epochs=1,
        schedule={"share": 0.1, "best": 0.3, "bad_epochs": 1},
        kept={
            "best": {"weight": torch.tensor([1.0])},
            "average": {"count": 2, "mean": {"weight": torch.tensor([3.0])}},
        },
    )


def test_a_cost_as_low_as_the_best_is_no_improvement() -> None:
    state = Progress()
    assert [state.judge(cost) for cost in (3.0, 2.0, 2.0, 2.5, 1.0, 1.5)] == [
        True, True, False, False, True, False,
    ]  # fmt: skip
    assert (state.best_cost, state.bad_epochs) == (1.0, 1)


def test_the_next_stage_starts_with_nothing_of_the_last_but_its_history() -> None:
    state = progress()
    state.next_stage()
    expected = Progress(stage=2, epoch=7, seconds=1.5, history=progress().history)
    assert state == expected


def test_everything_comes_back(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    torch.manual_seed(5)
    save_checkpoint(tmp_path / "checkpoint.pt", progress(), network, optimizer)
    drawn = torch.rand(3)

    checkpoint = load_checkpoint(FoldFolder(tmp_path, 0), CPU)
    other = nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1))
    assert checkpoint.restore(other) == progress()
    assert torch.equal(torch.rand(3), drawn)
    for name, value in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    moments, expected = checkpoint.optimizer["state"][0], optimizer.state_dict()["state"][0]
    assert torch.equal(moments["exp_avg"], expected["exp_avg"])
    assert float(moments["step"]) == 1


def test_between_stages_there_is_no_optimiser(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoint.pt", Progress(), nn.Linear(1, 1), None)
    assert load_checkpoint(FoldFolder(tmp_path, 0), CPU).optimizer == {}
    assert load_checkpoint(FoldFolder(tmp_path, 0), CPU).progress == Progress()


def test_nothing_else_is_left_beside_it(tmp_path: Path) -> None:
    for _ in range(2):
        save_checkpoint(tmp_path / "checkpoint.pt", Progress(), nn.Linear(1, 1), None)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_whichever_bit_flips_a_checkpoint_is_refused_or_the_same(tmp_path: Path) -> None:
    """Torch itself takes other weights for the same: it compares no checksum."""
    folder, chance = FoldFolder(tmp_path, 0), random.Random(0)
    network = nn.Linear(3, 4)
    save_checkpoint(folder.checkpoint, progress(), network, None)
    whole, seen = folder.checkpoint.read_bytes(), Counter[str]()
    with zipfile.ZipFile(folder.checkpoint) as file:
        directory = file.start_dir
    for place in [*range(0, directory, 23), *range(directory, len(whole), 5)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << chance.randrange(8)
        folder.checkpoint.write_bytes(damaged)
        try:
            read = load_checkpoint(folder, CPU)
        except TrainingError:
            seen["refused"] += 1
            continue
        seen["the same"] += 1
        assert read.progress == progress()
        assert torch.equal(read.generator, torch.get_rng_state())
        for name, value in network.state_dict().items():
            assert torch.equal(read.network[name], value), place
    assert seen["refused"] > 3 * seen["the same"]  # what lies between the members is of no use


def test_a_checkpoint_of_an_earlier_version_has_no_seal_and_is_read(tmp_path: Path) -> None:
    folder, network = FoldFolder(tmp_path, 0), nn.Linear(3, 4)
    save_checkpoint(folder.checkpoint, progress(), network, None)
    with zipfile.ZipFile(folder.checkpoint) as file:
        seal = len(file.comment)
    content = folder.checkpoint.read_bytes()[: -seal - 2] + bytes(2)
    folder.checkpoint.write_bytes(content)
    assert load_checkpoint(folder, CPU).progress == progress()
    weights = content.index(network.weight.detach().numpy().tobytes())
    folder.checkpoint.write_bytes(content[:weights] + b"?" + content[weights + 1 :])
    with pytest.raises(TrainingError, match="has changed since it was written"):
        load_checkpoint(folder, CPU)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, progress(), nn.Linear(100, 100), None)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        with pytest.raises(
            TrainingError, match=r"checkpoint\.pt cannot be read: \w+(.|\n)*--overwrite"
        ):
            load_checkpoint(FoldFolder(tmp_path, 0), CPU)


@pytest.mark.parametrize(
    "state", [[1, 2], {"progress": 1}, {"progress": {"epoch": 1}}, torch.zeros(2)], ids=str
)
def test_another_file_of_torch_is_refused(state: object, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt cannot be read: \w+Error"):
        load_checkpoint(FoldFolder(tmp_path, 0), CPU)


def test_a_progress_of_another_version_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoint.pt", Progress(), nn.Linear(1, 1), None)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    state["progress"]["patience"] = 3
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match=r"cannot be read: TypeError: .*patience"):
        load_checkpoint(FoldFolder(tmp_path, 0), CPU)


def test_no_pickle_is_run(tmp_path: Path) -> None:
    torch.save({"progress": Path("x")}, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match="cannot be read: UnpicklingError"):
        load_checkpoint(FoldFolder(tmp_path, 0), CPU)
