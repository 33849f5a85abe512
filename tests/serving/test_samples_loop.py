"""The whole loop by the commands that a person types: serve, collect, see drift, label, train, decide, roll out."""

import csv
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from columns import FEATURES
from flows.serving.local.lifetime import end_supervisor
from tests.terminal import PIPELINE, PROJECT, ROWS, Terminal
from tests.waiting import until

TANDEM = Path(sys.executable).with_name("tandem")
MODEL = ENDPOINT = "diabetes-predict"
ASKED = 500  # rows


class Clinic:
    """Who serves the model and asks it."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def tandem(self, *words: str) -> dict[str, Any]:
        """The result of a command that must succeed."""
        return json.loads(self.typed(*words, "--json"))

    def typed(self, *words: str) -> str:
        """What a command that must succeed prints."""
        done = subprocess.run(
            [str(TANDEM), *words],
            cwd=PROJECT,
            env=self._terminal.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, rows: pd.DataFrame) -> set[int]:
        """Ask for the rows, in requests of 50; the versions that answered."""
        (endpoint,) = json.loads(self.typed("endpoints", "--json"))
        key = self.typed("endpoints", "key", ENDPOINT).strip()
        versions: set[int] = set()
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
            for start in range(0, len(rows), 50):
                part = rows[start : start + 50][["PatientID", *FEATURES]]
                body = {"input_data": {"columns": list(part.columns), "data": part.to_numpy().tolist()}}
                answer = client.post(endpoint["scoring_uri"], json=body)
                assert answer.status_code == 200, answer.text
                versions.add(answer.json()["version"])
        return versions

    def register_samples(self, rows: int, *since: str) -> dict[str, Any]:
        """Register what was asked, once all of it is kept: the collector writes it after the answer."""
        until(lambda: self.tandem("endpoints", "samples", ENDPOINT, *since)["answered"] >= rows)
        return self.tandem("endpoints", "samples", ENDPOINT, "--register", "asked", *since)


def of_another_clinic() -> pd.DataFrame:
    """Rows of heavier patients, whose labels have another reason than in the shipped rows."""
    rows = pd.read_csv(ROWS)
    heavier = rows.assign(BMI=rows["BMI"] + 15)
    return heavier.assign(Diabetic=(heavier["BMI"] > heavier["BMI"].median()).astype(int))


@pytest.mark.slow
def test_drift_in_what_is_asked_leads_to_a_better_model_that_is_served(tmp_path: Path, prefect_api: str) -> None:
    terminal = Terminal(tmp_path, prefect_api)
    clinic = Clinic(terminal)
    shutil.copytree(PROJECT / "serving", tmp_path / "serving", ignore=shutil.ignore_patterns("__pycache__"))
    deployment = tmp_path / "serving" / "deployment.yml"
    collector = {"collections": {name: {"enabled": "True"} for name in ("model_inputs", "model_outputs")}}
    deployment.write_text(f"{deployment.read_text()}data_collector: {json.dumps(collector)}\n")
    roll_out = ("deploy", MODEL, "--deployment", str(deployment), "--steps", "100", "--pause-seconds", "0")
    roll_out = (*roll_out, "--keep-seconds", "0", "--max-p99-seconds", "60")
    first = terminal.summary(PIPELINE)
    assert first["verdict"] == "Promoted", first
    try:
        clinic.tandem(*roll_out)
        everyone = of_another_clinic()
        asked = everyone.sample(ASKED, random_state=1)
        assert clinic.ask(asked) == {1}

        samples = clinic.register_samples(ASKED)
        assert (samples["data_asset"], samples["rows"], samples["answered"]) == ("asked:1", ASKED, ASKED)
        drift = clinic.tandem("watch", "asked")
        assert drift["verdict"] == "DriftUntrainable" and "BMI" in drift["message"]
        assert drift["message"].endswith("register them: tandem data register FILE --name diabetes-diagnostics")

        labelled = tmp_path / "labelled.csv"
        everyone.to_csv(labelled, index=False)
        assert clinic.tandem("data", "register", str(labelled))["data_asset"] == "diabetes-diagnostics:2"
        second = terminal.summary(PIPELINE)
        assert second["verdict"] == "Promoted", second
        clinic.tandem(*roll_out)
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        assert clinic.ask(everyone.sample(ASKED, random_state=2)) == {2}

        later = clinic.register_samples(ASKED, "--since", moment)
        assert later["data_asset"] == "asked:2"
        assert clinic.tandem("watch", "asked")["verdict"] == "NoDrift"
        known = (tmp_path / "state").rglob(f"{ENDPOINT}.csv")
        for file in known:
            with file.open(newline="") as lines:
                assert "PatientID" not in next(csv.reader(lines))
    finally:
        clinic.typed("endpoints", "delete", ENDPOINT, "--yes")
        end_supervisor(tmp_path / "state")
