"""Train the diabetes classifier as a pipeline: prep, profile, train, evaluate; registered only if the gate lets it."""

import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not flows/, whose modules would pass for libraries

from flows.cli.terminal import interrupts  # noqa: E402

if __name__ == "__main__":
    interrupts.handle_interrupts()

from flows.cli.terminal.exit_codes import exit_code_of  # noqa: E402


def _flow() -> Any:
    from flows.train_pipeline import train_pipeline

    return train_pipeline


def main() -> int:
    """Run the command, and return the exit code."""
    from flows.cli.run import run_command
    from flows.data.assets import resolve_data
    from flows.training.parameters import PipelineParameters
    from flows.training.request import pipeline_request

    return run_command(
        PipelineParameters,
        __doc__ or "",
        lambda parameters, settings: pipeline_request(
            parameters,
            settings,
            resolve_data(parameters.data_asset_name, settings.data_assets),
            flow_run_id="",
            champion=None,
        ),
        _flow,
    )


if __name__ == "__main__":
    raise SystemExit(exit_code_of(main))
