"""``tandem watch``: compare incoming data once with the data that the champion was trained on."""

import json
from typing import Any

from flows.cli.options import WatchOptions
from flows.cli.run import Run, run_flow
from flows.drift.parameters import WatchParameters
from flows.drift.summary import WatchSummary, watch_summary_as_json, watch_summary_as_text
from flows.training.parameters import validated


def watch(options: WatchOptions) -> int:
    """Run the watch flow with these parameters, the others as by default; print its summary, return the exit code."""
    asked = {name: getattr(options, name) for name in WatchParameters.model_fields}
    parameters = validated(WatchParameters, {name: value for name, value in asked.items() if value is not None})
    summary: WatchSummary = run_flow(Run(parameters, None, _flow), quiet=options.json)
    print(json.dumps(watch_summary_as_json(summary), indent=2) if options.json else watch_summary_as_text(summary))
    return 0


def _flow() -> Any:
    from flows.drift.watch_data import watch_data

    return watch_data
