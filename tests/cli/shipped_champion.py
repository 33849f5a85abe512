"""The shipped model as the champion of a new local state."""

from pathlib import Path

from flows.engines.local.host.one_call import ask_mlflow
from flows.settings import Settings
from flows.tags import decision_tags


def make_champion(home: Path, model: Path) -> None:
    """Make the folder of a local state, with the model as version 1 of ``diabetes-predict`` and its champion."""
    home.mkdir()
    candidate = {
        "model_name": "diabetes-predict",
        "model": str(model),
        "run_id": "0" * 32,
        "description": "",
        "idempotency_tags": {"made": "here"},
        "tags": {},
    }
    tags = dict(decision_tags("a-flow-run", None))
    settings = Settings.from_environment({"TANDEM_HOME": str(home)})
    ask_mlflow(settings, "promote", candidate=candidate, compared_with=None, decision_tags=tags)
