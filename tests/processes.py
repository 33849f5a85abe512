"""The processes of this machine, as a test asks for them."""

from contextlib import suppress
from pathlib import Path


def commands_with(text: str) -> list[str]:
    """What identifies the processes, by command line or environment, that have this text in either."""
    found: list[str] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                command, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
                if text.encode() in command + environment:
                    found.append(f"{folder.name} {command.replace(bytes(1), b' ').decode(errors='replace')}")
    return found
