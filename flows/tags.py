"""The tags of jobs and model versions: what they are called, and what is written at a job."""

from collections.abc import Mapping

from flows.data_assets import ResolvedData
from flows.model_registry import ModelVersion

FLOW_RUN = "tandem.flow_run"  # whose job it is: the id that its name is derived from
COMPARED_WITH = "tandem.compared_with"  # the champion's version
DATA = "tandem.data"
DATA_SHA256 = "tandem.data_sha256"
ENVIRONMENT = "tandem.environment"
GIT_COMMIT = "tandem.git_commit"
DECISION = "tandem.decision"
JOB = "tandem.job"


def job_tags(flow_run_id: str, data: ResolvedData, champion: ModelVersion | None = None) -> Mapping[str, str]:
    """The tags of a job: whose it is, and what it was given, for whoever finds it later."""
    compared = {} if champion is None else {COMPARED_WITH: str(champion.version)}
    return {FLOW_RUN: flow_run_id, DATA: data.label, **compared}
