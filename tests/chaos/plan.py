"""The plan of cases: a seed and a number say what is done in a case, and nothing else does. Pure."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

EngineName: TypeAlias = Literal["local", "azureml"]
Program: TypeAlias = Literal["steps", "pipeline", "job"]

# Regularization rates and the ROC AUC of the shipped pipeline's model on the shipped rows, the better the earlier. The
# second beats the third by 0.0009, which is less than the gate demands.
SCORES: Mapping[str, float] = {
    "0.01": 0.8229457364341085,
    "10": 0.8210852713178295,
    "30": 0.82015503875969,
    "100": 0.8145736434108527,
    "300": 0.8094573643410853,
}
RATES = ("0.01", "10", "30", "100")
CHAMPION_RATE = "300"  # of the champion that is there before a challenge
MARGIN = 0.001  # of the gate, by default

AT_RANDOM = "at a random time"
TOGETHER = "at once"  # not disturbed, but for the other commands
HELD = "all at the registry at once"
KILL, TERM, INT, STOP, NONE = "SIGKILL", "SIGTERM", "SIGINT", "SIGSTOP", "nothing"

_PROCESSES = ("command", "command", "group", "host", "worker", "server", "step", "all")
_START = ("the host runs", "the server runs", "the worker runs", "the flow run is recorded", "the MLflow run is made")
_STEPS = ("a step runs", "an output is half written", "a step is recorded", "outputs are delivered")
_REGISTER = (
    "the model is copied",
    "the version is made",
    "the champion is named",
    "the report is kept",
    "the evaluation is fetched",
)
_REQUESTS = (
    "the first token is asked for",
    "the data is looked for",
    "the champion is looked for",
    "the job is looked for",
    "a component is made",
    "the job comes",
    "the job is taken",
    "the job is looked at",
    "the job runs",
    "the evaluation is downloaded",
)
_REGISTER_REQUESTS = (
    "the version comes",
    "the version is there",
    "the champion's tag comes",
    "the champion's tag is there",
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of case: what runs on which state, how many at once, and what may befall it when.

    ``served``: ``tandem ui`` runs on the same state.
    """

    name: str
    engine: EngineName
    program: Program
    state: str
    moments: tuple[str, ...]
    targets: tuple[str, ...] = ("command",)
    signals: tuple[str, ...] = (KILL,)
    at_once: tuple[int, ...] = (1,)
    weight: int = 1
    served: bool = False


SCENARIOS = (
    Scenario(
        "steps are killed",
        "local",
        "steps",
        "migrated",
        (AT_RANDOM, AT_RANDOM, AT_RANDOM, *_START, *_STEPS, *_STEPS),
        _PROCESSES,
        (KILL, KILL, KILL, TERM, INT, STOP),
        weight=4,
    ),
    Scenario(
        "the first start is killed",
        "local",
        "steps",
        "empty",
        (AT_RANDOM, AT_RANDOM, "Prefect's database is begun", "MLflow's database is begun", *_START),
        ("command", "server", "worker", "group", "all"),
        (KILL, KILL, TERM, INT),
        weight=2,
    ),
    Scenario("first starts at once", "local", "steps", "empty", (TOGETHER,), signals=(NONE,), at_once=(2, 2, 3, 4)),
    Scenario(
        "first starts at once, one is killed",
        "local",
        "steps",
        "empty",
        (AT_RANDOM, *_START),
        ("command", "server", "worker", "all"),
        (KILL, TERM, INT),
        (2, 2, 3),
    ),
    Scenario("an early Ctrl+C", "local", "steps", "migrated", ("early",), ("command", "group"), (INT, INT, TERM)),
    Scenario(
        "a promotion is killed",
        "local",
        "pipeline",
        "trained",
        (AT_RANDOM, *_REGISTER),
        ("command", "command", "worker", "server", "group", "all"),
        (KILL, KILL, KILL, TERM, INT, STOP),
        weight=3,
    ),
    Scenario(
        "a challenge is killed",
        "local",
        "pipeline",
        "champion",
        (AT_RANDOM, *_REGISTER),
        ("command", "worker", "group", "all"),
        (KILL, KILL, TERM, INT),
        weight=2,
    ),
    Scenario(
        "a training job is killed",
        "local",
        "job",
        "migrated",
        (AT_RANDOM, "a step runs", *_REGISTER),
        ("command", "worker", "all"),
        (KILL, KILL, TERM, INT),
        weight=2,
    ),
    Scenario(
        "promotions at once", "local", "pipeline", "trained", (TOGETHER, HELD), signals=(NONE,), at_once=(2, 2, 3, 4)
    ),
    Scenario("challenges at once", "local", "pipeline", "champion", (TOGETHER, HELD), signals=(NONE,), at_once=(2, 3)),
    Scenario(
        "promotions at once, one is killed",
        "local",
        "pipeline",
        "trained",
        (AT_RANDOM, *_REGISTER),
        ("command", "worker", "all"),
        (KILL, KILL, TERM, INT),
        (2, 2, 3),
    ),
    Scenario(
        "steps are killed while the state is served",
        "local",
        "steps",
        "migrated",
        (AT_RANDOM, "the flow run is recorded", *_STEPS),
        ("command", "command", "all", "ui", "servers"),
        (KILL, KILL, KILL, INT),
        served=True,
    ),
    Scenario("cleaning while it runs", "local", "steps", "migrated", ("a step runs",), signals=(NONE,)),
    Scenario(
        "a job on Azure ML is killed",
        "azureml",
        "pipeline",
        "migrated",
        (AT_RANDOM, *_REQUESTS, *_REGISTER_REQUESTS),
        ("command", "command", "group", "server", "all"),
        (KILL, KILL, KILL, TERM, INT, STOP),
        weight=3,
    ),
    Scenario(
        "steps on Azure ML are killed",
        "azureml",
        "steps",
        "migrated",
        (AT_RANDOM, *_REQUESTS[3:9]),
        ("command", "group", "server", "all"),
        (KILL, KILL, TERM, INT),
    ),
    Scenario(
        "promotions on Azure ML at once",
        "azureml",
        "pipeline",
        "migrated",
        (TOGETHER, HELD),
        signals=(NONE,),
        at_once=(2, 2, 3),
    ),
    Scenario(
        "promotions on Azure ML at once, one is killed",
        "azureml",
        "pipeline",
        "migrated",
        (*_REQUESTS[5:], *_REGISTER_REQUESTS),
        ("command", "all"),
        (KILL, KILL, TERM, INT),
        (2,),
    ),
)


@dataclass(frozen=True, slots=True)
class Case:
    """What is done: the commands, and what befalls the first of them.

    Attributes:
        share: Of the usual time of a command, at a random time; else of a quarter of a second after the moment.
        rates: The regularization rate of each command; of the small pipeline only their number counts.
    """

    seed: int
    number: int
    scenario: Scenario
    moment: str
    share: float
    signal: str
    target: str
    rates: tuple[str, ...]

    @property
    def replay(self) -> str:
        """The command that does the same again."""
        return f"make chaos CASE={self.number} SEED={self.seed}"

    def __str__(self) -> str:
        many = f" {len(self.rates)} ({', '.join(self.rates)})" if len(self.rates) > 1 else ""
        befalls = "" if self.signal == NONE else f"; {self.signal} to {self.target}"
        return f"#{self.number} {self.scenario.engine}: {self.scenario.name}{many}; {self.moment}{befalls}"


def case(seed: int, number: int) -> Case:
    """The case with this number. Scenarios come in turn, by their weight; all else is drawn."""
    turns = [scenario for scenario in SCENARIOS for _ in range(scenario.weight)]
    random.Random(seed).shuffle(turns)
    scenario = turns[number % len(turns)]
    draw = random.Random(f"{seed}/{number}")
    count = draw.choice(scenario.at_once)
    same = count > 1 and draw.random() < 0.25
    rates = (draw.choice(RATES),) * count if same or count == 1 else tuple(draw.sample(RATES, count))
    moment, target = draw.choice(scenario.moments), draw.choice(scenario.targets)
    share = 0.0 if moment not in (AT_RANDOM, "early") and draw.random() < 0.5 else draw.random()
    sent = draw.choice(scenario.signals)
    if sent == INT and target not in ("command", "group"):
        target = "group"  # all else is in sessions of its own, where Ctrl+C does not come
    return Case(seed, number, scenario, moment, share, sent, target, rates)


def cases(seed: int, numbers: Iterable[int], engine: str = "both") -> list[Case]:
    """The cases with these numbers that are of this engine."""
    return [found for number in numbers if engine in ("both", (found := case(seed, number)).scenario.engine)]
