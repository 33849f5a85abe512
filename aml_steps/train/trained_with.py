"""Python, platform and installed packages of this process, which are kept with the model that it trains."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys

KEY = "trained_with"  # of the metadata in the model's MLmodel file, and of metrics.json
DIGITS = 16
_INSTALLED = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+?)(-py[\d.]+)?\.(dist|egg)-info")
_OURSELVES = "tandem-ml"  # starts steps on this machine, and is not installed where Azure ML runs them


def trained_with() -> dict[str, str]:
    """Say what this process runs with.

    Returns:
        ``python``: its version, such as ``3.11.9``; ``platform``: system and machine, such as ``Linux x86_64``;
        ``packages``: the first digits of the SHA-256 of all installed packages with their versions.
    """
    lines = "".join(f"{name}=={version}\n" for name, version in sorted(_packages().items()))
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": hashlib.sha256(lines.encode()).hexdigest()[:DIGITS],
    }


def _packages() -> dict[str, str]:
    """The version of each installed package. Read from the names of folders: to read the metadata takes far longer."""
    found: dict[str, str] = {}
    for folder in sys.path:
        for entry in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            if match := _INSTALLED.fullmatch(entry):
                found.setdefault(re.sub(r"[-_.]+", "-", match["name"]).lower(), match["version"])
    found.pop(_OURSELVES, None)
    return found
