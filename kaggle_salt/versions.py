"""The versions of packages that a manifest records."""

from __future__ import annotations

from importlib import metadata

#: Packages whose version can change a number; recorded in every manifest.
RECORDED_PACKAGES = (
    "kaggle-salt", "torch", "timm", "segmentation-models-pytorch", "albumentations",
    "opencv-python-headless", "numpy", "pandas", "scikit-learn",
)  # fmt: skip


def package_versions() -> dict[str, str]:
    """Installed version of each of :data:`RECORDED_PACKAGES`; a missing one is left out."""
    versions = {}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
