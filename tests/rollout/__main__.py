"""``python -m tests.rollout``: rollouts and ways back at both places, under a constant rate of requests, in figures.

Each line is one command. The code is 1 if a request failed, or if fewer than 20 a second were sent.
"""

import tempfile
from pathlib import Path

from tests.azure_ml_service.service import Service
from tests.bench.measure import table
from tests.rollout.load import Load
from tests.rollout.places import Commands, Place, ThisMachine, Workspace, register_all
from tests.rollout.small_models import GOOD, GOOD_TOO, MODEL, REQUEST

LEAST_RATE = 20.0
REASON = ("--reason", "to measure it")
COMMANDS = (
    ("rollout in three steps", ("deploy", f"{MODEL}:{GOOD_TOO}")),
    ("promote and deploy", ("promote", f"{MODEL}:{GOOD}", "--deploy", *REASON)),
    ("promote the other", ("promote", f"{MODEL}:{GOOD_TOO}", "--deploy", *REASON)),
    ("rollback of the model", ("rollback", MODEL, "--deploy", *REASON)),
)


def measured(place: Place) -> list[tuple[str, Load]]:
    """Run the commands, each under load."""
    tandem, loads = Commands(place), list[tuple[str, Load]]()
    done = tandem.deploy(GOOD)
    for what, words in COMMANDS:
        if done.code:
            raise SystemExit(f"{place.name}: {done.err}")
        with Load(place.address(), REQUEST) as load:
            done = tandem.run(*words)
        loads.append((what, load))
    if done.code:
        raise SystemExit(f"{place.name}: {done.err}")
    return loads


def main() -> int:
    """Measure at both places, and print a table."""
    found: list[tuple[str, str, Load]] = []
    with tempfile.TemporaryDirectory(prefix="tandem-rollouts-") as name:
        folder = Path(name)
        register_all(folder / "registered")
        service = Service(folder / "service").start(with_mlflow=False)
        try:
            for place in (
                ThisMachine(folder / "local", None, folder / "registered"),
                Workspace(folder / "azureml", None, service),
            ):
                try:
                    found += [(place.name, what, load) for what, load in measured(place)]
                finally:
                    place.close()
        finally:
            service.stop()
    rows = [[place, what, *load.figures()] for place, what, load in found]
    print(table(["place", "command", "requests", "seconds", "a second", "p99 ms", "failed"], 2, rows))
    return int(any(load.failed or load.rate < LEAST_RATE for _, _, load in found))


if __name__ == "__main__":
    raise SystemExit(main())
