"""A team's MLflow server that is killed while a pipeline trains, and comes back."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.mlflow_store.servers import MlflowServer
from tests.terminal import PIPELINE, PROJECT, Terminal, reused

MODEL = "of-a-killed-server"
FLAGS = ("--model_name", MODEL)
STEPS = {"prep", "profile", "train", "evaluate"}


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["prep | started", "train | started", "evaluate | started"])
def test_server_that_is_killed_while_a_pipeline_trains_costs_no_step_and_registers_one_version(
    tmp_path: Path, prefect_api: str, moment: str
) -> None:
    terminal = Terminal(tmp_path, prefect_api)
    with MlflowServer(tmp_path / "server") as server:
        terminal.environment |= server.environment
        words = terminal.words(PIPELINE, FLAGS)
        with subprocess.Popen(
            words, cwd=PROJECT, env=terminal.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as command:
            assert command.stdout is not None
            said = ""
            while moment not in said:
                line = command.stdout.readline()
                assert line, said
                said += line
            server.kill()
            said += command.stdout.read()
        finished = [name for name in STEPS if f"{name} | completed" in said]
        assert command.returncode != 0 and "Traceback" not in said, said
        assert f"{server.url} does not answer" in said

        server.start()
        summary = terminal.summary(PIPELINE, *FLAGS)

        assert (summary["verdict"], summary["model"]["version"]) == ("Promoted", 1), json.dumps(summary)
        assert set(finished) <= set(reused(summary))
        (version,) = server.client().search_model_versions(f"name = '{MODEL}'")
        assert server.client().get_model_version_by_alias(MODEL, "champion").version == version.version
        experiments = [each.experiment_id for each in server.client().search_experiments()]
        assert not server.client().search_runs(experiments, "attributes.status = 'RUNNING'")
