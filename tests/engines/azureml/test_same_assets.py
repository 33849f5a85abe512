"""Two submissions at once that need the same assets: both succeed, and what can be made once is made once."""

import pytest

from flows.engines.engine import Engine
from flows.engines.runs import RunOutcome, RunStatus
from tests.azure_ml_service.faults import Fault
from tests.azure_ml_service.service import Service
from tests.conftest import Write
from tests.engines.jobs import FILE, FOLDER, JobRunner, command, pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many


def files(label: str) -> dict[str, str]:
    """A pipeline with a data asset, an environment, code and a data file that nobody had before."""
    step = command(
        "cat ${{inputs.asset}} ${{inputs.file}} main.txt > ${{outputs.out}}/said",
        inputs={"asset": "${{parent.inputs.asset}}", "file": "${{parent.inputs.file}}"},
        outputs={"out": "${{parent.outputs.out}}"},
        environment=f"azureml:{label}@latest",
        code="./code",
    )
    inputs = {"asset": {**FILE, "path": f"azureml:{label}@latest"}, "file": {**FILE, "path": "./rows.csv"}}
    return {
        "job.yml": pipeline({"a": step}, inputs=inputs, outputs={"out": FOLDER}),
        "rows.csv": f"{label} file\n",
        "code/main.txt": f"{label} code\n",
        "project/data/data.yml": f"name: {label}\nversion: '1'\ntype: uri_file\npath: rows.csv\n",
        "project/data/rows.csv": f"{label} asset\n",
        "project/environment/environment.yml": f"name: {label}\nimage: ubuntu:22.04\n",
    }


async def resolved_and_run(jobs: JobRunner, engine: Engine, label: str) -> tuple[RunOutcome, str]:
    data = await engine.resolve_data(label)
    request = jobs.request(inputs={"asset": data.reference})
    outcome = await engine.wait(await engine.submit(request))
    folder = await engine.fetch(outcome, "out", jobs.folder / "fetched" / request.job_name)
    return outcome, (folder / "said").read_text()


def versions(service: Service, kind: str, label: str) -> list[str]:
    return [key for key in service.documents.keys(kind) if key.startswith(f"{label}:")]


def test_asset_that_somebody_else_made_a_moment_ago_is_taken_as_it_is(
    azure_jobs: JobRunner, azure_ml: Service, write: Write
) -> None:
    label = "overtaken"
    write(files(label))
    overtaken = [
        Fault("PUT", r"/LocalUpload/", "overtaken", times=None),
        Fault("PUT", rf"/data/{label}/versions/1$", "overtaken"),
        Fault("PUT", rf"/environments/{label}/versions/", "overtaken"),
        Fault("PUT", r"/components/azureml_anonymous/", "overtaken"),
    ]
    for fault in overtaken:
        azure_ml.faults.add(fault)

    outcome, said = azure_jobs.in_flow(lambda engine: resolved_and_run(azure_jobs, engine, label))

    assert outcome.status is RunStatus.COMPLETED
    assert said == f"{label} asset\n{label} file\n{label} code\n"
    assert len(versions(azure_ml, "data", label)) == len(versions(azure_ml, "environments", label)) == 1
    assert all(fault.hits for fault in overtaken)


def test_data_that_somebody_else_made_a_moment_ago_of_another_file_is_taken_as_it_is(
    azure_jobs: JobRunner, azure_ml: Service, write: Write
) -> None:
    """What a version of data consists of cannot change, which the service refuses with 400."""
    label = "overtaken-by-another"
    write(files(label))
    other = {"dataType": "uri_file", "dataUri": "azureml://datastores/workspaceblobstore/paths/other/rows.csv"}
    made = Fault(
        "PUT", rf"/data/{label}/versions/1$", "hold", action=lambda: azure_ml.arm.keep("data", label, "1", other)
    )
    azure_ml.faults.add(made)

    data = azure_jobs.in_flow(lambda engine: engine.resolve_data(label))

    assert made.hits == 1
    assert (data.label, data.sha256) == (f"{label}:1", None)  # not the SHA-256 of our file


def test_two_submissions_at_once_make_the_same_assets_once(
    azure_jobs: JobRunner, azure_ml: Service, write: Write
) -> None:
    label = "at-once"
    write(files(label))

    async def body(engine: Engine) -> tuple[RunOutcome, str]:
        return await resolved_and_run(azure_jobs, engine, label)

    first, second = azure_jobs.in_flows(body, body)

    for outcome, said in (first, second):
        assert outcome.status is RunStatus.COMPLETED
        assert said == f"{label} asset\n{label} file\n{label} code\n"
    assert len(versions(azure_ml, "data", label)) == len(versions(azure_ml, "environments", label)) == 1


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("version: '1'\npath: other.csv", "other.csv has other content under the same version"),
        ("version: '2'\npath: other.csv", "other.csv is a newer version (2), which the workspace does not have"),
        ("version: '1'\npath: rows.csv", ""),
    ],
    ids=["other content", "newer version", "the same"],
)
def test_data_of_the_workspace_is_used_and_other_data_of_that_name_here_is_told(
    file: str, told: str, azure_jobs: JobRunner, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    definition = "name: here-and-there\ntype: uri_file\n"
    write({"project/data/rows.csv": "1\n", "project/data/other.csv": "2\n"})
    write({"project/data/data.yml": f"{definition}version: '1'\npath: rows.csv\n"})
    azure_jobs.in_flow(lambda engine: engine.resolve_data("here-and-there"))
    write({"project/data/data.yml": f"{definition}{file}\n"})

    data = azure_jobs.in_flow(lambda engine: engine.resolve_data("here-and-there"))

    assert data.label == "here-and-there:1"
    said = [record.getMessage() for record in caplog.records if "of the workspace;" in record.getMessage()]
    assert [told in line for line in said] == ([True] if told else [])
