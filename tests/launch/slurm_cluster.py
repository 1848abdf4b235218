"""A SLURM cluster of two nodes on this machine, with controller, keys and folder of its own."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
NODES = ("node1", "node2")

#: Seconds after which the cluster, or a job, is taken to be stuck.
STUCK = 300.0

CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
SlurmctldPort={port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdSpoolDir={folder}/spool.%n
StateSaveLocation={folder}/state
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmdTimeout=10
KillWait=10
SchedulerParameters=sched_interval=5,bf_interval=5,batch_sched_delay=1
DebugFlags=NO_CONF_HASH
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port1} CPUs=1 State=UNKNOWN
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={port2} CPUs=1 State=UNKNOWN
PartitionName=main Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
"""


def missing_slurm() -> str:
    """Why no cluster can be started; empty where one can."""
    if os.geteuid():
        return "only root can start a SLURM cluster"
    lacks = [name for name in DAEMONS if _find(name) is None]
    advice = "(Debian, Ubuntu: apt install slurmctld slurmd munge)"
    return f"there is no {' and no '.join(lacks)} {advice}" if lacks else ""


def _find(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


@dataclass
class Cluster:
    """A running cluster."""

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            self.daemons[name] = subprocess.Popen(
                [_find(words[0]) or words[0], *words[1:]],
                stdout=out, stderr=out, env={**os.environ, **self.environment},
            )  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *words: str) -> str:
        environment = {**os.environ, **self.environment}
        told = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        return told.stdout + told.stderr

    def processes(self, node: str) -> list[psutil.Process]:
        """All that computes on a node, and who looks after it."""
        found = []
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                environment = one.environ()
                ours = environment.get("SLURM_CONF") == self.environment["SLURM_CONF"]
                if ours and environment.get("SLURMD_NODENAME") == node:
                    found += [one, *(p for p in one.parents() if "slurmstepd" in p.name())]
        return found

    def kill(self, node: str, *, wholly: bool) -> None:
        """Let a node die; or its daemon alone, and what it began computes on."""
        self.daemons[node].kill()
        self.daemons[node].wait()
        if wholly:
            for one in sorted(
                set(self.processes(node)), key=lambda p: "slurmstepd" not in p.name()
            ):
                with suppress(psutil.Error):
                    one.kill()


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[Cluster]:
    """Two nodes of one CPU each, idle; gone with all that they began when the block ends."""
    cluster = Cluster(folder)
    ports = _free_ports(3)
    (folder / "state").mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    text = CONFIG.format(
        host=platform.node(), folder=folder, port=ports[0], port1=ports[1], port2=ports[2]
    )
    (folder / "slurm.conf").write_text(text, encoding="utf-8")
    try:
        cluster.start(
            "munged", "munged", "--foreground", "--force",
            *(f"--{what}={folder}/munge.{end}" for what, end in (
                ("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"),
                ("log-file", "log"), ("seed-file", "seed"))),
        )  # fmt: skip
        _wait_for(lambda: (folder / "munge.socket").exists(), folder)
        cluster.start("slurmctld", "slurmctld", "-D", "-i")
        for node in NODES:
            cluster.start(node, "slurmd", "-D", "-N", node)
        _wait_for(lambda: cluster.call("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * 2,
                  folder)  # fmt: skip
        yield cluster
    finally:
        left = [one for node in NODES for one in cluster.processes(node)]
        for daemon in cluster.daemons.values():
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()
        for one in left:
            with suppress(psutil.Error):
                one.kill()


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def _wait_for(there: object, folder: Path) -> None:
    until = time.monotonic() + STUCK
    while not there():  # type: ignore[operator]
        if time.monotonic() > until:
            told = [path.read_text("utf-8", "replace")[-500:] for path in folder.glob("*.out")]
            raise AssertionError("the cluster does not start: " + "\n".join(told))
        time.sleep(0.2)
