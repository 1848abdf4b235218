"""A Ray cluster of two nodes on this machine, in a process of its own: its sockets are no test's.

It prints its address and the ids of its nodes, kills the second when it is told so by a line, and
is gone with all that it began when its standard input ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

#: Its own limits of time are met by a machine that does other things, too.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_worker_niceness": "0",  # else 15, and the tests beside it come first
}


@dataclass
class Cluster:
    """A running cluster; the first node is its head."""

    process: subprocess.Popen[str]
    address: str
    nodes: tuple[str, ...]

    def kill_second(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()


@contextmanager
def ray_cluster() -> Iterator[Cluster]:
    """Two nodes of one CPU each."""
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **ENVIRONMENT},
    )  # fmt: skip
    assert process.stdout
    try:
        told = process.stdout.readline().split()
        assert told[:1] == ["cluster"], "the cluster does not start"
        yield Cluster(process, told[1], tuple(told[2:]))
    finally:
        process.communicate()


def _serve() -> None:
    from ray.cluster_utils import Cluster as Simulated

    quiet = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 << 20}
    cluster = Simulated(initialize_head=True, head_node_args=quiet)
    second = cluster.add_node(**quiet)
    cluster.wait_for_nodes()
    print("cluster", cluster.address, cluster.head_node.node_id, second.node_id, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(second, allow_graceful=False)
    cluster.shutdown()


if __name__ == "__main__":
    _serve()
