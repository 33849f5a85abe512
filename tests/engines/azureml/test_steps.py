"""Child jobs as task runs: their pages in studio, and their outputs where those of the pipeline do not come."""

from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterTaskRunId

from tests.azure_ml_service.faults import Fault
from tests.azure_ml_service.service import Service
from tests.conftest import Write
from tests.engines.conftest import Await
from tests.engines.jobs import FOLDER, JobRunner, command, pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many


def test_every_step_links_to_the_page_of_its_own_job_in_studio(
    azure_jobs: JobRunner, azure_ml: Service, write: Write, run: Await
) -> None:
    """The run history has no page of a child; the parent's tells where it is."""
    write({"job.yml": pipeline({"a": command("true"), "b": command("true")})})
    request = azure_jobs.request()

    ran = azure_jobs.run(request)

    async def links(task: Any) -> list[str]:
        which = ArtifactFilter(task_run_id=ArtifactFilterTaskRunId(any_=[task.id]))
        async with get_client() as client:
            return [str(found.data) for found in await client.read_artifacts(artifact_filter=which)]

    children = azure_ml.children(request.job_name)
    for step in ("a", "b"):
        (link,) = run(links(ran.task_runs[step]))
        assert f"[{step} in studio](https://ml.azure.com/runs/{children[step]['name']}?wsid=/subscriptions/" in link


def test_output_that_does_not_come_by_the_pipeline_is_fetched_from_the_child_that_made_it(
    azure_jobs: JobRunner, azure_ml: Service, write: Write
) -> None:
    step = command("echo done > ${{outputs.made}}/said", outputs={"made": "${{parent.outputs.out}}"})
    write({"job.yml": pipeline({"a": step}, outputs={"out": FOLDER})})
    azure_ml.faults.add(Fault("POST", r"/rundata", "answer", body={"runMetadata": {"outputs": {}}}))

    ran = azure_jobs.run(fetch=("out",))

    assert (ran.fetched["out"] / "said").read_text() == "done\n"
