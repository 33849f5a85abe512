"""Train the diabetes classifier as one job, which trains and evaluates in one go; its model is always registered."""

import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not flows/, whose modules would pass for libraries

from flows.cli.terminal import interrupts  # noqa: E402

if __name__ == "__main__":
    interrupts.handle_interrupts()

from flows.cli.run import run_command  # noqa: E402
from flows.data.assets import resolve_data  # noqa: E402
from flows.training.parameters import JobParameters  # noqa: E402
from flows.training.request import job_request  # noqa: E402


def _flow() -> Any:
    from flows.train_job import train_job

    return train_job


if __name__ == "__main__":
    raise SystemExit(
        run_command(
            JobParameters,
            __doc__ or "",
            lambda parameters, settings: job_request(
                parameters, settings, resolve_data(parameters.data_asset_name, settings.data_assets), flow_run_id=""
            ),
            _flow,
        )
    )
