"""``scripts/soak``: trainings that are killed everywhere, and must not know it in the end.

A way from tiles to a submission is gone once undisturbed, and then again with each of its calls
killed: at a file operation (SIGKILL, or a signal that asks for an end, maybe twice) or at a random
instant. A call that was killed is made again until it succeeds. In the end every file must be what
the undisturbed way left, bit for bit, and there must be no other.

A call is a process forked from this one, which has imported everything: a kill costs milliseconds.
The product knows nothing of this: operations are counted by an audit hook of the forked process.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kaggle_salt
from kaggle_salt.competition.cache import VERIFIED
from kaggle_salt.errors import SaltError
from kaggle_salt.storage.files import HASH_KEY, files_hash, read_json, vouched_data
from kaggle_salt.storage.writing import leftovers
from tests.soak_child import END_SIGNALS, Plan, call_salt
from tests.tiny import TINY, write_data

#: Lines of a file, and keys of a document, that tell of times.
TIMES = {"seconds", "created", "document_hash"}

#: Tries of one call, the last of them undisturbed; seconds after which one hangs.
TRIES, HANGS = 6, 300.0

#: Growth that is one: of the descriptors of a process, and of its memory in MiB.
MOST_DESCRIPTORS, MOST_MEMORY = 0, 32.0

#: What is set at random: for each a choice of settings.
CHOICES: tuple[tuple[tuple[str, ...], ...], ...] = (
    ((), ('model.architecture="classic-unet"', "model.options={ widths = [4, 8], dropout = 0.3 }")),
    ((), ("stage.bce.keep=best",), ("stage.bce.keep=ema", "stage.bce.ema_decay=0.9")),
    (
        (),
        ("stage.swa.keep=last",),
        (
            "stage.swa.epochs=2", "stage.swa.keep=snapshots",
            'stage.swa.schedule={ name = "cosine-restarts", cycle = 1 }',
        ),
    ),
    ((), ("stage.*.optimizer.name=sgd",), ("stage.bce.optimizer.name=adam",)),
    ((), ("augment.pipeline=light",), ("augment.mix=cutmix",)),
    ((), ("inference.tta=none",)),
    ((), ("stage.swa.consistency.weight=1",)),
    ((), ("training.workers=1",)),
)  # fmt: skip


@dataclass
class Tally:
    """What has been counted so far; all but the first three must stay 0.

    Args:
        counts: Of kills and calls, by what they are.
        faults: What went wrong, by its kind, each in a line.
        places: Operations at which a kill came, by command and number, of those there are.
        known: How many there are.
    """

    counts: Counter[str] = field(default_factory=Counter)
    places: set[tuple[str, int]] = field(default_factory=set)
    known: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=dict)
    growth: dict[str, float] = field(default_factory=dict)

    def fault(self, kind: str, told: str) -> None:
        self.faults.setdefault(kind, []).append(told)
        print(f"{kind}: {told}", file=sys.stderr, flush=True)

    def table(self) -> str:
        """In Markdown."""
        rows = [(name, f"{count:,}") for name, count in sorted(self.counts.items())]
        rows += [
            (f"places of {name}: killed at, of", f"{killed:,} of {self.known[name]:,}")
            for name, killed in sorted(Counter(name for name, _ in self.places).items())
        ]
        rows += [(kind, str(len(self.faults.get(kind, [])))) for kind in FAULTS]
        rows += [(name, f"{value:+.1f}") for name, value in self.growth.items()]
        width = max(len(name) for name, _ in rows)
        lines = [f"| {name:<{width}} | {value:>9} |" for name, value in rows]
        head = [f"| {'':<{width}} | {'':>9} |", f"|{'-' * (width + 2)}|----------:|"]
        return "\n".join([*head, *lines])


FAULTS = (
    "differences", "silent uses", "tracebacks", "leftovers", "wrong exits", "lines missing",
    "hung", "growth",
)  # fmt: skip


def way(folds: str, settings: Sequence[str]) -> list[tuple[str, ...]]:
    """The calls from tiles to a submission; each may be made again as it stands."""
    given = [word for setting in settings for word in ("--set", setting)]
    cpu = ("--device", "cpu")
    train = ("train", "--config", "tiny.toml", "--run", "own", "--fold", folds, "--resume")
    return [
        ("make-folds", "--n-folds", "3"),
        (*train, *given, *cpu),
        ("ensemble", "own", *cpu),
        ("submit",),
    ]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder without what tells of times, and without the cache's key."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = re.sub(
            r"\.salt-cache/[0-9a-f]{32}", ".salt-cache/KEY", str(path.relative_to(folder))
        )
        if path.is_file() and path.name != VERIFIED:
            found[name] = _timeless(path)
    return found


def _timeless(path: Path) -> bytes:
    if path.suffix == ".json":
        try:
            told = json.loads(path.read_bytes())
        except ValueError:
            return path.read_bytes()
        return json.dumps({k: v for k, v in told.items() if k not in TIMES}).encode()
    if path.name == "history.csv":
        return b"\n".join(line.rpartition(b",")[0] for line in path.read_bytes().splitlines())
    if path.suffix == ".png":
        return b""  # that it is there
    return path.read_bytes()


def silent_uses(folder: Path, weights: dict[str, str]) -> Iterator[str]:
    """What a document vouches for and is not so, at any instant."""
    for document in folder.rglob("*.json"):
        if document.name.startswith(".") or document.name == VERIFIED:
            continue
        try:
            told = read_json(document)
        except SaltError as error:
            yield f"{document.relative_to(folder)}: {error.found}"
            continue
        data = vouched_data(document)
        if document.name == "index.json":
            data = [document.with_name(f"{name}.npy") for name in ARRAYS]
        elif document.name == "manifest.json":
            data = [document.with_name("config.toml")]
        if HASH_KEY in told and told[HASH_KEY] != files_hash(data):
            yield f"{document.relative_to(folder)} vouches for other data"
        name = str(document.relative_to(folder))
        if document.name == "fold.json" and told["weights_hash"] != weights.get(name):
            yield f"{name} is of other weights than the undisturbed"


ARRAYS = ("images", "masks", "depths", "test_images", "test_depths")


@dataclass(frozen=True)
class Outcome:
    """How a call ended: its exit code, what it said, its operations and seconds."""

    code: int
    told: str
    operations: int
    seconds: float


def make_call(words: Sequence[str], folder: Path, plan: Plan, seconds: float = 0.0) -> Outcome:
    """Make one call of ``salt`` in a folder, in a process of its own.

    Args:
        words: What stands after ``salt``.
        folder: The current folder of the call.
        plan: At which operation which signals come.
        seconds: When ``plan.signals`` come where it names no operation.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as counted:
        started = time.monotonic()
        child = os.fork()
        if not child:
            call_salt(words, folder, plan, said.fileno(), counted.fileno())
        if plan.operation is None and plan.signals:
            time.sleep(seconds)
            for number in plan.signals:
                os.kill(child, number)
                time.sleep(0.002)
        code = _wait(child)
        said.seek(0)
        counted.seek(0)
        operations = int(counted.read() or 0)
        told = said.read().decode(errors="replace")
        return Outcome(code, told, operations, time.monotonic() - started)


def _wait(child: int) -> int:
    until = time.monotonic() + HANGS
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.003)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return HUNG


#: In place of an exit code: a call that had to be ended.
HUNG = 999


#: A process that is killed, and those that are asked to end: once, or twice.
KILL: tuple[signal.Signals, ...] = (signal.SIGKILL,)
ENDS = (*((one,) for one in END_SIGNALS), (signal.SIGINT, signal.SIGTERM))


class Round:
    """One way with one choice of settings, undisturbed and then with kills.

    Args:
        place: An empty folder.
        chance: Draws settings and kills.
        tally: What is counted.
        plain: Take the settings as they are in the file.
    """

    def __init__(
        self, place: Path, chance: random.Random, tally: Tally, *, plain: bool = False
    ) -> None:
        self.chance, self.tally = chance, tally
        settings = [one for choice in CHOICES for one in chance.choice(choice)]
        settings = [] if plain else [*settings, f"training.seed={chance.randrange(1000)}"]
        self.told = " ".join(settings)
        self.calls = way("0" if plain else chance.choice(("0", "0,1")), settings)
        self.straight, self.killed = place / "straight", place / "killed"
        write_data(self.straight / "data")
        (self.straight / "tiny.toml").write_text(TINY, encoding="utf-8")
        shutil.copytree(self.straight, self.killed)
        self.usual: list[Outcome] = []
        self.weights: dict[str, str] = {}

    def run(self) -> None:
        """Go both ways, and compare."""
        self.straight_on()
        for words, usual in zip(self.calls, self.usual, strict=True):
            plans = [self._plan(words[0], usual) for _ in range(TRIES - 1)]
            for number, plan in enumerate([*plans, Plan()]):
                self.tally.counts["resumes"] += number > 0
                if self.make(words, plan, self.chance.uniform(0, usual.seconds * 1.1)):
                    break
            else:
                self.tally.fault("wrong exits", f"salt {' '.join(words)} never ended")
        self.compare()

    def straight_on(self) -> None:
        """Go the way undisturbed."""
        for words in self.calls:
            outcome = make_call(words, self.straight, Plan())
            if outcome.code:
                raise RuntimeError(f"salt {' '.join(words)}: {outcome.told}")
            self.usual.append(outcome)
            self.tally.known[words[0]] = max(self.tally.known[words[0]], outcome.operations)
        self.weights = {
            str(path.relative_to(self.straight)): read_json(path)["weights_hash"]
            for path in self.straight.rglob("fold.json")
        }

    def _plan(self, name: str, usual: Outcome) -> Plan:
        """At an operation at which no kill came yet, as long as there is one; or at an instant."""
        signals = KILL if self.chance.random() < 0.6 else self.chance.choice(ENDS)
        if self.chance.random() < 0.6:
            places = range(1, usual.operations + 1)
            new = [place for place in places if (name, place) not in self.tally.places]
            return Plan(self.chance.choice(new or places), signals)
        return Plan(None, signals)

    def make(self, words: Sequence[str], plan: Plan, seconds: float = 0.0) -> bool:
        """Make a call that is disturbed; whether its work is done."""
        before = self._left()
        outcome = make_call(words, self.killed, plan, seconds)
        self.tally.counts["calls"] += 1
        return self._judge(words, plan, outcome, before)

    def _left(self) -> set[Path]:
        return {*leftovers(self.killed), *self.killed.rglob("lease-*")}

    def _judge(self, words: Sequence[str], plan: Plan, outcome: Outcome, before: set[Path]) -> bool:
        """Take note of how a call ended, and of what it left; whether its work is done."""
        tally, call = self.tally, f"salt {' '.join(words)} {plan} ({self.told})"
        asked = plan.signals[:1] if plan.signals else ()
        ended = {-signal.SIGKILL} if asked == (signal.SIGKILL,) else set()
        if asked and not ended:
            ended = {code for one in plan.signals for code in (128 + one, -one)}
        if outcome.code in ended:
            where = "an operation" if plan.operation else "an instant"
            names = " and ".join(one.name for one in plan.signals)
            tally.counts[f"kills: {names} at {where}"] += 1
            if plan.operation:
                tally.places.add((words[0], plan.operation))
        elif outcome.code:
            kind = "hung" if outcome.code == HUNG else "wrong exits"
            tally.fault(kind, f"{call}: {outcome.code}\n{outcome.told}")
        if "Traceback" in outcome.told or "Exception ignored" in outcome.told:
            tally.fault("tracebacks", f"{call}: {outcome.told}")
        for told in silent_uses(self.killed, self.weights):
            tally.fault("silent uses", f"{call}: {told}")
        if outcome.code > 0 or not outcome.code:
            if outcome.code in ended and "interrupted" not in outcome.told:
                tally.fault("lines missing", f"{call}: {outcome.told}")
            left = sorted(self._left() - before)
            if left:  # what was there is cleared by those that get so far
                tally.fault("leftovers", f"{call}: {', '.join(map(str, left))}")
        return outcome.code == 0

    def compare(self) -> None:
        """Compare what both ways left."""
        straight, killed = contents(self.straight), contents(self.killed)
        for name in straight.keys() | killed.keys():
            if name not in straight:
                self.tally.fault("leftovers", f"{name} ({self.told})")
            elif straight[name] != killed.get(name):
                self.tally.fault("differences", f"{name} ({self.told})")
        self.tally.counts["files compared"] += len(straight)
        self.tally.counts["ways"] += 1


def measure_growth(place: Path, repeats: int, tally: Tally) -> None:
    """Go the way over and over in one process: descriptors and memory must not grow.

    Args:
        place: An empty folder.
        repeats: How often, after three times that warm up.
        tally: Where it is noted.
    """
    write_data(place / "data")
    (place / "tiny.toml").write_text(TINY, encoding="utf-8")
    calls = way("0", ["stage.*.epochs=1"])
    again = [tuple("--overwrite" if word == "--resume" else word for word in c) for c in calls]
    again[-1] = (*again[-1], "--overwrite")
    with tempfile.TemporaryFile("w+") as told:
        child = os.fork()
        if not child:
            from tests.soak_child import go_round

            go_round([*again] * (repeats + 3), len(again), place, told.fileno())
        if _wait(child):
            tally.fault("wrong exits", "the process that goes the way over and over failed")
            return
        told.seek(0)
        rows = [tuple(map(float, line.split())) for line in told]
    (files, memory), (files_then, memory_then) = rows[2], rows[-1]
    tally.growth = {
        f"growth over {repeats} ways: descriptors": files_then - files,
        f"growth over {repeats} ways: MiB": memory_then - memory,
    }
    if files_then - files > MOST_DESCRIPTORS or memory_then - memory > MOST_MEMORY:
        tally.fault("growth", f"{rows}")


@contextmanager
def quick_pictures() -> Iterator[None]:
    """Write an empty picture, atomically, where one would be drawn for half a second."""
    import pytest

    from kaggle_salt.storage.files import write_text

    def draw(_: object, path: Path, **__: Any) -> None:
        write_text(path, "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kaggle_salt.pipeline.training.train.learning_curve", draw)
        patch.setattr("kaggle_salt.pipeline.blending.ensemble.threshold_curve", draw)
        patch.setattr("kaggle_salt.report.prediction_pictures.prediction_grid", draw)
        yield


def soak(seconds: float, seed: int, told: Callable[[str], None], repeats: int = 0) -> Tally:
    """Go ways with kills until the time is over; at least one.

    Args:
        seconds: For that.
        seed: Of settings and kills.
        told: Given a line for each way.
        repeats: How often the way is gone in one process in the end, to see whether it grows.
    """
    import torch

    torch.set_num_threads(1)
    import_all()
    tally, until = Tally(), time.monotonic() + seconds
    with quick_pictures():
        for number in range(sys.maxsize):
            with tempfile.TemporaryDirectory(prefix="salt-soak-") as place:
                Round(Path(place), random.Random(f"{seed} {number}"), tally).run()
            told(f"way {number + 1}: {dict(tally.counts)} {count_faults(tally)}")
            if time.monotonic() > until:
                break
        if repeats:
            with tempfile.TemporaryDirectory(prefix="salt-soak-") as place:
                measure_growth(Path(place), repeats, tally)
    tally.growth["memory of the process that forks, MiB"] = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    )
    return tally


def import_all() -> None:
    """Import all of the package, so that no forked process need do it."""
    for module in pkgutil.walk_packages(kaggle_salt.__path__, "kaggle_salt."):
        importlib.import_module(module.name)


def count_faults(tally: Tally) -> dict[str, int]:
    return {kind: len(told) for kind, told in tally.faults.items()}


def main() -> int:
    """Soak; print the table, and what went wrong."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=5.0, help="5 by default")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other kills")
    options = parser.parse_args()

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    repeats = max(5, int(options.minutes))
    tally = soak(60 * options.minutes, options.seed, tell, repeats)
    print(tally.table())
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
