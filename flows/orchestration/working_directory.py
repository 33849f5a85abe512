"""The pull step of the deployments: where a flow run works, on whichever machine its worker is.

The code is where the worker's environment has it installed, so no file has to say where that is.
"""

import os

from flows.engines.choice import chosen_engine
from flows.engines.local.host.processes import start_host_early
from flows.machine.private import keep_private
from flows.settings import Settings


def flow_run_folder(warm_up: bool = True) -> dict[str, str]:
    """Work in a folder of the flow run's own, lest two runs at once put their evaluations into the same place.

    ``warm_up`` starts here what a local run will need: it imports its libraries while Prefect loads the flow.
    """
    keep_private()
    settings = Settings.from_environment()
    folder = settings.home / "runs" / os.environ["PREFECT__FLOW_RUN_ID"]
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    if warm_up and chosen_engine("auto", settings).name == "local":
        start_host_early(settings)
    return {"directory": str(folder)}
