"""Scoring on this machine: a process runs the scoring script, while this one reads what is next and writes what was."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flows.engines.local.step_variables import passed_on
from flows.errors import RunError, ServingError
from flows.machine.child import Child
from flows.prefect_api.server import python_path
from flows.scoring.places.place import Scores, ScoringRequest, features_of, scores_of
from flows.scoring.tables import Portion
from flows.settings import Settings

LOG = "scoring.log"


class LocalScoring:
    """A :class:`~flows.scoring.places.place.ScoringPlace` on this machine; as a context manager, leaves no process."""

    def __init__(self, settings: Settings) -> None:
        self._log = settings.home / LOG
        self._folder = tempfile.TemporaryDirectory(prefix="tandem-scoring-")
        self._one = ThreadPoolExecutor(1)  # whoever speaks with the process
        self._child: Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._child is not None:
            self._child.process.kill()  # so that a thread that waits for its answer waits no more
        self._one.shutdown(cancel_futures=True)
        if self._child is not None:
            self._child.end()
        self._folder.cleanup()

    async def scored(self, request: ScoringRequest) -> AsyncGenerator[tuple[Portion, Scores]]:
        """See :meth:`ScoringPlace.scored`. One portion is read, one scored and one written at the same time."""
        loop, reading = asyncio.get_running_loop(), request.portions()
        waiting: tuple[Portion, asyncio.Future[Scores]] | None = None
        while True:
            portion = await asyncio.to_thread(next, reading, None)
            following = None
            if portion is not None:
                following = portion, loop.run_in_executor(self._one, self._score, request, portion)
                following[1].add_done_callback(_looked_at)
            if waiting is not None:
                yield waiting[0], await waiting[1]
            if following is None:
                return
            waiting = following

    def _score(self, request: ScoringRequest, portion: Portion) -> Scores:
        import pyarrow as pa
        from pyarrow.feather import read_table

        if self._child is None:
            self._child = self._started(request)
        folder = Path(self._folder.name)
        file, into = folder / f"part-{portion.number:05}.parquet", folder / "result.arrow"
        features_of(portion, request.features, file)
        told = self._ask(self._child, {"file": str(file), "into": str(into)})
        if told is None:
            raise RunError(f"{self._child.failure()} Nothing was written.")
        if "error" in told:
            raise RunError(
                f"The scoring script {request.deployment.scoring_script} failed on {portion.file.name}, after row "
                f"{portion.first_row:,}: {told['error']}. Nothing was written. Its log says more: {self._log}"
            )
        result: Any = pa.table(read_table(str(into), memory_map=False))
        file.unlink()
        into.unlink()
        return scores_of(request.label, portion, result)

    def _started(self, request: ScoringRequest) -> Child:
        spec, model = request.deployment, request.model
        self._log.parent.mkdir(parents=True, exist_ok=True)
        child = Child(
            "The scoring process",
            [sys.executable, "-m", "flows.scoring.places.worker"],
            {
                **passed_on(os.environ),
                "PYTHONPATH": python_path(),
                "MLFLOW_DISABLE_TELEMETRY": "true",
                **spec.environment_variables,
                "TANDEM_MODEL": model.name,
                "TANDEM_MODEL_VERSION": str(model.version),
                "AML_APP_ROOT": str(spec.code),
                "AZUREML_ENTRY_SCRIPT": str(spec.scoring_script),
                "AZUREML_MODEL_DIR": request.source.removeprefix("file://"),
            },
            log=self._log,
            streams=True,
        )
        if self._ask(child, None) is None:
            why = child.failure()
            child.end()
            raise ServingError(f"{model.label} cannot be loaded. {why} Nothing was written.")
        return child

    def _ask(self, child: Child, question: Mapping[str, str] | None) -> Mapping[str, Any] | None:
        """Send a question, if there is one, and return the next line of the answers; None if the process is gone."""
        try:
            if question is not None:
                child.process.stdin.write(json.dumps(question) + "\n")  # pyright: ignore[reportOptionalMemberAccess]
                child.process.stdin.flush()  # pyright: ignore[reportOptionalMemberAccess]
            line = child.process.stdout.readline()  # pyright: ignore[reportOptionalMemberAccess]
        except OSError:
            return None
        return json.loads(line) if line else None


def _looked_at(scores: asyncio.Future[Scores]) -> None:
    """Take note of an error that nobody waits for: that of a portion after one that could not be scored."""
    if not scores.cancelled():
        scores.exception()
