"""Completion of ``tandem`` in a real bash."""

import subprocess
import sys
from pathlib import Path

import pytest

TANDEM = Path(sys.executable).with_name("tandem")
ASK = """
eval "$("$0" completion bash)"
function_of() { complete -p tandem | grep -oE -- '-F [^ ]+' | cut -d' ' -f2; }
COMP_WORDS=(tandem "$@")
COMP_CWORD=$#
"$(function_of)" tandem "${!#}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["va"], {"validate"}),
        (["run", "--as"], {"--asset"}),
        (["run", "job.yml", "--out"], {"--output-dir"}),
        (["run", "--engine", "az"], {"azureml"}),
        (["data", "register", "--na"], {"--name"}),
        (["run", "jo"], {"job.yml"}),
        (["score", "jo"], {"job.yml"}),
        (["score", "--ou"], {"--output"}),
    ],
)
def test_bash_completes_commands_flags_choices_and_files(words: list[str], completed: set[str], tmp_path: Path) -> None:
    (tmp_path / "job.yml").touch()
    done = subprocess.run(
        ["bash", "-c", ASK, TANDEM, *words], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert set(done.stdout.split()) == completed


def test_zsh_gets_a_script_of_its_own() -> None:
    done = subprocess.run([TANDEM, "completion", "zsh"], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("#compdef tandem") and "--output-dir" in done.stdout
