"""The packages that raymoe can't do without, and which versions of those that results depend on are here."""

from __future__ import annotations

import platform
from importlib.metadata import version

import raymoe

DEPENDED_ON = ("torch", "ray", "numpy", "pyarrow")  # by results: arithmetic, and tables' bytes
ON_EVERY_NODE = (*DEPENDED_ON, "transformers")  # of a cluster
NEEDED = (*ON_EVERY_NODE, "safetensors", "scikit-learn")  # where commands are typed


def package_versions() -> dict[str, str]:
    """Python's, raymoe's, and those of the packages that do its arithmetic and write its tables."""
    found = {name: version(name) for name in DEPENDED_ON}
    return {"python": platform.python_version(), "raymoe": raymoe.__version__, **found}


def differing(here: dict[str, str], there: dict[str, str]) -> list[str]:
    """Packages that don't go together: raymoe's version must be equal, torch's and Ray's in the first number.

    Args:
        here, there: see ``package_versions``.
    """

    def counts(name: str, of: str) -> str:
        return of if name == "raymoe" else of.split(".")[0]

    return [n for n in ("raymoe", "torch", "ray") if counts(n, here[n]) != counts(n, there[n])]
