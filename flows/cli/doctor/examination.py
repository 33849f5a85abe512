"""``tandem doctor``: run every check, and print the findings in a fixed order.

The checks that ask a server run at the same time; a finding is printed once all before it are.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from typing import Any

from flows.cli.doctor.findings import CHECKS, Finding, Status, fail, finding_as_text, findings_as_json, skip
from flows.cli.doctor.machine import check_disk, check_state, check_variables
from flows.cli.doctor.mlflow_servers import check_mlflow
from flows.cli.doctor.prefect_api import check_prefect
from flows.cli.doctor.versions import check_versions, command
from flows.settings import Settings

OF_THE_WORKSPACE = CHECKS[CHECKS.index("identity") :]


def doctor(as_json: bool) -> int:
    """Examine all that a run needs and show what was found; the exit code is 1 if something failed."""
    try:
        return asyncio.run(_show(Settings.from_environment(), as_json))
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


async def run_checks(settings: Settings) -> AsyncIterator[Finding]:
    """Make every check and yield what each has found, in the order of ``CHECKS``."""
    prefect = asyncio.create_task(check_prefect(settings))
    mlflow = asyncio.create_task(check_mlflow(settings))
    variables = check_variables(settings)
    workspace = asyncio.create_task(_workspace_checks(settings)) if _all_set(variables) else None
    for finding in (*check_versions(), check_state(settings), check_disk(settings)):
        yield finding
    for finding in (*await prefect, *await mlflow, variables):
        yield finding
    if variables.status is Status.FAIL:
        for check in OF_THE_WORKSPACE:
            yield skip(check, "variables failed")
    if workspace is not None:
        checks = await workspace
        if isinstance(checks, Finding):
            yield checks
            return
        try:
            for check in checks.checks:
                yield (await check).finding
        finally:
            await checks.close()


async def _workspace_checks(settings: Settings) -> Any:
    """Import the SDK, which takes seconds, and start the checks that need it."""
    try:
        checks = await asyncio.to_thread(_checks_that_need_the_sdk)
    except ImportError as error:
        if str(error.name).startswith("flows"):
            raise
        return fail("identity", f"the Azure ML SDK cannot be imported: {error}", command=command())
    return checks(settings)


def _checks_that_need_the_sdk() -> Any:
    from flows.cli.doctor.workspace import WorkspaceChecks

    return WorkspaceChecks


def _all_set(variables: Finding) -> bool:
    return variables.status in (Status.OK, Status.WARN)


async def _show(settings: Settings, as_json: bool) -> int:
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else None
    colour = terminal and not os.environ.get("NO_COLOR")
    findings: list[Finding] = []
    async for finding in run_checks(settings):
        findings.append(finding)
        if not as_json:
            print(finding_as_text(finding, width, colour), flush=True)
    failed = sum(finding.status is Status.FAIL for finding in findings)
    if as_json:
        print(findings_as_json(findings))
    elif failed:
        print(f"\n{failed} of {len(findings)} checks failed.")
    else:
        print("\nNothing failed.")
    return 1 if failed else 0
