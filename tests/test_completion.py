"""Completion of ``tandem`` in a real bash."""

import subprocess
import sys
from pathlib import Path

import pytest

TANDEM = Path(sys.executable).with_name("tandem")
ASK = """
eval "$("$0" completion bash)"
COMP_WORDS=(tandem "$@")
COMP_CWORD=$#
_tandem tandem "${!#}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["va"], {"validate"}),
        (["run", "--as"], {"--asset"}),
        (["run", "job.yml", "--out"], {"--output-dir"}),
        (["data", "register", "--na"], {"--name"}),
        (["run", "jo"], {""}),
    ],
)
def test_bash_completes_commands_and_flags(words: list[str], completed: set[str]) -> None:
    done = subprocess.run(["bash", "-c", ASK, TANDEM, *words], capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.strip("\n").split("\n")) == completed
