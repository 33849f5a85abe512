"""What the pull step of a deployment starts is what the flow uses, though Prefect makes the process another program."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.processes import commands_with

PULL = """
    import os, sys
    from flows.orchestration.working_directory import flow_run_folder

    print(flow_run_folder(**{options})["directory"], flush=True)
    os.execv(sys.executable, [sys.executable, "-c", {flow!r}])
"""
FLOW = """
    import asyncio
    import os
    from flows.engines.local.host.processes import take_processes
    from flows.mlflow_store.model_registry import MlflowTracking
    from flows.settings import Settings

    async def main():
        processes = take_processes(Settings.from_environment())
        print(processes.started, await MlflowTracking(processes).champion("none"))
        print([name for name in os.environ if name.startswith("TANDEM_STEP")])
        print(subprocess_sees())
        await processes.stop()

    def subprocess_sees():
        import subprocess, sys
        script = "import os; print(sum(os.path.exists(f'/proc/self/fd/{n}') for n in range(3, 60)))"
        return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, close_fds=False).stdout

    asyncio.run(main())
"""


def pulled(home: Path, flow: str, **options: bool) -> list[str]:
    """What a flow prints after the pull step, which prints the folder first; nothing of either may be left."""
    words = [sys.executable, "-c", dedent(PULL.format(options=options, flow=dedent(flow)))]
    environment = {**os.environ, "TANDEM_HOME": str(home), "PREFECT__FLOW_RUN_ID": "run-1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not commands_with(str(home))
    folder, *said = done.stdout.splitlines()
    assert folder == str(home / "runs" / "run-1")
    return said


def test_flow_uses_the_processes_that_its_pull_step_has_started_and_passes_their_pipes_to_no_one(home: Path) -> None:
    started, variables, seen, *_ = pulled(home, FLOW)
    assert (started, variables) == ("True None", "[]")
    assert seen == "0"


def test_flow_that_needs_none_of_them_leaves_none_behind(home: Path) -> None:
    assert pulled(home, "print('done')") == ["done"]


def test_flow_whose_pull_step_starts_none_starts_its_own(home: Path) -> None:
    assert pulled(home, FLOW, warm_up=False)[0] == "False None"


@pytest.mark.slow
def test_flow_in_another_process_than_its_pull_step_starts_its_own(home: Path) -> None:
    elsewhere = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {dedent(FLOW)!r}], check=True)"
    assert pulled(home, elsewhere)[0] == "False None"
