"""The pull step of the deployments: the folder that a flow run works in, on the machine of its worker.

The code is installed in the worker's environment, so the deployment does not say where it is.
"""

import os

from flows.engines.open_engine import chosen_engine
from flows.machine.private import keep_private
from flows.settings import Settings


def flow_run_folder(warm_up: bool = True) -> dict[str, str]:
    """Work in a folder of the flow run's own, so that two runs at once do not write to the same place.

    ``warm_up`` starts here what the run's engine will need, while Prefect loads the flow.
    """
    keep_private()
    settings = Settings.from_environment()
    folder = settings.home / "runs" / os.environ["PREFECT__FLOW_RUN_ID"]
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    if warm_up:
        chosen_engine("auto", settings).kind.start_early(settings)
    return {"directory": str(folder)}
