"""Names and values of the tags of jobs and model versions, and of the labels of flow runs."""

from collections.abc import Mapping

FLOW_RUN = "tandem.flow_run"  # the id of the flow run that the job belongs to; the job's name is derived from it
COMPARED_WITH = "tandem.compared_with"  # the version of the champion; at a promoted version, `none` if there was none
DATA = "tandem.data"
DATA_FILE = "tandem.data_file"  # the name that a person gave the file
DATA_SHA256 = "tandem.data_sha256"
TRAINED_AT = "tandem.trained_at"  # when the model was registered, ISO 8601 in UTC; data from before it is not incoming
ENVIRONMENT = "tandem.environment"
GIT_COMMIT = "tandem.git_commit"
ENGINE = "tandem.engine"  # where the job ran: local, azureml
PYTHON = "tandem.python"  # the version that the model was trained with; as the next two, told by the training itself
PLATFORM = "tandem.platform"  # system and machine: Linux x86_64
PACKAGES = "tandem.packages"  # a digest of all packages that were installed there, with their versions
DIFFERENCES = "tandem.differences"  # in what the champion was trained otherwise, by the last four
DECISION = "tandem.decision"  # Promoted, Rejected or Registered: what runs and versions are filtered by
REASONS = "tandem.reasons"  # of the decision, as sentences
WORSE = "tandem.worse"  # the metrics that are worse than the champion's, with both values
MODEL = "tandem.model"  # of a run: the name its model is registered under; of a deployment: the model that it serves
MODEL_VERSION = "tandem.model_version"  # of a run: the version that it became; of a deployment: the one that it serves
JOB = "tandem.job"
MADE_OF = "tandem.made_of"  # the digest of all that a command job on Azure ML is made of
BASIS = "tandem.basis"  # digests of data, code, parameters and environment, which the promotion rested on
MOVED = "tandem.moved"  # with a time behind it: a person has made another version the champion; who, and why
ROLLED_BACK = "tandem.rolled_back"  # at the champion: versions that were rolled back from, and the basis of each
REJECTED_BASIS = "tandem.rejected_basis"  # at the champion: the same of the last challenger that was rejected
TRAINS = "tandem.trains"  # of a flow run: the model and the basis that it trains, only at the flow run
STUDIO_URL = "tandem.studio_url"  # of the job; only at the flow run
WATCHED = "tandem.watched"  # a tag of the flow run: it was suspended, and `watch-jobs` looks after its job
WAKE_AT = "tandem.wake_at"  # of a suspended flow run: when a limit may have passed, in seconds since 1970
LOOKED_AT = "tandem.looked_at"  # of a watcher: when it has looked last, in seconds since 1970
MODEL_DIGEST = "tandem.model_digest"  # of a deployment: the SHA-256 of its files
COLLECTS = "tandem.collects"  # of a deployment that keeps what it is asked: the digest of its data_collector
FILE = "tandem.file"  # of a job: the YAML file that it was made from, as `PROJECT/PATH`
DEFINITION = (
    "tandem.definition"  # the digest of all that made it: of a job, file and values; of a deployment, the model too
)
RESUMES = "tandem.resumes"  # of a job: the job after which it goes on, whose finished steps it does not run again
INPUTS_FROM = "tandem.inputs_from"  # of a job of some steps of a file: the job whose outputs they read
SELECTED = "tandem.selected"  # of such a job: `only STEP` or `from STEP`
RESUBMISSIONS = "tandem.resubmissions"  # of a suspended flow run: how often its job was submitted again


def job_tags(flow_run_id: str, data: str, champion: int | None = None) -> Mapping[str, str]:
    """The tags of a job: its flow run, its data and the champion, from which a later try reads what it was given.

    Args:
        flow_run_id: The id that its flow run goes by.
        data: The label of the data, such as ``diabetes-diagnostics:1``.
        champion: The version that its model is compared with, if there is a champion.
    """
    compared = {} if champion is None else {COMPARED_WITH: str(champion)}
    return {FLOW_RUN: flow_run_id, DATA: data, **compared}


def decision_tags(flow_run_id: str, compared_with: int | None) -> dict[str, str]:
    """The tags of a version that was promoted: by which flow run, and after which champion."""
    return {FLOW_RUN: flow_run_id, COMPARED_WITH: "none" if compared_with is None else str(compared_with)}


def compared_with(tags: Mapping[str, str]) -> int | None:
    """The version of the champion that a model was compared with; None if there was none, or nothing is said."""
    version = tags.get(COMPARED_WITH, "none")
    return int(version) if version.isdecimal() else None


def goes_on_with(flow_run_id: str) -> str:
    """The tag in Prefect of a flow run that goes on with the job of an earlier one, whose id it goes by."""
    return f"{FLOW_RUN}:{flow_run_id}"
