"""The ``python`` and ``pip`` of a step: the interpreter of the steps, or a temporary virtual environment.

On Azure ML a container is deleted after its step, so a command may install what it likes. Here a step that installs
packages gets a virtual environment of its own, which has all packages of the interpreter and is deleted after the step.
Nothing is installed into the interpreter's own environment.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from flows.data.atomic import atomic_write
from flows.data.digests import text_digest
from flows.errors import SettingsError
from flows.machine.own_folders import remove

_INSTALLS = re.compile(
    r"\b(pip3?(\.\d+)?|uv|easy_install|setup\.py)\b[^\n;|&]{0,80}?\b(install|uninstall|develop|sync)\b"
    r"|\b(conda|mamba|micromamba)\b[^\n;|&]{0,80}?\b(install|update|create|remove)\b"
)
_SCRIPTS = (".py", ".sh", ".bash")
_MOST_BYTES = 1 << 20
_MOST_SCRIPTS = 400
_MAKE_SECONDS = 300
_PYTHONS, _PIPS, _CONDAS = ("python", "python3"), ("pip", "pip3"), ("conda", "mamba", "micromamba")
_FOLDERS = "import sys; print(chr(10).join(p for p in sys.path if p.endswith(('site-packages', 'dist-packages'))))"
# `pip install --user` would install outside of the environment.
_PIP = """#!/bin/sh
for word in "$@"; do
  shift
  [ "$word" = --user ] || set -- "$@" "$word"
done
exec {python} -m pip "$@"
"""
_CONDA = """#!/bin/sh
echo "$(basename "$0") is not run here: it would change an environment of this machine." >&2
echo "Make an environment that has the packages, and name its interpreter: --python PATH" >&2
exit 1
"""


def command_folders(python: Path, home: Path) -> list[Path]:
    """The folders that come first in ``PATH``, so that ``python``, ``python3`` and ``pip`` are an interpreter's own.

    For the interpreter of this process, its own folder is enough. Another one may have a name such as ``python3.9``
    and lie beside others, so it gets a folder of small scripts with the usual names.
    """
    if python == Path(sys.executable):
        return [python.parent]
    folder = home / "interpreters" / text_digest(str(python))[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*_PYTHONS, *_PIPS):
            atomic_write(
                folder / name, f'#!/bin/sh\nexec {shlex.quote(str(python))} {"-m pip " if name in _PIPS else ""}"$@"\n'
            )
    except OSError as error:
        raise SettingsError(f"The folder of the local state cannot be written: {folder}: {error.strerror}.") from error
    return [folder, python.parent]


def installs_packages(command: str, code: Path) -> bool:
    """Whether a command, or a script in its code, installs packages."""
    return bool(_INSTALLS.search(command)) or any(map(_INSTALLS.search, _scripts(code)))


class ThrowAway:
    """A virtual environment that has what an interpreter has, and lives as long as a step."""

    def __init__(self, python: Path, folder: Path) -> None:
        """Make it in a folder that is not there yet; takes some tenths of a second.

        Raises:
            SettingsError: The interpreter makes none.
        """
        self._folder = folder
        try:
            folders = self._run([str(python), "-c", _FOLDERS])
            self._run([str(python), "-m", "venv", "--without-pip", str(folder)])
            inner = folder / "bin" / "python"
            site = self._run([str(inner), "-c", _FOLDERS]).splitlines()[0]
            # A path file rather than --system-site-packages, which is not the virtual environment we may be in.
            lines = [f"import site; site.addsitedir({path!r})" for path in folders.splitlines()]
            Path(site, "_steps_interpreter.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
            try:
                self._run([str(inner), "-c", "import pip"])
            except subprocess.CalledProcessError:
                self._run([str(inner), "-m", "ensurepip"])
            for name in _PIPS:
                atomic_write(folder / "bin" / name, _PIP.format(python=shlex.quote(str(inner))), 0o755)
            for name in _CONDAS:
                atomic_write(folder / "bin" / name, _CONDA, 0o755)
        except (OSError, subprocess.SubprocessError, IndexError) as error:
            said = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip().splitlines()
            raise SettingsError(
                "The step installs packages, which needs a virtual environment to throw away, and "
                f"{python} makes none: {said[-1] if said else error}. Nothing was installed."
            ) from error

    def variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The variables of a step with this environment first on its path."""
        found = {name: value for name, value in environment.items() if name != "PYTHONHOME"}
        path = os.pathsep.join((str(self._folder / "bin"), found.get("PATH", os.defpath)))
        silent = {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        return {**silent, **found, "PATH": path, "VIRTUAL_ENV": str(self._folder)}

    def remove(self) -> None:
        """Throw it away."""
        with suppress(SettingsError):  # it is in the step's own folder, which a later try empties
            remove(self._folder.parent, self._folder.name)

    @staticmethod
    def _run(words: list[str]) -> str:
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
        done = subprocess.run(words, capture_output=True, timeout=_MAKE_SECONDS, check=True, env=environment)
        return done.stdout.decode()


def _scripts(code: Path) -> Iterator[str]:
    """The text of every script of a folder, as far as that is worth it."""
    seen = 0
    for folder, _, names in os.walk(code):
        for name in names:
            if not name.endswith(_SCRIPTS):
                continue
            seen += 1
            if seen > _MOST_SCRIPTS:
                return
            try:
                with open(os.path.join(folder, name), "rb") as stream:
                    yield stream.read(_MOST_BYTES).decode(errors="replace")
            except OSError:
                continue
