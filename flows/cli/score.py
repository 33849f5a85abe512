"""``tandem score``: give each row of a file a label and a probability."""

import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from flows.cli.options import ScoreOptions
from flows.cli.run import Run, run_flow
from flows.data.assets import is_path
from flows.scoring.asked import check_asked
from flows.scoring.parameters import ScoreParameters
from flows.scoring.progress import Progress, listening_to_progress
from flows.scoring.summary import ScoreSummary, summary_as_json, summary_as_text
from flows.settings import Settings
from flows.training.parameters import validated


def score(options: ScoreOptions) -> int:
    """Run the flow ``score-data``, print what it came to, and return the exit code.

    Raises:
        TandemError: It did not complete. The output is as it was.
    """
    data = options.data
    given = {
        "data_asset_name": os.path.abspath(os.path.expanduser(data)) if is_path(data) else data,
        "model": options.model,
        "output": os.path.abspath(os.path.expanduser(options.output)),
        "endpoint": options.endpoint and os.path.abspath(options.endpoint),
        "deployment": options.deployment and os.path.abspath(options.deployment),
        "engine": options.engine,
    }
    parameters = validated(ScoreParameters, {name: value for name, value in given.items() if value is not None})
    check_asked(parameters, Settings.from_environment())
    with _bar_shown():
        summary: ScoreSummary = run_flow(Run(parameters, None, _flow), quiet=options.json)
    print(json.dumps(summary_as_json(summary), indent=2) if options.json else summary_as_text(summary))
    return 0


@contextmanager
def _bar_shown() -> Generator[None]:
    """A block whose scorings are shown as a progress bar, where standard error is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), TextColumn("{task.percentage:3.0f} %"), TextColumn("{task.description}"))
    bar = Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    task: TaskID = bar.add_task("", total=1.0)

    def show(now: Progress) -> None:
        bar.start()
        bar.update(task, completed=now.share, description=f"{now.rows:,} rows")

    try:
        with listening_to_progress(show):
            yield
    finally:
        bar.stop()


def _flow() -> Any:
    from flows.scoring.score_data import score_data

    return score_data
