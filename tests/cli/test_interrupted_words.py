"""What an interrupted command says of what is left: true of a rollout, which has no steps, as of a run."""

import pytest

from flows.cli.terminal import exit_codes


def test_interrupted_command_says_how_to_go_on_and_nothing_of_steps(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    exit_codes.exit_code_of(interrupted)
    said = capsys.readouterr().err
    assert "start the same command again to go on" in said
    assert "step" not in said
