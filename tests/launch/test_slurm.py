"""``--on slurm``: what is submitted, how it is followed, and what a dead node costs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kaggle_salt.errors import ConfigError, TrainingError
from kaggle_salt.launch import slurm
from kaggle_salt.launch.following import Watcher, follow
from kaggle_salt.launch.slurm import SlurmEngine
from kaggle_salt.launch.tasks import State, Task
from tests.launch.scripts import Script, quick, script, until
from tests.launch.slurm_cluster import Cluster, slurm_cluster
from tests.surveys import cube, write_survey
from tests.test_lease import leave
from tests.tiny import Heard, files_under, refused, salt

#: In place of SLURM: the script runs at once, one array task after the other, as ``array`` says.
SBATCH = """#!/bin/sh
[ -z "$REFUSED" ] || { echo "sbatch: error: invalid partition" >&2; exit 1; }
script=$2
for n in $(sed -n 's/^#SBATCH --array=\\([0-9,]*\\).*/\\1/p' "$script" | tr , ' '); do
    log=$(sed -n 's/^#SBATCH --output=//p' "$script" | tr -d "'" | sed "s/%a/$n/")
    SLURM_ARRAY_TASK_ID=$n SLURMD_NODENAME=node$n sh "$script" >>"$log" 2>&1
    case $? in 0) told=COMPLETED ;; *) told=FAILED ;; esac
    echo "$n $told" >>"$STATES"
done
echo "42;cluster"
"""
SQUEUE = """#!/bin/sh
[ -s "$STATES" ] || { echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; }
cat "$STATES"
"""
SINFO = """#!/bin/sh
echo "$GRES"
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with stand-ins for SLURM's commands; gives the file of the jobs' states."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("sinfo", SINFO)):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("STATES", str(tmp_path / "states"))
    monkeypatch.setenv("GRES", "(null)")
    monkeypatch.setattr(slurm, "PAUSE", 0)
    monkeypatch.setattr(slurm, "LATE", 0.1)
    return tmp_path / "states"


def engine(*options: str, at_once: int | None = None, device: str = "auto") -> SlurmEngine:
    made = SlurmEngine(options, at_once, device, retries=1)
    quick(made)
    return made


def making(folder: Path, number: int, code: str = "") -> Script:
    """A task that makes the file that says it is done."""
    there = f"Path({str(folder / f'done{number}')!r}).touch()"
    return script(folder, number, f"{code}\n{there}")


def test_the_script_is_a_job_array_that_can_be_requeued(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRES", "gpu:a100:8(S:0-1)")
    folder = tmp_path / "runs/my run"
    tasks = [making(folder, number) for number in (0, 3)]
    follow(engine("partition=main", "time=4:00:00", at_once=2), tasks, Watcher(Heard()))
    text = (folder / "logs/slurm.sh").read_text(encoding="utf-8")
    assert re.findall("^#SBATCH --(.*)", text, re.M) == [
        "job-name='salt-my run'", "array=0,3%2", f"output='{folder}/logs/fold%a.log'",
        "open-mode=append", "requeue", "gres=gpu:1", "partition=main", "time=4:00:00",
    ]  # fmt: skip
    assert 'export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"' in text
    for given, device in ((["gpus-per-task=2"], "auto"), ([], "cpu")):
        follow(engine(*given, device=device), tasks, Watcher(Heard()))
        assert "gres=" not in (folder / "logs/slurm.sh").read_text(encoding="utf-8")


def test_tasks_run_and_what_fails_is_tried_again(fake: Path, tmp_path: Path) -> None:
    once = f"p = Path({str(tmp_path / 'tried')!r}); known = p.exists(); p.touch()\n"
    tasks = [
        making(tmp_path, 0, "say('threads ' + os.environ['OMP_NUM_THREADS']); print('result')"),
        making(tmp_path, 1, once + "known or sys.exit(1)"),
        making(tmp_path, 2, "say('error: no such key'); sys.exit(2)"),
        making(tmp_path, 3, "sys.exit(1)"),
    ]
    told = Heard()
    states = follow(engine(), tasks, Watcher(told))
    assert states == {
        0: State("done", "node0", 1, 0),
        1: State("done", "node1", 2, 0),
        2: State("failed", "node2 FAILED", 1),
        3: State("failed", "node3 FAILED", 2),
    }
    assert told.notes[0] == "submitted to SLURM as job 42; to cancel it: scancel 42"
    assert "fold 0: threads 1" in told.notes
    assert not [note for note in told.notes if "goes on" in note or "result" in note]


def test_a_fold_that_its_orphan_trains_on_is_not_lost(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its node's daemon died, SLURM has given it up, and it computes all the same."""
    from kaggle_salt.storage.lease import Holder

    [task] = [making(tmp_path, 0, "sys.exit(1)")]
    task.folder.mkdir()
    lease = leave(task.folder, Holder.this_process())
    run = engine()
    run.start([task])
    assert run.poll()[0].phase == "running"
    task.done.touch()
    lease.unlink()
    assert run.poll()[0].phase == "done"


def test_a_controller_that_is_away_changes_nothing(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = engine()
    run.start([making(tmp_path, 0)])
    (tmp_path / "bin/squeue").write_text("#!/bin/sh\necho timed out >&2; exit 1\n", "utf-8")
    assert run.poll()[0].phase == "waiting"
    assert run.stop() == "job 42 goes on without this command; to cancel it: scancel 42"


def test_a_job_that_is_gone_and_left_nothing_has_failed(fake: Path, tmp_path: Path) -> None:
    run = engine()
    run.start([script(tmp_path, 0, "")])
    fake.write_text("", encoding="utf-8")
    assert run.poll()[0].phase == "running"  # its file may still be on the way
    while not (state := run.poll()[0]).ended:
        time.sleep(0.02)
    assert state.phase == "failed"


def test_what_slurm_refuses(fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("--partition=gpu", "partition=a\nb", "", "PARTITION"):
        with pytest.raises(ConfigError, match=r"(?s)--sbatch.*KEY=VALUE or KEY"):
            engine(wrong)
    monkeypatch.setenv("REFUSED", "1")
    with pytest.raises(TrainingError, match="sbatch refuses the job: sbatch: error: invalid part"):
        engine().start([making(tmp_path, 0)])


def test_a_sweep_is_one_array_of_all_folds(
    trained: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'config = "tiny.toml"\nfolds = "0,2"\nseeds = [0, 1]\n'
    Path("rates.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(Task, "command", ["sh", "-c", "echo error: no memory >&2; exit 2"])
    call = ("sweep", "rates.toml", "--device", "cpu", "--on", "slurm")
    printed = " ".join(salt(*call, code=1).stdout.split())
    for n, name in enumerate(("s0 fold 0", "s0 fold 2", "s1 fold 0", "s1 fold 2")):
        log = f"runs/rates/logs/sweep{n}.log"
        assert f"rates-base-{name} after 1 try (no memory; see {log})" in printed
    script = Path("runs/rates/logs/slurm.sh").read_text(encoding="utf-8")
    assert "#SBATCH --job-name=salt-rates\n#SBATCH --array=0,1,2,3\n" in script


def test_without_slurm_it_says_so(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    call = ("train", "--run", "tiny", "--fold", "all", "--on", "slurm")
    refused(2, *call, found="no sbatch and squeue", expected="a login node", then="--jobs auto")


# on a cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as made:
        yield made


@pytest.mark.slurm
def test_parts_of_a_survey_are_predicted_by_nodes(
    trained: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_survey(Path("survey.sgy"), cube(range(4), range(40)))
    call = ("predict", "survey.sgy", "--run", "tiny", "--device", "cpu")
    salt(*call, "--out", "alone")
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    monkeypatch.setattr(SlurmEngine, "every", 0.5)
    told = salt(*call, "--on", "slurm", "--jobs", "2").stderr
    assert {"part 1/2: is done", "part 2/2: is done"} <= set(told.splitlines())
    assert files_under(Path("predictions")) == files_under(Path("alone"))


@pytest.mark.slurm
def test_folds_of_a_node_that_dies_go_on_on_another(trained: Path, cluster: Cluster) -> None:
    words = ("train", "--config", "tiny.toml", "--run", "new", "--fold", "0,1", "--device", "cpu")
    process = subprocess.Popen(
        [sys.executable, "-m", "kaggle_salt", *words, "--on", "slurm"],
        env={**os.environ, **cluster.environment}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    on_node1: list[str] = []

    def half_trained() -> bool:
        running = cluster.call("squeue", "-h", "-r", "-t", "R", "-w", "node1", "-o", "%K")
        on_node1[:] = running.split()
        return any(Path(f"runs/new/fold{n}/checkpoint.pt").exists() for n in on_node1)

    until(half_trained, process)
    cluster.kill("node1", wholly=True)
    told = process.communicate()[1].decode()
    assert process.returncode == 0, told
    assert f"fold {on_node1[0]}: begins, try 2 (node2)" in told
    for fold in (0, 1):
        alone, there = (Path(f"runs/{run}/fold{fold}") for run in ("tiny", "new"))
        weights = "weights.safetensors"
        assert (there / weights).read_bytes() == (alone / weights).read_bytes()
    assert not list(Path("runs/new").rglob("lease-*"))
