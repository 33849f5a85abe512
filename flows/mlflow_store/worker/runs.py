"""The worker's calls that make, fill and read MLflow runs."""

import getpass
import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flows.mlflow_store.worker.clients import made_once
from flows.mlflow_store.worker.errors import Refused
from flows.mlflow_store.worker.model_files import local_folder, only_here
from flows.mlflow_store.worker.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run

# Opens the experiment on its training runs, not on traces of language models.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
_REQUEST = "tandem.request"  # the tag by which a run is found whose creation was not answered
_NOTE = "mlflow.note.content"  # the tag that MLflow shows as the description of a run
_MOST_DIGEST = 36  # characters of the digest of a dataset
# What MLflow's log_batch takes at once.
_MOST_METRICS, _MOST_PARAMS, _MOST_TAGS = 1000, 100, 100


class Runs(Store):
    """MLflow runs. Every public method is a call of the protocol."""

    def create_runs(self, experiment: str, runs: Sequence[Mapping[str, Any]]) -> list[str]:
        """Create runs in an experiment, which is made if absent. Each has the arguments of :meth:`create_run`."""
        experiment_id = self._experiment_id(experiment)
        return [self._create_run(experiment_id, **run) for run in runs]

    def check_artifacts(self, run_id: str) -> None:
        """See that the artifacts of a run can be reached, where a server or other storage keeps them."""
        if self.on_server and not self.in_workspace:
            self._runs.list_artifacts(run_id)

    def create_run(
        self, experiment: str, name: str, parent_run_id: str | None = None, tags: Mapping[str, str] | None = None
    ) -> str:
        """Create one run, and answer its id."""
        return self._create_run(self._experiment_id(experiment), name, parent_run_id, tags)

    def finish_run(self, run_id: str, status: str) -> None:
        """End a run as FINISHED, FAILED or KILLED."""
        if status not in ("FINISHED", "FAILED", "KILLED"):
            raise Refused(f"A run ends as FINISHED, FAILED or KILLED, not as {status!r}.")
        self._runs.set_terminated(run_id, status)

    def kill_runs(self, tag: str, values: Sequence[str]) -> int:
        """End as KILLED the runs that have one of these values of a tag, and those below them; answer how many.

        Those that have ended by themselves are left as they are.
        """
        experiments = [one.experiment_id for one in self._pages(self._client.search_experiments)]

        def found(name: str, value: str) -> "list[Run]":
            query = f"tags.`{name}` = '{value}'"
            return list(self._pages(self._client.search_runs, experiment_ids=experiments, filter_string=query))

        waiting = [run for value in values for run in found(tag, value)]
        seen: set[str] = set()
        killed = 0
        while waiting:
            run = waiting.pop()
            if run.info.run_id in seen:
                continue
            seen.add(run.info.run_id)
            waiting += found("mlflow.parentRunId", run.info.run_id)
            if run.info.status in ("RUNNING", "SCHEDULED"):
                self._client.set_terminated(run.info.run_id, "KILLED")
                killed += 1
        return killed

    def copy_run_data(self, from_run_id: str, to_run_id: str) -> None:
        """Copy params, last metrics (with step and time) and a person's tags, as for a step that was not run again.

        A run that is not here, nor where runs are kept now, has nothing to copy.
        """
        from mlflow.entities import Metric, Param, RunTag

        run = self._find_run(from_run_id)
        if run is None:
            return
        data: Any = run.to_proto().data  # the entity drops a metric's step and time
        metrics = [Metric(m.key, m.value, m.timestamp, m.step) for m in data.metrics]
        params = [Param(p.key, p.value) for p in data.params]
        tags = [RunTag(t.key, t.value) for t in data.tags if not t.key.startswith("mlflow.")]
        for at in range(0, len(metrics), _MOST_METRICS):
            self._runs.log_batch(to_run_id, metrics=metrics[at : at + _MOST_METRICS])
        for at in range(0, len(params), _MOST_PARAMS):
            self._runs.log_batch(to_run_id, params=params[at : at + _MOST_PARAMS])
        for at in range(0, len(tags), _MOST_TAGS):
            self._runs.log_batch(to_run_id, tags=tags[at : at + _MOST_TAGS])

    def log_metrics(self, run_id: str, metrics: Mapping[str, float | None]) -> None:
        """Log metrics at step 0, now. One that is undefined (None) is left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        logged = [Metric(name, value, now, 0) for name, value in metrics.items() if value is not None]
        for at in range(0, len(logged), _MOST_METRICS):
            self._runs.log_batch(run_id, metrics=logged[at : at + _MOST_METRICS])

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Log params. MLflow refuses to change one that is there."""
        from mlflow.entities import Param

        logged = [Param(name, value) for name, value in params.items()]
        for at in range(0, len(logged), _MOST_PARAMS):
            self._runs.log_batch(run_id, params=logged[at : at + _MOST_PARAMS])

    def add_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Log those params that the run does not have yet."""
        run: Any = self._runs.get_run(run_id)
        self.log_params(run_id, {name: value for name, value in params.items() if name not in run.data.params})

    def log_datasets(self, run_id: str, datasets: Sequence[Mapping[str, str]]) -> None:
        """Log datasets by name, digest, place and context. The MLflow of a workspace takes none."""
        if self.in_workspace:
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        logged = [
            DatasetInput(
                Dataset(one["name"], one["sha256"][:_MOST_DIGEST], "local", json.dumps({"uri": one["uri"]})),
                [InputTag("mlflow.data.context", one["context"])],
            )
            for one in datasets
        ]
        self._runs.log_inputs(run_id, logged)

    def describe_run(self, run_id: str, tags: Mapping[str, str], description: str) -> None:
        """Set tags of a run, and its description."""
        from mlflow.entities import RunTag

        told = {**tags, _NOTE: description}
        self._runs.log_batch(run_id, tags=[RunTag(name, value) for name, value in told.items()])

    def log_folder(self, run_id: str, folder: str, artifact_path: str) -> str:
        """Copy a folder into a run's artifacts, and answer the path of their page in MLflow's web interface."""
        self._runs.log_artifacts(run_id, folder, artifact_path)
        return f"{self.page_of_run(run_id)}/artifacts/{artifact_path}"

    def page_of_run(self, run_id: str) -> str:
        """Answer the path of a run's page in MLflow's web interface."""
        return f"/#/experiments/{self._runs.get_run(run_id).info.experiment_id}/runs/{run_id}"

    def run_metrics(self, run_id: str) -> dict[str, float]:
        """Answer the last value of every metric of a run."""
        run: Any = self._runs.get_run(run_id)
        return dict(run.data.metrics)

    def metric_history(self, run_id: str, name: str) -> list[float]:
        """Answer all values of a metric, in order of step, then time."""
        history: Any = self._runs.get_metric_history(run_id, name)
        return [one.value for one in sorted(history, key=lambda one: (one.step, one.timestamp))]

    def _create_run(
        self, experiment_id: str, name: str, parent_run_id: str | None = None, tags: Mapping[str, str] | None = None
    ) -> str:
        standard = {"mlflow.user": _user(), "mlflow.source.name": "tandem", "mlflow.source.type": "LOCAL"}
        parent = {"mlflow.parentRunId": parent_run_id} if parent_run_id else {}
        known = {_REQUEST: uuid.uuid4().hex} if self.on_server and not self.in_workspace else {}
        tags = {**standard, **(tags or {}), **parent, **known}
        query = "".join(f"tags.`{tag}` = '{value}'" for tag, value in known.items())

        def make() -> "Run":
            return self._runs.create_run(experiment_id, tags=tags, run_name=name)

        def find() -> "Run | None":
            return next(self._pages(self._runs.search_runs, experiment_ids=[experiment_id], filter_string=query), None)

        return (made_once(make, find) if known else make()).info.run_id

    def _experiment_id(self, name: str) -> str:
        experiment = self._runs.get_experiment_by_name(name) or self._made_experiment(name)
        if experiment is None or experiment.lifecycle_stage != "active":
            known = f" --experiment-id {experiment.experiment_id}" if experiment else ""
            raise Refused(
                f"The MLflow experiment {name!r} was deleted, so no run can be added to it. Choose another name, or "
                f"bring it back: MLFLOW_TRACKING_URI={self._runs_uri} mlflow experiments restore{known}"
            )
        if self.on_server and not self.in_workspace and local_folder(experiment.artifact_location) is not None:
            raise Refused(only_here(self._uri, experiment.artifact_location))
        return experiment.experiment_id

    def _made_experiment(self, name: str) -> "Experiment | None":
        """Make an experiment, or find it, if another process was faster; None if it was deleted."""
        from mlflow import MlflowException

        try:
            if self.in_workspace or self.on_server:  # which know themselves where artifacts are kept
                self._runs.create_experiment(name, tags=None if self.in_workspace else dict[str, Any](_KIND))
            else:
                # All experiments share one folder: the run's id, which follows, is unique enough.
                self._runs.create_experiment(name, self._artifacts.as_uri(), tags=dict[str, Any](_KIND))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return self._runs.get_experiment_by_name(name)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())
