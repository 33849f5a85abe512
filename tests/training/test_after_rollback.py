"""A scheduled training after a person has gone back to an earlier version, by the commands."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.terminal import PIPELINE, PROJECT, Terminal

pytestmark = pytest.mark.slow

SCHEDULED = ("--skip_if_unchanged", "true")


@pytest.fixture
def terminal(tmp_path: Path, prefect_api: str) -> Terminal:
    return Terminal(tmp_path, prefect_api)


def tandem(terminal: Terminal, *words: str) -> str:
    command = [sys.executable, "-m", "flows", *words]
    done = subprocess.run(command, env=terminal.environment, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_was_rolled_back_from_is_not_promoted_again_until_its_basis_changes(terminal: Terminal) -> None:
    weak, strong, other = (("--reg_rate", rate) for rate in ("1000000", "0.01", "0.02"))
    assert terminal.summary(PIPELINE, *weak)["model"]["version"] == 1
    assert terminal.summary(PIPELINE, *strong)["model"]["version"] == 2
    tandem(terminal, "rollback", "diabetes-predict", "--reason", "wrong on the new clinic")

    skipped = terminal.summary(PIPELINE, *strong, *SCHEDULED)
    assert (skipped["verdict"], "version 2, of the same data" in str(skipped)) == ("Skipped", True), skipped
    by_hand = terminal.summary(PIPELINE, *strong)  # which compares, and is better than version 1
    assert (by_hand["verdict"], by_hand["model"]) == ("Rejected", None)
    assert "was rolled back from" in str(by_hand)
    assert "is the champion already" in tandem(terminal, "promote", "diabetes-predict:1", "--reason", "is it still?")

    changed = terminal.summary(PIPELINE, *other, *SCHEDULED)
    assert (changed["verdict"], changed["model"]["version"]) == ("Promoted", 3)
    again = terminal.summary(PIPELINE, *strong, *SCHEDULED)  # the next champion remembers it
    assert again["verdict"] == "Skipped"
