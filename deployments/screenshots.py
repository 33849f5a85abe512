"""Take the pictures of the documents: pages of Prefect after a few runs, as a headless Chromium shows them.

Server, worker and runs are started for it, on free ports and in a temporary folder, and nothing of them stays.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments.chromium import chromium, find_chromium, photograph
from flows.cli.terminal.exit_codes import exit_code_of
from flows.errors import ServiceError
from flows.machine.child import Child, wait_until
from flows.prefect_api.server import SERVED, START_SECONDS, free_port
from flows.settings import PROJECT, Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SHOWN = PROJECT / "deployments" / "screenshots"  # those of the README and of docs
BIN = Path(sys.executable).parent
PIPELINE, JOB, ROLLOUT = "train-pipeline/on-demand", "train-job/on-demand", "deploy-model/on-demand"
MODEL = "diabetes-predict"
ROLLOUT_SECONDS = 300.0
WRONG_DATA = "PatientID,Age\n1,50\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deployments.screenshots", description=__doc__)
    parser.add_argument(
        "--all", metavar="FOLDER", type=Path, help="take every page, and put them there to be looked at"
    )
    folder = parser.parse_args(arguments).all
    return exit_code_of(lambda: _take(SHOWN, False) if folder is None else _take(folder, True))


def _take(folder: Path, every: bool) -> int:
    browser = find_chromium()
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="tandem-", ignore_cleanup_errors=True) as home,
        served(Path(home)) as (environment, mlflow),
    ):
        call(environment, sys.executable, "-m", "deployments.deploy", "deploy")
        worker = (sys.executable, "-m", "deployments.deploy", "worker")
        with (
            ended_endpoints(Path(environment["TANDEM_HOME"])),
            Child("`make worker`", worker, environment, folder=PROJECT, grace_seconds=20) as working,
            chromium(browser) as shown,
        ):
            for deployment, *parameters in _runs(Path(home), every):
                print(deployment, *parameters, flush=True)
                words = [word for parameter in parameters for word in ("-p", parameter)]
                call(environment, BIN / "prefect", "deployment", "run", deployment, *words, "--watch", may_fail=every)
            _photograph(shown, folder, "rollout", *rollout_page(environment, working))
        api = environment["PREFECT_API_URL"]
        pages = readme_pages(api) if not every else {**readme_pages(api), **_more_pages(api, mlflow)}
        with chromium(browser) as shown:
            for name, (page, size) in pages.items():
                _photograph(shown, folder, name, page, size)
    return 0


def _photograph(browser: "Browser", folder: Path, name: str, page: str, size: tuple[int, int]) -> None:
    picture = folder / f"{name}.png"
    photograph(browser, page, size, picture)
    print(f"{picture}  {picture.stat().st_size / 1000:.0f} kB", flush=True)


def _runs(home: Path, every: bool) -> Generator[tuple[str, ...]]:
    """The runs: a champion, and a better model that reuses its steps; with ``every``, one of each other outcome too."""
    yield PIPELINE, "reg_rate=10"
    yield PIPELINE, "reg_rate=0.01"
    if every:
        wrong = home / "wrong.csv"
        wrong.write_text(WRONG_DATA, encoding="utf-8")
        yield PIPELINE, "reg_rate=0.01"
        yield (JOB,)
        yield PIPELINE, "data_asset_name=absent"
        yield PIPELINE, f"data_asset_name={wrong}"


Pages = Mapping[str, tuple[str, tuple[int, int]]]


def readme_pages(api: str) -> Pages:
    """Address and size of the pages that the README shows: the newest promotion, its graph and its summary."""
    run = next(run for run in _flow_runs(api) if run["state"]["name"] == "Promoted")
    (summary,) = (each["id"] for each in _artifacts(api, run["id"]) if each["key"] == "summary")
    ui = api.removesuffix("/api")
    return {
        "flow-run": (f"{ui}/runs/flow-run/{run['id']}", (1280, 760)),
        "summary": (f"{ui}/artifacts/artifact/{summary}", (1280, 960)),
    }


def _more_pages(api: str, mlflow: str) -> Pages:
    ui, size, pages = api.removesuffix("/api"), (1400, 1200), dict[str, tuple[str, tuple[int, int]]]()
    for number, run in enumerate(_flow_runs(api)):
        name = f"run-{number}-{run['state']['name']}"
        pages[name] = (f"{ui}/runs/flow-run/{run['id']}", size)
        for artifact in _artifacts(api, run["id"]):
            pages[f"{name}-{artifact['key']}"] = (f"{ui}/artifacts/artifact/{artifact['id']}", size)
    for deployment in asked(api, "deployments", {}):
        name = f"{deployment['entrypoint'].rpartition('.')[2]}-{deployment['name']}"
        pages[f"deployment-{name}"] = (f"{ui}/deployments/deployment/{deployment['id']}", size)
        pages[f"form-{name}"] = (f"{ui}/deployments/deployment/{deployment['id']}/run", (1400, 3400))
    return {
        **pages,
        "deployments": (f"{ui}/deployments", size),
        "runs": (f"{ui}/runs", size),
        "mlflow-runs": (f"{mlflow}/#/experiments/1/runs", size),
    }


def rollout_page(environment: Mapping[str, str], worker: Child) -> tuple[str, tuple[int, int]]:
    """Address and size of the page with the shares of an endpoint, while its second model has 10 percent.

    Raises:
        ServiceError: It does not come so far.
    """
    from flows.rollout.shown import TABLE

    api = environment["PREFECT_API_URL"]
    run = (BIN / "prefect", "deployment", "run", ROLLOUT, "-p")
    call(environment, *run, f"model={MODEL}:1", "-p", "pause_seconds=0", "--watch")
    call(environment, *run, f"model={MODEL}:2", "-p", "pause_seconds=3600")

    wanted = {"sort": "CREATED_DESC", "artifacts": {"key": {"any_": [TABLE]}}}

    def tables() -> list[str]:
        return [each["id"] for each in asked(api, "artifacts", wanted) if '"share %": 10,' in each["data"]]

    if not wait_until(lambda: bool(tables()), [worker], ROLLOUT_SECONDS):
        raise ServiceError(f"The rollout did not come to its first share within {ROLLOUT_SECONDS:g} s.")
    return f"{api.removesuffix('/api')}/artifacts/artifact/{tables()[0]}", (1280, 520)


@contextmanager
def ended_endpoints(home: Path) -> Generator[None]:
    """End what looks after the endpoints of a local state, when the block is left."""
    from flows.serving.local.lifetime import end_supervisor

    try:
        yield
    finally:
        end_supervisor(home)


@contextmanager
def served(home: Path) -> Generator[tuple[Mapping[str, str], str]]:
    """Run `make ui` within the block. Yields the environment of its users, and the address of MLflow."""
    ours = ("PREFECT_", "AZUREML_", "TANDEM_", "MLFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    settings = Settings.from_environment({"TANDEM_HOME": str(home / "state")})
    temporary = home / "tmp"  # what a worker that is ended leaves behind goes with the rest
    temporary.mkdir()
    places = {"TANDEM_HOME": settings.home, "PREFECT_HOME": settings.prefect_home, "TMPDIR": temporary}
    environment = {**kept, **{name: str(folder) for name, folder in places.items()}}
    prefect, mlflow = free_port(), free_port()
    ports = ("--prefect-port", str(prefect), "--mlflow-port", str(mlflow))
    command = (BIN / "tandem", "ui", *ports)
    with Child("`make ui`", command, environment, folder=PROJECT, grace_seconds=20) as server:
        if not wait_until((settings.prefect_home / SERVED).exists, [server], START_SECONDS):
            raise ServiceError(f"`make ui` did not start within {START_SECONDS:g} s.")
        api = f"http://127.0.0.1:{prefect}/api"
        yield {**environment, "PREFECT_API_URL": api, "PREFECT_WORKER_QUERY_SECONDS": "1"}, f"http://127.0.0.1:{mlflow}"


def call(environment: Mapping[str, str], *words: str | Path, may_fail: bool = False) -> None:
    """Run a command to its end.

    Raises:
        ServiceError: It failed, and may not.
    """
    done = subprocess.run(
        [str(word) for word in words], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode and not may_fail:
        said = (done.stdout + done.stderr).strip()
        raise ServiceError(f"{' '.join(map(str, words))} ended with exit code {done.returncode}:\n{said}")


def _flow_runs(api: str) -> list[dict[str, Any]]:
    """The flow runs that have ended, the newest first."""
    ended = {"state": {"type": {"any_": ["COMPLETED", "FAILED"]}}}
    return asked(api, "flow_runs", {"sort": "START_TIME_DESC", "flow_runs": ended})


def _artifacts(api: str, flow_run_id: str) -> list[dict[str, Any]]:
    return asked(api, "artifacts", {"artifacts": {"flow_run_id": {"any_": [flow_run_id]}}})


def asked(api: str, kind: str, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a Prefect API has of a kind, such as ``flow_runs``, by its ``filter`` call."""
    import httpx

    answer = httpx.post(f"{api}/{kind}/filter", json=wanted, timeout=60, trust_env=False)
    answer.raise_for_status()
    return answer.json()


if __name__ == "__main__":
    sys.exit(main())
