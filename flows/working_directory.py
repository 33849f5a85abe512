"""The pull step of the deployments: where a flow run works, on whichever machine its worker is.

The code is where the worker's environment has it installed, so no file has to say where that is.
"""

import os

from flows.settings import Settings


def of_this_run() -> dict[str, str]:
    """Work in a folder of the flow run's own, lest two runs at once put their evaluations into the same place."""
    folder = Settings.from_environment().home / "runs" / os.environ["PREFECT__FLOW_RUN_ID"]
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    return {"directory": str(folder)}
