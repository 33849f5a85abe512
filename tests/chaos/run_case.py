"""Run one case: begin the commands, let befall the first what the plan says, start again what did not end well."""

import contextlib
import fcntl
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.facts import Facts, Job, Ran, Version
from tests.chaos.moments import MOMENTS
from tests.chaos.observe import (
    differences,
    drafts,
    litter,
    local_versions,
    open_records,
    outside,
    rows,
    texts,
)
from tests.chaos.plan import AT_RANDOM, HELD, KILL, NONE, SCORES, STOP, TOGETHER, Case
from tests.chaos.processes import holds_within, nothing_left, of_target, send
from tests.chaos.serving import Serving
from tests.chaos.small_pipeline import expected_total
from tests.chaos.templates import MODEL, Templates
from tests.chaos.workspace import REQUESTS, AzureMl, Held
from tests.chaos.world import PROJECT, Command, World

STOP_SECONDS = 2.0  # a stopped process goes on after so long
EARLY_SECONDS = 2.0
AFTER_SECONDS = 0.25  # a moment is at most so long ago when the signal comes
GATHER_SECONDS = 90.0
_AZURE_SECONDS = 20.0  # the usual time of a run on the loopback service
_REGISTER = Held("PUT", r"/models/.*/versions/")


@dataclass(slots=True)
class Bench:
    """What the cases share: prepared states, a folder for theirs, and one loopback service, made when it is needed."""

    templates: Templates
    folder: Path
    services: list[AzureMl] = field(default_factory=list[AzureMl])

    def azure(self) -> AzureMl:
        """The loopback service."""
        if not self.services:
            self.services.append(AzureMl(self.folder / f"azure-ml-{time.time_ns()}"))
        return self.services[0]

    def close(self) -> None:
        """End the service."""
        for service in self.services:
            service.stop()


def run_case(case: Case, bench: Bench, folder: Path) -> Facts:
    """Run a case in a folder, which is to be new."""
    azure = bench.azure() if case.scenario.engine == "azureml" else None
    helpers = [service.pid for service in bench.services]
    label = MODEL if azure is None else f"chaos-{case.seed}-{case.number}-{time.time_ns() % 10**9}"
    world = World(folder, label, azure and azure.environment, helpers)
    bench.templates.copy(case.scenario.state, world)
    with nothing_left(helpers):
        return _run(case, world, azure, bench.templates.seconds)


def _run(case: Case, world: World, azure: AzureMl | None, usual: dict[str, float]) -> Facts:
    serving = Serving(world) if case.scenario.served else None
    if serving is not None:
        serving.start()
    engine = case.scenario.engine
    before, untouched = _versions(world, azure), outside(world.folder, PROJECT)
    contract = len(azure.violations()) if azure else 0
    with _befalling(case, world, azure, serving, usual) as befall:
        commands = [
            world.start(case.scenario.program, rate, _number(case, index), engine=engine, output=str(index))
            for index, rate in enumerate(case.rates)
        ]
        hit = befall(commands)
    cleaning = _clean(world) if case.scenario.name.startswith("cleaning") else None
    for command in commands:
        command.wait()
    orphans = world.left_running()
    between = _versions(world, azure)
    first = [_ran(index, command) for index, command in enumerate(commands)]
    # What did not end well is started again; and if all did, the first: a run after which nothing may be left open.
    wanted = [ran.index for ran in first if not ran.succeeded] or [0]
    again: list[Ran] = []
    records: list[str] = []
    if serving is not None:
        serving.stop()
        records += serving.open_after_start()
    for index in wanted:
        command = world.again(commands[index])
        command.wait()
        again.append(_ran(index, command))
    orphans += world.left_running()
    if serving is not None:
        serving.stop()
    jobs = azure.settled(world.label) if azure else []
    return Facts(
        case=case,
        first=tuple(first),
        again=tuple(again),
        hit=hit,
        before=tuple(before),
        between=tuple(between),
        after=tuple(_versions(world, azure)),
        orphans=tuple(orphans),
        open_records=(*records, *open_records(world.state)),
        litter=(*litter(world.state, *_temporary(case, world)), *drafts(world.cache)),
        outside=tuple(differences(untouched, outside(world.folder, PROJECT))),
        jobs=tuple(Job(job["name"], job["status"]) for job in jobs),
        contract=tuple(azure.violations()[contract:]) if azure else (),
        cleaning=cleaning,
    )


def _temporary(case: Case, world: World) -> tuple[Path, ...]:
    """The folder of temporary files, in which only a process that is killed may leave anything."""
    return () if case.signal == KILL else (world.temporary,)


def _number(case: Case, index: int) -> int:
    """The input of the small pipeline: the same for commands that ask for the same, and new in every case."""
    return case.seed * 1_000_000 + case.number * 10 + case.rates.index(case.rates[index]) + 1


def _versions(world: World, azure: AzureMl | None) -> list[Version]:
    if azure is None:
        return local_versions(world.state, world.label)
    return [Version(number, tags, "tandem.alias" in tags) for number, tags in azure.models(world.label)]


def _ran(index: int, command: Command) -> Ran:
    answer = command.answer
    delivered = expected = None
    if command.program == "steps":
        delivered = texts(command.output / "outputs" / "total")
        expected = expected_total(command.number)
    elif answer:
        delivered = {"roc_auc": f"{answer['metrics']['challenger']['roc_auc']:.9f}"}
        expected = {"roc_auc": f"{SCORES[command.rate]:.9f}"}
    return Ran(
        index=index,
        program=command.program,
        rate=command.rate,
        code=command.process.returncode,
        said=command.stderr,
        verdict=answer.get("verdict") or answer.get("status"),
        version=(answer.get("model") or {}).get("version"),
        delivered=delivered,
        expected=expected,
        hung=command.hung,
        seconds=command.seconds,
    )


def _clean(world: World) -> tuple[int, str]:
    done = world.run_other("state", "clean")
    return done.returncode, done.stdout + done.stderr


# What befalls the first command


Befall = Callable[[Sequence[Command]], bool]


@contextlib.contextmanager
def _befalling(
    case: Case, world: World, azure: AzureMl | None, serving: Serving | None, usual: dict[str, float]
) -> Generator[Befall]:
    """What is to befall the commands once they are started; what has to be set before they are is set already."""
    request = REQUESTS.get(case.moment)

    def when(holds: Callable[[], bool], command: Command) -> bool:
        return _when(holds, command, case, [] if serving is None else serving.pids)

    if azure is not None and request is not None:
        azure.hold(request)
        yield lambda commands: when(lambda: azure.is_held() > 0, commands[0])
        azure.release()
    elif azure is not None and case.moment == HELD:
        azure.hold(_REGISTER, times=len(case.rates))
        yield lambda commands: _gathered(lambda: azure.is_held(), commands)
        azure.release()
    elif case.moment == HELD:
        yield lambda commands: _hold_registry(world, commands)
    elif case.moment == TOGETHER:
        yield lambda commands: True
    elif case.moment in MOMENTS:
        yield lambda commands: when(MOMENTS[case.moment](world, commands[0]), commands[0])
    else:
        whole = _AZURE_SECONDS if azure is not None else usual.get(case.scenario.program, usual["steps"])
        seconds = (whole if case.moment == AT_RANDOM else EARLY_SECONDS) * case.share
        end = time.monotonic() + seconds
        yield lambda commands: when(lambda: time.monotonic() >= end, commands[0])


def _when(holds: Callable[[], bool], command: Command, case: Case, servers: list[int]) -> bool:
    """Once a moment has come, send the signal; whether it came before the command ended."""
    holds_within(lambda: command.is_over or holds(), GATHER_SECONDS, 0.001)
    if case.moment not in (AT_RANDOM, "early") and case.share:
        time.sleep(AFTER_SECONDS * case.share)
    if command.is_over:
        return False
    if case.signal == NONE:
        return True
    serving = {"ui": servers[:1], "servers": servers}
    targets = serving[case.target] if case.target in serving else of_target(command.pid, case.target)
    if not targets:
        return False
    send(targets, case.signal)
    if case.signal == STOP:
        time.sleep(STOP_SECONDS)
        send(targets, "SIGCONT")
    return True


def _hold_registry(world: World, commands: Sequence[Command]) -> bool:
    """Hold the lock under which models are registered until all commands have read the evaluation, then let it go.

    All have then looked for a champion before any of them has made one.
    """
    made = "select count(*) from runs"
    already = rows(world.state / "mlflow.db", made)[0][0]
    # A command opens the store under the same lock, before it makes its job's run.
    begun = holds_within(
        lambda: (
            any(command.is_over for command in commands)
            or rows(world.state / "mlflow.db", made)[0][0] >= already + len(commands)
        ),
        GATHER_SECONDS,
    )
    with (world.state / "mlflow.db.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        gathered = _gathered(lambda: sum(1 for one in commands if any(one.output.glob("**/metrics.json"))), commands)
        time.sleep(1.0)  # for the look at the champion, which comes next
    return begun and gathered


def _gathered(count: Callable[[], int], commands: Sequence[Command]) -> bool:
    """Wait until so many have come as there are commands that have not ended; whether all came."""

    def all_are_there() -> bool:
        return count() >= sum(1 for command in commands if not command.is_over)

    holds_within(all_are_there, GATHER_SECONDS)
    return count() >= len(commands)
