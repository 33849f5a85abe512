"""Train the diabetes classifier as one job, which trains and evaluates in one go; its model is always registered."""

import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not flows/, whose modules would pass for libraries

from flows.cli.terminal import interrupts  # noqa: E402

if __name__ == "__main__":
    interrupts.handle_interrupts()

from flows.cli.terminal.exit_codes import exit_code_of  # noqa: E402


def _flow() -> Any:
    from flows.train_job import train_job

    return train_job


def main() -> int:
    """Run the command, and return the exit code."""
    from flows.cli.run import run_command
    from flows.data.assets import resolve_data
    from flows.training.parameters import JobParameters
    from flows.training.request import job_request

    return run_command(
        JobParameters,
        __doc__ or "",
        lambda parameters, settings: job_request(
            parameters, settings, resolve_data(parameters.data_asset_name, settings.data_assets), flow_run_id=""
        ),
        _flow,
    )


if __name__ == "__main__":
    raise SystemExit(exit_code_of(main))
