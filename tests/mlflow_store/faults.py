"""The table of a run's requests to an MLflow server × faults: ``python -m tests.mlflow_store.faults``.

A row for each request of a run, a column for each fault. A cell says what the command did when the fault happened once,
and when it went on: it goes on, or it ends with a message, before training or after. Then the command is started again
without a fault; there must be one version, and a champion. The calls are those that a promoted pipeline makes through
its MLflow worker, in their order. Each request may take 2 s here, and is tried twice.
"""

import argparse
import asyncio
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.errors import TandemError
from flows.mlflow_store.model_registry import Candidate, MlflowTracking, ModelVersion
from tests.mlflow_store.fault_proxy import KINDS, FaultProxy, Kind, RequestFault
from tests.mlflow_store.servers import MlflowServer
from tests.mlflow_store.stores import WORKER, Store, line_to

FOR_EVER = 1_000_000
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "2", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


@dataclass(frozen=True)
class Row:
    """What came of one fault."""

    request: str
    kind: str
    times: str
    told: str
    during: str
    next_start: str
    versions: int
    champion: int | None


class FaultyRun:
    """One model name, for which a command is started, hit by a fault, and started again."""

    def __init__(self, tracking: MlflowTracking, store: Store, name: str) -> None:
        self._tracking = tracking
        self._store = store
        self._name = name
        self.at = ""

    async def start(self) -> ModelVersion | None:
        """What a pipeline asks of MLflow, up to its promotion."""
        tracking, name = self._tracking, self._name
        self.at = "before training"
        champion = await tracking.champion(name)
        run_id = await tracking.create_run(f"experiment-{name}", "train")
        await tracking.log_params(run_id, {"solver": "lbfgs"})
        await tracking.check_artifacts(run_id)
        self.at = "after training"
        await tracking.log_metrics(run_id, {"roc_auc": 0.8})
        model = self._store.model(name, name)
        await tracking.log_folder(run_id, Path(model), "evaluation")
        before = None if champion is None else champion.version
        if champion is not None and champion.tags.get("tandem.flow_run") == name:
            before = None  # as `champion_to_beat` says: this very flow run has made it
        made = await tracking.promote(
            Candidate(name, model, run_id, {"tandem.model_sha256": name}), compared_with=before, flow_run_id=name
        )
        await tracking.finish_run(run_id, "FINISHED")
        self.at = "done"
        return made if isinstance(made, ModelVersion) else None


def shown(method: str, path: str) -> str:
    """A request without what is different each time."""
    return f"{method} {re.sub(r'/artifacts/.*', '/artifacts/…', path.removeprefix('/api/2.0/'))}"


def pattern(path: str) -> str:
    """Matches the same request of another run."""
    return re.sub(r"/mlflow-artifacts/artifacts/.*", "/mlflow-artifacts/artifacts/.+", path) + "$"


async def table(server: MlflowServer, folder: Path, kinds: Sequence[Kind], only: str = "") -> "list[Row]":
    """Make every request of a run fail in every way, once and for good; ``only`` limits the requests."""
    store, rows = Store(folder), list[Row]()
    with FaultProxy(server.url) as proxy:
        store.environment |= {"MLFLOW_TRACKING_URI": proxy.url, **PATIENCE}
        async with line_to(WORKER, environment=store.environment, timeout_seconds=600) as worker:
            tracking = MlflowTracking(worker)
            await FaultyRun(tracking, store, "first").start()
            requests = dict.fromkeys((method, pattern(path)) for method, path in proxy.asked)
            for number, (method, path, kind, times) in enumerate(_cases(list(requests), kinds, only)):
                name = f"case-{number}-{folder.name}"
                run = FaultyRun(tracking, store, name)
                proxy.fault = RequestFault(kind, method, path, times)
                told = "nothing"
                try:
                    await run.start()
                except TandemError as error:
                    told = str(error).partition("\n")[0]
                during, proxy.fault = run.at, None
                made = await run.start()
                proxy.released.set()
                proxy.released.clear()
                versions = server.client().search_model_versions(f"name='{name}'")
                champion = server.client().get_model_version_by_alias(name, "champion")
                did = "nobody was promoted" if made is None else f"version {made.version}"
                found = len(versions), int(champion.version)
                often = "once" if times == 1 else "always"
                rows.append(Row(shown(method, path[:-1]), kind, often, told, during, did, *found))
    return rows


def _cases(
    requests: Sequence[tuple[str, str]], kinds: Sequence[Kind], only: str
) -> Iterator[tuple[str, str, Kind, int]]:
    for method, path in requests:
        if re.search(only, path):
            for kind in kinds:
                yield method, path, kind, 1
                yield method, path, kind, FOR_EVER


def cell(rows: Sequence[Row]) -> str:
    """What came of one request and fault: what was said when it happened once, and when it went on."""
    said = {row.times: "goes on" if row.told == "nothing" else f"ends {row.during}" for row in rows}
    wrong = [f"; {row.versions} versions" for row in rows if row.versions != 1 or row.champion is None]
    return " / ".join(said[times] for times in ("once", "always")) + "".join(wrong)


def compact(rows: Sequence[Row]) -> list[str]:
    """The table: a row for each request, a column for each fault."""
    kinds, requests = dict.fromkeys(row.kind for row in rows), dict.fromkeys(row.request for row in rows)
    lines = [f"| request | {' | '.join(kinds)} |", f"|---{'|---' * len(kinds)}|"]
    for request in requests:
        cells = [cell([row for row in rows if (row.request, row.kind) == (request, kind)]) for kind in kinds]
        lines.append(f"| `{request}` | {' | '.join(cells)} |")
    return lines


def main() -> int:
    """Print the table and what is said; 1 if a model was registered twice, or not at all, when all was over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a regular expression for the paths of the requests")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults-") as place, MlflowServer(Path(place) / "server") as server:
        rows = asyncio.run(table(server, Path(place) / "machine", asked.kinds, asked.only))
    print(*compact(rows), "", sep="\n")
    for kind, told in dict.fromkeys((row.kind, re.sub("http://[^ ]*", "URL", row.told)) for row in rows):
        print(f"{kind}: {told}")
    wrong = [row for row in rows if row.versions != 1 or row.champion is None]
    print(*(f"wrong: {row}" for row in wrong), f"{len(rows)} cases, {len(wrong)} wrong.", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
