"""Jobs of a workspace that were run before: their steps from their child jobs, and the addresses of what these left."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from flows.engines.azureml.sdk.jobs import Jobs, RemoteJob
from flows.engines.azureml.sdk.retries import persistently
from flows.engines.earlier import EarlierJob
from flows.engines.plan.definition import file_label
from flows.engines.runs import RunStatus, StepOutcome
from flows.errors import CannotRunHere, RunError
from flows.spec.model.job import DataReference, InputBinding, JobSpec, Step, StepOutput
from flows.tags import FILE

MOST_JOBS = 20  # of one file that are looked at, the newest first
_OUTPUT = re.compile(r"azureml://jobs/(?P<job>[^/]+)/outputs/(?P<output>[^/]+)")
_STATUSES = {str(status): status for status in RunStatus}


async def found_jobs(jobs: Jobs, spec: JobSpec, name: str | None) -> tuple[RemoteJob, ...]:
    """The jobs that were made from the file of a spec, the newest first; or the one of this name, if there is one."""
    if name is None:
        label = file_label(spec.source)
        return await persistently(lambda: jobs.newest_tagged(FILE, label, MOST_JOBS))
    found = await persistently(lambda: jobs.find(name))
    return () if found is None else (found,)


def earlier_job(spec: JobSpec, job: RemoteJob, children: Mapping[str, RemoteJob]) -> EarlierJob:
    """A job with its child jobs by step, as a value that is the same on every engine."""
    steps: dict[str, StepOutcome] = {}
    outputs: dict[StepOutput, str] = {}
    for name, child in children.items():
        status = _STATUSES.get(child.status, RunStatus.NOT_STARTED)
        steps[name] = StepOutcome(name, status, reused=child.reused, seconds=child.seconds)
        # A reused child has no outputs of its own: the run history answers for the job that it repeats.
        made_by = child.properties.get("azureml.reusedrunid", child.name) if child.reused else child.name
        for output in spec.steps[name].component.outputs if status is RunStatus.COMPLETED else ():
            outputs[StepOutput(name, output)] = f"azureml://jobs/{made_by}/outputs/{output}"
    return EarlierJob(job.name, job.status, job.tags, MappingProxyType(steps), MappingProxyType(outputs))


async def with_addresses(jobs: Jobs, spec: JobSpec) -> JobSpec:
    """The job with each output of another job that it reads at the address where its data is stored.

    Models stay at ``azureml://jobs/…``, which Azure ML takes for them; their own address cannot be asked for.
    """

    async def stored(value: InputBinding) -> InputBinding:
        found = _OUTPUT.fullmatch(value.path) if isinstance(value, DataReference) else None
        if found is None or not isinstance(value, DataReference) or value.type.endswith("_model"):
            return value
        address = await persistently(lambda: jobs.address(found["job"], found["output"]))
        return value if address is None else replace(value, path=address)

    async def read_from_there(step: Step) -> Step:
        inputs = {name: await stored(value) for name, value in step.inputs.items()}
        return replace(step, inputs=MappingProxyType(inputs))

    steps = {name: await read_from_there(step) for name, step in spec.steps.items()}
    return replace(spec, steps=MappingProxyType(steps))


async def download_output(jobs: Jobs, job: EarlierJob, output: StepOutput, type: str, folder: Path) -> Path:
    """Download the output of a step of an earlier job to ``folder``, which is the path of a file if it is one.

    Raises:
        CannotRunHere: It is a model, which the SDK cannot download.
        RunError: Nothing came.
    """
    what = f"The output {output.output} of the step {output.step} of the job {job.name}"
    if type.endswith("_model"):
        raise CannotRunHere(
            f"{what} is a model, and this version of the SDK cannot download models. Nothing was run. "
            "Run the step where the job ran: --engine azureml"
        )
    found = _OUTPUT.fullmatch(job.outputs[output])
    assert found is not None  # they are addresses of this module's
    child, name = found["job"], found["output"]
    if await persistently(lambda: jobs.download(child, name, folder, is_file=type == "uri_file")):
        return folder
    raise RunError(f"{what} was not downloaded: nothing came.")
