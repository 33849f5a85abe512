"""``tandem deploy``: roll a registered model out to an endpoint, step by step."""

import json
import os
from typing import Any

from flows.cli.options import DeployOptions
from flows.cli.run import Run, run_flow
from flows.rollout.parameters import DeployParameters, is_file
from flows.rollout.policy import read_steps
from flows.rollout.summary import ROLLED_BACK, DeploySummary, summary_as_json, summary_as_text
from flows.training.parameters import validated


def deploy(options: DeployOptions) -> int:
    """Run the flow ``deploy-model``, print what it came to, and return the exit code: 1 if it was rolled back.

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
    summary: DeploySummary = run_flow(Run(parameters, None, _flow), quiet=options.json)
    print(json.dumps(summary_as_json(summary), indent=2) if options.json else summary_as_text(summary))
    return 1 if summary.verdict == ROLLED_BACK else 0


def _flow() -> Any:
    from flows.rollout.deploy_model import deploy_model

    return deploy_model
