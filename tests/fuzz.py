"""``scripts/fuzz``: readers of what comes from outside, driven by coverage for as long as wanted.

libFuzzer (through atheris) keeps every input that reaches a line or branch of the package, or of
the parsers in Python that it calls, which none before it did, and goes on from there. A target
runs in a process of its own, under a limit of memory and of time for one input.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

#: MiB that a target may take in all, torch included, and seconds that one input may take.
MEMORY, SECONDS_EACH = 2048, 20

#: Parsers in Python whose lines count, beside the package's own.
PARSERS = ["tomllib", "zipfile", "gzip", "json"]


def main() -> int:
    """Fuzz the targets one after the other; print a table of what was tried."""
    from tests.fuzz_targets import TARGETS

    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, help="of each target; 60 where nothing is said")
    parser.add_argument("--runs", type=int, help="inputs of each target, however long they take")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other inputs")
    parser.add_argument("--corpus", type=Path, help="folder that keeps what was found, by target")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(unknown))}; one of {', '.join(TARGETS)}")
    limits = [f"-runs={options.runs}"] if options.runs else []
    if options.seconds or not options.runs:
        limits.append(f"-max_total_time={options.seconds or 60}")
    print(
        "| target | inputs | a second of a core | MiB | end |\n|---|---:|---:|---:|---|", flush=True
    )
    failed = 0
    for name in options.targets or TARGETS:
        with tempfile.TemporaryDirectory() as temporary:
            corpus = (options.corpus or Path(temporary)) / name
            failed |= _fuzz(name, corpus, [*limits, f"-seed={options.seed}"])
    return failed


def _fuzz(name: str, corpus: Path, limits: list[str]) -> int:
    """Fuzz one target in a process of its own; print its line, and what it said when it failed."""
    from tests.fuzz_targets import TARGETS

    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds):
        (corpus / f"seed{number}").write_bytes(seed)
    words = corpus.parent / f"{name}.dict"
    lines = ('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"' for word in TARGETS[name].words)
    words.write_text("\n".join(lines) + "\n", encoding="ascii")
    command = [
        sys.executable, "-m", "tests.fuzz", "--one", name, str(corpus), *limits,
        f"-dict={words}", f"-rss_limit_mb={MEMORY}", f"-malloc_limit_mb={MEMORY}",
        f"-timeout={SECONDS_EACH}", "-max_len=4096", "-print_final_stats=1",
        f"-artifact_prefix={Path.cwd()}/fuzz-{name}-",
    ]  # fmt: skip
    before = _processor_seconds()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    told = {key: int(number) for key, number in re.findall(r"stat::(\w+):\s+(\d+)", done.stderr)}
    inputs = told.get("number_of_executed_units", 0)
    rate = inputs / max(0.01, _processor_seconds() - before)  # of one core, however busy it was
    end = "no fault" if done.returncode == 0 else f"FAILED ({done.returncode})"
    print(
        f"| {name} | {inputs:,} | {rate:,.0f} | {told.get('peak_rss_mb', 0):,} | {end} |",
        flush=True,
    )
    if done.returncode:
        print(done.stderr[-6000:], file=sys.stderr, flush=True)
    return int(done.returncode != 0)


def _processor_seconds() -> float:
    """Seconds of a core that processes which have ended took, their imports included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def one(name: str, arguments: list[str]) -> None:
    """Hand one target to libFuzzer, which ends the process."""
    import atheris

    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=["kaggle_salt", *PARSERS]):
        from tests.fuzz_targets import TARGETS, scratch

        target = TARGETS[name]
        with scratch() as folder:
            target(target.seeds[0], Path(folder))  # some load what they need when they are called
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with scratch() as folder:
        atheris.Setup(["fuzz", *arguments], lambda data: target(data, Path(folder)))
        atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
