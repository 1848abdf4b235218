"""``scripts/offline-bundle``: all that a Kaggle notebook without network needs, in two folders."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Collection, Sequence
from importlib import metadata
from pathlib import Path

from huggingface_hub import hf_hub_download
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from segmentation_models_pytorch.encoders import encoders as native_encoders

from kaggle_salt.pipeline.health.machine import pretrained_encoders

ROOT = Path(__file__).parents[1]

#: The data sets, as ``notebooks/kaggle.ipynb`` looks for them.
WHEELS, ENCODERS = "salt-wheels", "salt-encoders"

#: Left out, with what only they need (CUDA's libraries, Triton, SymPy): Kaggle's image has them,
#: built for its GPUs and their driver, which a package index's need not fit. They take 3 GB.
IN_THE_IMAGE = frozenset({"torch", "torchvision"})

#: What the package is built from.
SOURCES = ("kaggle_salt", "pyproject.toml", "README.md", "LICENSE")

#: Kaggle's image is an Ubuntu 22.04, whose C library is 2.35: newer wheels do not load there.
NEWEST_GLIBC = 35


def main(arguments: Sequence[str] | None = None) -> int:
    """Make both folders; say how they become data sets."""
    options = _parse(arguments)
    made = [options.out / name for name in (WHEELS, ENCODERS)]
    for folder in made:
        if folder.exists():
            print(f"error: {folder} is there already\nnext: remove it, or --out FOLDER")
            return 2
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=options.out) as draft:
            wheels, encoders = Path(draft, WHEELS), Path(draft, ENCODERS)
            fetch_wheels(wheels, options.python, () if options.all else IN_THE_IMAGE)
            fetch_encoders(encoders, options.encoder)
            for folder in (wheels, encoders):
                describe(folder, options.user)
                folder.rename(options.out / folder.name)
    except (subprocess.CalledProcessError, OSError) as error:  # the hub's are OSErrors, too
        print(f"error: {error}\nnext: try again on a machine with network")
        return 1
    print(*(f"next: kaggle datasets create -p {folder}" for folder in made), sep="\n")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/offline-bundle", description=__doc__)
    parser.add_argument("--user", required=True, help="your name on Kaggle, as in its addresses")
    parser.add_argument("--out", type=Path, default=Path("offline"), help="where both folders go")
    parser.add_argument("--python", default="3.12", help="that of Kaggle's image")
    parser.add_argument(
        "--encoder", action="append", help="resnet34, or tu-NAME; repeatable; else the presets'"
    )
    parser.add_argument(
        "--all", action="store_true", help=f"with {', '.join(sorted(IN_THE_IMAGE))} and CUDA: 3 GB"
    )
    options = parser.parse_args(arguments)
    options.encoder = options.encoder or pretrained_encoders()
    for name in options.encoder:
        known = native_encoders.get(name, {}).get("pretrained_settings") or {}
        if not name.startswith("tu-") and "imagenet" not in known:
            parser.error(f"--encoder {name}: none of smp's with ImageNet weights, nor tu-NAME")
    return options


def fetch_wheels(folder: Path, python: str, left_out: Collection[str]) -> None:
    """Build our wheel, and fetch those of what it needs, in the versions that are installed here.

    Args:
        folder: Where they go.
        python: The version they are to run on, as in ``3.12``.
        left_out: See :func:`needed`.

    Raises:
        CalledProcessError: pip failed, and has said why.
    """
    pinned = [f"{name}=={metadata.version(name)}" for name in needed(left_out, python)]
    print(f"{WHEELS}: ours and {len(pinned)} others for Python {python}", flush=True)
    build_wheel(folder)
    pip(["download", "--no-deps", *_built_for(python), "--dest", folder, *pinned])


def needed(left_out: Collection[str], python: str) -> list[str]:
    """The packages that ours needs to run, and those that these need, as they are installed here.

    Args:
        left_out: Names of packages to leave out, with what only they need.
        python: The version they are to run on, as in ``3.12``.

    Returns:
        Names, sorted.
    """
    there = {"python_version": python, "python_full_version": f"{python}.0"}
    with (ROOT / "pyproject.toml").open("rb") as file:
        asked = [(text, "") for text in tomllib.load(file)["project"]["dependencies"]]
    found: set[tuple[str, str]] = set()  # a package, and one of its extras or ""
    while asked:
        text, asking = asked.pop()
        one = Requirement(text)
        name = canonicalize_name(one.name)
        if name in left_out or (one.marker and not one.marker.evaluate({**there, "extra": asking})):
            continue
        for extra in {"", *one.extras} - {known for other, known in found if other == name}:
            found.add((name, extra))
            asked += [(text, extra) for text in metadata.requires(name) or ()]
    return sorted({name for name, _ in found})


def build_wheel(folder: Path) -> None:
    """Build our own wheel, from a copy: in the repository the build would leave files behind."""
    with tempfile.TemporaryDirectory() as copied:
        for source in (ROOT / name for name in SOURCES):
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, Path(copied, source.name), ignore=ignored)
            else:
                shutil.copy(source, copied)
        pip(["wheel", "--no-deps", "--wheel-dir", folder, copied])


def pip(words: Sequence[str | Path]) -> None:
    """Run pip.

    Raises:
        CalledProcessError: It failed, and has said why.
    """
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
    subprocess.run([sys.executable, "-m", "pip", *words, *quiet], check=True)


def _built_for(python: str) -> list[str]:
    """Options of pip for wheels that Kaggle's image can load; Kaggle would unpack an archive."""
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(NEWEST_GLIBC, 4, -1)]
    platforms += [f"manylinux{year}_x86_64" for year in (2014, 2010, 1)]
    told = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    return [*told, *(word for one in platforms for word in ("--platform", one))]


def fetch_encoders(folder: Path, names: Sequence[str]) -> None:
    """Fetch ImageNet weights from the hub, each to ``<name>.safetensors``.

    Args:
        folder: Where they go.
        names: Encoders of smp, or ``tu-NAME`` of timm.

    Raises:
        OSError: The hub cannot be reached, or has no such file.
    """
    print(f"{ENCODERS}: {', '.join(names)}", flush=True)
    folder.mkdir(parents=True)
    for name in names:
        repository, revision = f"timm/{name.removeprefix('tu-')}", None
        if not name.startswith("tu-"):
            known = native_encoders[name]["pretrained_settings"]["imagenet"]
            repository, revision = known["repo_id"], known["revision"]
        file = hf_hub_download(repository, "model.safetensors", revision=revision)
        shutil.copyfile(file, folder / f"{name}.safetensors")


def describe(folder: Path, user: str) -> None:
    """Write what ``kaggle datasets create`` wants to know of a folder."""
    about = {
        "id": f"{user}/{folder.name}",
        "title": folder.name,
        "licenses": [{"name": "other"}],  # each file has its own
    }
    text = json.dumps(about, indent=2) + "\n"
    (folder / "dataset-metadata.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
