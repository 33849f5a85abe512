"""What an engine tells of jobs that were run before, and jobs of some steps, on this machine and on Azure ML."""

from pathlib import Path

import pytest

from flows.any_yaml.selection.graph import selected
from flows.engines.earlier import EarlierJob
from flows.engines.engine import Engine
from flows.engines.plan.definition import file_label
from flows.engines.runs import PipelineRequest
from flows.spec.model.job import StepOutput
from flows.tags import FILE as FILE_TAG
from tests.conftest import Write
from tests.engines.jobs import FILE, FOLDER, JobRunner, command, delivered_by, pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many


@pytest.fixture(params=["local", "azureml"])
def jobs(request: pytest.FixtureRequest) -> JobRunner:
    return request.getfixturevalue("local_jobs" if request.param == "local" else "azure_jobs")


def test_job_of_some_steps_reads_what_an_earlier_job_of_the_file_has_left(jobs: JobRunner, write: Write) -> None:
    steps = {
        "file": command(f"echo {jobs.folder.name} > ${{{{outputs.out}}}}", outputs={"out": FILE}),
        "model": command(
            "cp ${{inputs.it}} ${{outputs.out}}/weights",
            inputs={"it": delivered_by("file"), "unused": "${{parent.inputs.unused}}"},
            outputs={"out": {"type": "mlflow_model"}, "table": "${{parent.outputs.table}}"},
        ),
        "fails": command("exit 3", inputs={"it": delivered_by("file")}, outputs={"out": FOLDER}),
        "joins": command(
            "cat ${{inputs.it}} ${{inputs.model}}/weights > ${{outputs.said}}/said",
            inputs={
                "it": {**FILE, "path": delivered_by("file")},
                "model": {"type": "mlflow_model", "path": delivered_by("model")},
            },
            outputs={"said": "${{parent.outputs.said}}"},
        ),
    }
    data = {"unused": {**FILE, "path": "./data.csv"}}
    text = pipeline(steps, inputs=data, outputs={"table": FOLDER, "said": FOLDER})
    write({"job.yml": text, "data.csv": "a"})
    whole = jobs.request().spec
    request = jobs.request(tags={FILE_TAG: file_label(whole.source)})
    jobs.run(request)

    async def known(engine: Engine) -> tuple[list[EarlierJob], list[EarlierJob], list[EarlierJob]]:
        of_file = [job async for job in engine.earlier_jobs(whole)]
        named = [job async for job in engine.earlier_jobs(whole, request.job_name)]
        return of_file, named, [job async for job in engine.earlier_jobs(whole, "no-such-job")]

    of_file, (job,), unknown = jobs.in_flow(known)
    assert ([each.name for each in of_file], unknown) == ([request.job_name], [])
    assert (job.name, job.status, job.finished) == (request.job_name, "Failed", {"file", "model", "joins"})
    left = [("file", "out"), ("model", "out"), ("model", "table"), ("joins", "said")]
    assert job.outputs.keys() == {StepOutput(*each) for each in left}

    async def brought(engine: Engine) -> Path:
        return await engine.bring_output(job, StepOutput("file", "out"), "uri_file", jobs.folder / "brought" / "file")

    assert jobs.in_flow(brought).read_text() == f"{jobs.folder.name}\n"
    part = selected(whole, {"joins"}, job.outputs)
    ran = jobs.run(PipelineRequest(part, f"{request.job_name}-s1", "tests", force_rerun=True), fetch=("said",))
    assert (str(ran.outcome.status), ran.statuses()) == ("Completed", {"joins": "Completed"})
    assert ran.outcome.outputs.keys() == {"said"}
    assert (ran.fetched["said"] / "said").read_text() == f"{jobs.folder.name}\n" * 2
