"""Which steps log to MLflow over HTTP, and what tells them to."""

from pathlib import Path

import pytest

from flows.engines.local.host.tracking_server import brings_its_own_mlflow, tracking_variables
from flows.engines.plan.interpreter import Interpreter

OURS = Interpreter("3.11.9", {"mlflow": "3.15.0", "mlflow-skinny": "3.15.0"})
OLD = Interpreter("3.8.1", {"mlflow": "1.30.0"})
NONE = Interpreter("3.8.1", {})


@pytest.mark.parametrize(
    ("interpreter", "installs", "brings"),
    [(OURS, False, False), (OURS, True, True), (OLD, False, True), (NONE, False, False), (NONE, True, True)],
)
def test_a_step_may_bring_an_mlflow_of_its_own(
    tmp_path: Path, interpreter: Interpreter, installs: bool, brings: bool
) -> None:
    (tmp_path / "train.py").write_text("import mlflow\n")
    assert brings_its_own_mlflow("python train.py", tmp_path, installs, interpreter, OURS) is brings


def test_a_step_that_does_not_log_needs_no_server(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import six\n")
    assert not brings_its_own_mlflow("pip install six && python train.py", tmp_path, True, OURS, OURS)


def test_the_server_is_asked_past_any_proxy() -> None:
    assert tracking_variables("http://127.0.0.1:5", {"no_proxy": "localhost"}) == {
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:5",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "localhost,127.0.0.1",
    }
