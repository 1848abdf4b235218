"""``--on ray``: what is given to Ray, and a training that outlives its worker and its node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

from kaggle_salt.errors import ConfigError, TrainingError
from kaggle_salt.launch.following import Watcher, follow
from kaggle_salt.launch.ray_engine import RayEngine, TryAgainError
from kaggle_salt.launch.tasks import State
from tests.launch.ray_cluster import Cluster, ray_cluster
from tests.launch.scripts import quick, script, until
from tests.surveys import cube, write_survey
from tests.tiny import Heard, files_under, refused, salt, tiny_config

WORDS = ("train", "--config", "tiny.toml", "--run", "new", "--fold", "0,1", "--device", "cpu")


class RayStandIn(ModuleType):
    """Runs what it is given at once, in this process, on four CPUs and maybe two GPUs."""

    class RayError(Exception):
        """What Ray raises of a task that failed."""

        def __init__(self, cause: BaseException) -> None:
            super().__init__(str(cause))
            self.cause = cause

    def __init__(self, gpus: int = 0) -> None:
        super().__init__("ray")
        self.exceptions = SimpleNamespace(RayError=self.RayError)
        self.resources = {"CPU": 4.0, **({"GPU": float(gpus)} if gpus else {})}
        self.asked: dict[str, Any] = {}
        self.began: dict[str, Any] = {}

    def init(self, **options: Any) -> None:
        self.began = options
        signal.signal(signal.SIGTERM, lambda *_: None)  # as the true one does

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 2.0}}] * 2

    def get_runtime_context(self) -> SimpleNamespace:
        return SimpleNamespace(get_node_id=lambda: "0123456789abcdef")

    def remote(self, function: Callable[..., int]) -> Any:
        def options(**given: Any) -> Any:
            self.asked |= given
            return SimpleNamespace(remote=call)

        def call(*given: Any) -> Callable[[], int]:
            for _ in range(self.asked["max_retries"] + 1):
                try:
                    code = function(*given)
                except tuple(self.asked["retry_exceptions"]) as error:
                    last: BaseException = error
                else:
                    return lambda: code
            return lambda: self._fail(last)

        return SimpleNamespace(options=options)

    def _fail(self, cause: BaseException) -> int:
        raise self.RayError(cause)

    def wait(self, references: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return references, []

    def get(self, reference: Callable[[], int]) -> int:
        return reference()

    def shutdown(self) -> None:
        self.began = {}


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> RayStandIn:
    made = RayStandIn()
    monkeypatch.setitem(sys.modules, "ray", made)
    monkeypatch.setitem(sys.modules, "ray.exceptions", made.exceptions)  # type: ignore[arg-type]
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    return made


def test_tasks_are_given_to_ray_and_followed_by_their_logs(
    ray: RayStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touch = f"Path({str(tmp_path)!r}, 'done{{}}').touch()"
    tasks = [
        script(tmp_path, 0, "say('on ' + os.environ['OMP_NUM_THREADS']);" + touch.format(0)),
        script(tmp_path, 1, "say('error: no memory'); sys.exit(1)"),
        script(tmp_path, 2, "sys.exit(2)"),
    ]
    engine, told = RayEngine(None, 2, "cpu", retries=2), Heard()
    quick(engine)
    before = signal.getsignal(signal.SIGTERM)
    states = follow(engine, tasks, Watcher(told))
    place = f"{os.uname().nodename}/01234567"
    assert states == {
        0: State("done", place, 1, 0),
        1: State("failed", place, 3, 1),
        2: State("failed", place, 1, 2),
    }
    assert "fold 0: on 2" in told.notes
    assert ray.asked["retry_exceptions"] == [TryAgainError]
    assert (ray.asked["num_cpus"], ray.asked["num_gpus"]) == (2, 0)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert signal.getsignal(signal.SIGTERM) is before
    assert ray.began == {}


def test_a_task_has_a_gpu_where_there_are(ray: RayStandIn, tmp_path: Path) -> None:
    ray.resources["GPU"] = 2.0
    for device, gpus in (("auto", 1), ("cuda", 1), ("cpu", 0)):
        engine = RayEngine("there:6379", None, device, retries=0)
        engine.start([script(tmp_path, number, "") for number in range(3)])
        assert (ray.asked["num_gpus"], ray.asked["num_cpus"]) == (gpus, 2 if gpus else 1)
    assert ray.began["address"] == "there:6379"
    assert "include_dashboard" not in ray.began


@pytest.mark.parametrize("address", [None, "there:6379"])
def test_a_cluster_that_does_not_come_up(
    ray: RayStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    def init(**_: object) -> None:
        raise RuntimeError("The current node timed out during startup. This could happen")

    monkeypatch.setattr(ray, "init", init)
    what = "start: RuntimeError: The current node timed" if address is None else "answer"
    with pytest.raises(TrainingError, match=f"(?s)Ray does not {what}.*once the load is lower"):
        RayEngine(address, None, "cpu", retries=0).start([script(tmp_path, 0, "")])


def test_without_ray_it_says_so(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'kaggle-salt\[ray\]'"):
        RayEngine(None, None, "cpu", retries=0)
    for given, found in (
        (("--on", "rey"), "--on rey"),
        (("--on", "slurm", "--address", "a:1"), "--address without --on ray"),
        (("--on", "ray", "--sbatch", "mem=4G"), "--sbatch without --on slurm"),
        (("--address", "a:1"), "--address without --on ray"),
    ):
        refused(2, *WORDS, *given, found=found, expected="", then="--on ")


# on a cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with ray_cluster() as made:
        yield made


def half_trained_on(node: str) -> list[Path]:
    """Folds that were begun last on a node, and have a checkpoint."""
    found = []
    for log in Path("runs/new/logs").glob("fold*.log"):
        begun = [line for line in log.read_text("utf-8").splitlines() if line.startswith("$ ")]
        fold = Path("runs/new", log.stem)
        if begun and begun[-1].endswith(f"/{node[:8]}") and (fold / "checkpoint.pt").exists():
            found.append(fold)
    return found


@pytest.mark.ray
def test_a_training_outlives_its_worker_and_its_node(trained: Path, cluster: Cluster) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "kaggle_salt", *WORDS, "--on", "ray", "--address", cluster.address],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    first, second = cluster.nodes
    until(lambda: half_trained_on(first), process)
    [fold] = half_trained_on(first)
    wanted = ["--fold", fold.name.removeprefix("fold"), "--resume"]
    [training] = [
        one for one in psutil.process_iter(["cmdline"])
        if " ".join(wanted) in " ".join(one.info["cmdline"] or []) and "new" in one.info["cmdline"]
    ]  # fmt: skip
    training.parent().kill()  # its worker
    until(lambda: half_trained_on(second), process)
    cluster.kill_second()
    told = process.communicate()[1].decode()
    assert process.returncode == 0, told
    assert told.count(", try 2 (") == 2
    for fold in (Path("fold0"), Path("fold1")):
        weights = fold / "weights.safetensors"
        assert Path("runs/new", weights).read_bytes() == Path("runs/tiny", weights).read_bytes()
    assert not list(Path("runs/new").rglob("lease-*"))


def results(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Weights, probabilities and predicted lines among files."""
    return {name: files[name] for name in files if name.endswith((".safetensors", ".npy", ".sgy"))}


@pytest.mark.ray
def test_sweeps_ensembles_and_surveys_come_out_of_a_cluster_as_of_one_process(
    trained: Path, cluster: Cluster
) -> None:
    tiny_config(trained)
    Path("rates.toml").write_text(
        'config = "tiny.toml"\nfolds = "0"\nset = { "stage.*.epochs" = 1 }\n'
        '[[variant]]\nname = "slow"\n"stage.*.optimizer.lr" = 0.0001\n',
        encoding="utf-8",
    )
    write_survey(Path("survey.sgy"), cube(range(4), range(40)))
    before = files_under(Path())
    for words in (
        ("sweep", "rates.toml"), ("ensemble", "tiny"), ("predict", "survey.sgy", "--run", "tiny"),
    ):  # fmt: skip
        call = (*words, "--device", "cpu")
        salt(*call)
        alone = results(files_under(Path()))
        assert len(alone) > len(results(before)), words
        for path in set(files_under(Path())) - set(before):
            Path(path).unlink()
        there = (*call, "--on", "ray", "--address", cluster.address)
        told = subprocess.run(
            [sys.executable, "-m", "kaggle_salt", *there],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
        assert "given to Ray: each has 1 of the CPUs" in told.stderr
        assert results(files_under(Path())) == alone, words
        before = files_under(Path())
