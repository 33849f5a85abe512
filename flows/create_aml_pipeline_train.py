"""Train the diabetes classifier as a pipeline: prep, profile, train, evaluate; registered only if the gate lets it."""

import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not flows/, whose modules would pass for libraries

from flows.cli.terminal import interrupts  # noqa: E402

if __name__ == "__main__":
    interrupts.handle_interrupts()

from flows.cli.run import run_command  # noqa: E402
from flows.data.assets import resolve_data  # noqa: E402
from flows.training.parameters import PipelineParameters  # noqa: E402
from flows.training.request import pipeline_request  # noqa: E402


def _flow() -> Any:
    from flows.train_pipeline import train_pipeline

    return train_pipeline


if __name__ == "__main__":
    raise SystemExit(
        run_command(
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
    )
