"""``tandem watch``: compare incoming data once with the data that the champion was trained on."""

import json
from typing import Any

from flows.cli.options import WatchOptions
from flows.cli.run import Run, run_flow
from flows.drift.parameters import WatchParameters
from flows.drift.summary import WatchSummary, watch_summary_as_json, watch_summary_as_text
from flows.errors import SettingsError
from flows.prefect_api.server import find_prefect_api
from flows.settings import Settings
from flows.training.parameters import validated


def watch(options: WatchOptions) -> int:
    """Run the watch flow with these parameters, the others as by default; print its summary, return the exit code.

    Raises:
        ParameterError: A value is wrong.
        SettingsError: An event is to be emitted, and only a temporary Prefect server would get it.
    """
    asked = {name: getattr(options, name) for name in WatchParameters.model_fields}
    parameters = validated(WatchParameters, {name: value for name, value in asked.items() if value is not None})
    if parameters.emit and find_prefect_api(Settings.from_environment()) is None:
        raise SettingsError(
            "--emit: there is no Prefect server that an event could start anything on. Nothing was compared. Start one "
            "with `make ui` in another terminal, or leave --emit out."
        )
    summary: WatchSummary = run_flow(Run(parameters, None, _flow), quiet=options.json)
    print(json.dumps(watch_summary_as_json(summary), indent=2) if options.json else watch_summary_as_text(summary))
    return 0


def _flow() -> Any:
    from flows.drift.watch_data import watch_data

    return watch_data
