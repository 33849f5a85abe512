"""How fast ``tandem score`` is, beside plain pandas with ``predict_proba``, and how much memory it takes.

Both score the same Parquet file with the shipped classifier, trained here, in processes of their own, and write
Parquet. Plain pandas reads the whole file, and writes what ``tandem score`` writes. They take turns, so that what else
the machine does meets both alike. The rate counts from loading MLflow and the model to the written file, for both, and
not the start of Python and Prefect. Memory is the largest proportional set size of a command
and all that it has started, looked at five times a second.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from make_rows import make_rows
from measure import table
from shipped import memory_mib, train

from flows.engines.local.host.one_call import ask_mlflow
from flows.settings import Settings
from flows.tags import decision_tags

PROJECT = Path(__file__).resolve().parents[2]
PLAIN = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
began = time.perf_counter()
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])._model_impl
rows = pandas.read_parquet(sys.argv[2])
probabilities = model.classifier.predict_proba(rows[model.features])[:, 1]
scores = rows.drop(columns=model.features)
scores["label"] = (probabilities >= model.threshold).astype("int64")
scores["probability"] = probabilities
scores["model"], scores["version"] = "diabetes-predict", 1
scores.to_parquet(sys.argv[3], compression="zstd")
print(json.dumps({"seconds": time.perf_counter() - began}))
"""


@dataclass
class Command:
    """One way to score: the command, and what was measured of it."""

    name: str
    words: list[str]
    environment: dict[str, str]
    seconds: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Run it once."""
        began, peak = time.perf_counter(), 0.0
        with (
            tempfile.TemporaryFile("w+") as out,
            subprocess.Popen(self.words, env=self.environment, cwd=PROJECT, stdout=out, stderr=subprocess.PIPE) as run,
        ):
            while run.poll() is None:
                peak = max(peak, memory_mib(run.pid))
                time.sleep(0.2)
            assert run.stderr is not None
            if run.returncode:
                raise SystemExit(f"{self.name}: {run.stderr.read().decode()[-2000:]}")
            out.seek(0)
            self.seconds.append(json.load(out)["seconds"])
        self.whole.append(time.perf_counter() - began)
        self.mib.append(peak)


def register(home: Path, model: Path) -> None:
    """Make a model the champion of a local state."""
    home.mkdir()
    candidate = {
        "model_name": "diabetes-predict",
        "model": str(model),
        "run_id": "0" * 32,
        "description": "",
        "idempotency_tags": {"made": "here"},
        "tags": {},
    }
    settings, tags = Settings.from_environment({"TANDEM_HOME": str(home)}), dict(decision_tags("bench", None))
    ask_mlflow(settings, "promote", candidate=candidate, compared_with=None, decision_tags=tags)


def run(rows: int, rounds: int, most: int) -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as name:
        folder = Path(name)
        model, home, data = folder / "model", folder / "home", folder / "rows.parquet"
        train(model)
        register(home, model)
        make_rows(rows, data)
        environment = {**os.environ, "TANDEM_HOME": str(home), "MLFLOW_DISABLE_TELEMETRY": "true"}
        ours, theirs = folder / "ours.parquet", folder / "theirs.parquet"

        def tandem(source: Path) -> list[str]:
            return [sys.executable, "-m", "flows", "score", str(source), "--output", str(ours), "--json"]

        score = Command("tandem score", tandem(data), environment)
        plain = Command("pandas", [sys.executable, "-c", PLAIN, str(model), str(data), str(theirs)], environment)
        for number in range(rounds):
            for each in (score, plain) if number % 2 else (plain, score):
                ours.unlink(missing_ok=True)  # else nothing would be scored
                each.run()
        lines = [
            ["rows/s", *(f"{rows / median(each.seconds):,.0f}" for each in (score, plain))],
            ["whole command, s", *(f"{median(each.whole):.1f}" for each in (score, plain))],
            ["memory, MiB", *(f"{max(each.mib):,.0f}" for each in (score, plain))],
        ]
        print(table([f"{rows:,} rows", score.name, plain.name], 1, lines))
        print(f"\nrows/s of tandem score to those of pandas: {median(plain.seconds) / median(score.seconds):.2f}")
        if most:
            ours.unlink(missing_ok=True)
            data.unlink()
            large = folder / "large.parquet"
            make_rows(most, large)
            whole = Command("tandem score", tandem(large), environment)
            whole.run()
            told = f"{most / whole.seconds[0]:,.0f} rows/s, at most {whole.mib[0]:,.0f} MiB (aim: under 2,048)"
            print(f"\n{most:,} rows: {whole.seconds[0]:.0f} s, {told}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=10_000_000, help="rows of the last one, for its memory; 0 for none")
    asked = parser.parse_args()
    run(asked.rows, asked.rounds, asked.most)
