"""A person of the team trains on their own machine, with both servers on PostgreSQL."""

import subprocess
import sys
from pathlib import Path

from tests.team.office import Office
from tests.team.servers import Team, own_variables
from tests.terminal import PIPELINE, PROJECT


def test_pipeline_of_a_person_is_promoted_and_then_rejected_on_the_servers(
    people: Office, team: Team, tmp_path: Path
) -> None:
    variables = {**own_variables(tmp_path), **team.variables, "TANDEM_HOME": str(tmp_path / "state")}
    words = [sys.executable, str(PIPELINE), "--model_name", "of-a-person", "--evaluation_output", str(tmp_path / "out")]
    for state in ("Promoted", "Rejected"):
        done = subprocess.run(words, cwd=PROJECT, env=variables, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        assert state in done.stdout
        assert team.credential.partition(":")[2] not in done.stdout + done.stderr
    assert people.champion("of-a-person")["version"] == "1"
    states = {run["state"]["name"] for run in people.api.post("/flow_runs/filter", json={}).json()}
    assert {"Promoted", "Rejected"} <= states
