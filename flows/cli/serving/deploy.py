"""``tandem deploy``: roll a registered model out to an endpoint, step by step."""

import json
import os
from typing import Any

from flows.cli.options import DeployOptions
from flows.cli.run import Run, run_flow
from flows.rollout.champion import forget_ways_back
from flows.rollout.parameters import DeployParameters, is_file
from flows.rollout.policy import read_steps
from flows.rollout.summary import DeploySummary, summary_as_json, summary_as_text
from flows.settings import Settings
from flows.training.parameters import validated

MOVED = "TANDEM_MOVED"  # what the command that became this one has moved, as JSON; the document has it too


def deploy(options: DeployOptions) -> int:
    """Run the flow ``deploy-model``, print what it came to, and return the exit code: 1 if it is not served in the end.

    Raises:
        TandemError: It did not come to an end.
    """
    given: dict[str, Any] = {name: getattr(options, name) for name in DeployParameters.model_fields}
    if options.steps is not None:
        given["steps"] = read_steps(options.steps)
    for name in ("endpoint", "deployment"):
        if given[name] is not None and (name == "deployment" or is_file(given[name])):
            given[name] = os.path.abspath(given[name])
    parameters = validated(DeployParameters, {name: value for name, value in given.items() if value is not None})
    moved: dict[str, Any] = json.loads(os.environ.pop(MOVED, "{}"))
    summary: DeploySummary = run_flow(Run(parameters, None, _flow), quiet=options.json)
    document = {**moved, **summary_as_json(summary)}
    print(json.dumps(document, indent=2) if options.json else summary_as_text(summary), flush=True)
    settings, name = Settings.from_environment(), summary.endpoint.name
    forget_ways_back(summary.engine, settings, model=summary.model.name, endpoint=name)
    return 0 if summary.is_served else 1


def _flow() -> Any:
    from flows.rollout.deploy_model import deploy_model

    return deploy_model
