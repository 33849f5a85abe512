"""The pull step of the deployments: the folder that a flow run works in, on the machine of its worker.

The code is that of the worker's environment, or what a step before this one has cloned into the working directory.
"""

import os
from pathlib import Path

from flows.engines.open_engine import chosen_engine
from flows.machine.private import keep_private
from flows.prefect_api.server import python_path
from flows.settings import PROJECT, Settings


def flow_run_folder(warm_up: bool = True) -> dict[str, str]:
    """Work in a folder of the flow run's own, so that two runs at once do not write to the same place.

    ``warm_up`` starts here what the run's engine will need, while Prefect loads the flow.
    """
    keep_private()
    if Path.cwd() == PROJECT:  # cloned: the flow's process, which gets our variables, begins in another folder
        os.environ["PYTHONPATH"] = python_path()
    settings = Settings.from_environment()
    folder = settings.home / "runs" / os.environ["PREFECT__FLOW_RUN_ID"]
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    if warm_up:
        chosen_engine("auto", settings).kind.start_early(settings)
    return {"directory": str(folder)}
