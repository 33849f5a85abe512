"""What must hold after every case: small functions of the facts, each of which says what is wrong, or nothing. Pure."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from tests.chaos.facts import SAME_MODEL, Facts, Ran, Version
from tests.chaos.plan import MARGIN, NONE, SCORES

Check = Callable[[Facts], Iterable[str]]

_ROUNDING = 2e-6  # scores in tags have six decimals
# What a person should never see. A step's own words come behind its name: `12:00:00  train | Traceback`.
_TROUBLE = re.compile(
    r"Traceback|Exception ignored|never retrieved|never awaited|Error in (?:atexit|sys\.)|IntegrityError|sqlalche\.me"
    r"|Fatal Python error|Internal Server Error|Segmentation fault|SystemExit|resource_tracker"
)
_STEP_LINE = re.compile(r"^\d\d:\d\d:\d\d  \S+ \| ")


def no_hang(facts: Facts) -> Iterable[str]:
    """Every command ends."""
    return [f"command {ran.index} did not end within {ran.seconds:.0f} s" for ran in facts.runs if ran.hung]


def no_traceback(facts: Facts) -> Iterable[str]:
    """No command shows the inside of a program to a person."""
    for ran in facts.runs:
        lines = [line for line in ran.said.splitlines() if not _STEP_LINE.match(line)]
        found = [line.strip() for line in lines if _TROUBLE.search(line)]
        if found:
            yield f"command {ran.index} said {len(found)} times what only a developer reads: {found[0][:160]}"


def no_orphan(facts: Facts) -> Iterable[str]:
    """No process outlives the command that has started it."""
    return [f"still runs: {process}" for process in facts.orphans]


def no_open_record(facts: Facts) -> Iterable[str]:
    """After the next command, no record says that something runs which does not."""
    kinds = Counter(record.rpartition(" is ")[0].partition(" run ")[0] for record in facts.open_records)
    if kinds:
        counts = ", ".join(f"{count} {kind} runs" for kind, count in kinds.items())
        yield f"{counts} are open for ever: {facts.open_records[0]}"


def no_litter(facts: Facts) -> Iterable[str]:
    """Nothing stays that the next kill adds to."""
    if facts.litter:
        yield f"{len(facts.litter)} left behind: {', '.join(facts.litter[:3])}"


def nothing_outside(facts: Facts) -> Iterable[str]:
    """Nothing outside the folders of state and results was made, changed or deleted."""
    return facts.outside


def one_version(facts: Facts) -> Iterable[str]:
    """No model is registered twice, and no more versions are made than there were runs that could earn one."""
    new = facts.after[len(facts.before) :]
    for tag in SAME_MODEL:
        counts = Counter(version.tags[tag] for version in facts.after if tag in version.tags)
        yield from (f"{count} versions have the same {tag}: {value}" for value, count in counts.items() if count > 1)
    if len(new) > len(facts.first):
        yield f"{len(new)} versions were made by {len(facts.first)} decisions"


def one_champion(facts: Facts) -> Iterable[str]:
    """Where runs are judged, one version is the champion as soon as any run was promoted, and never more than one."""
    champions = [version.number for version in facts.after if version.is_champion]
    promoted = [ran for ran in facts.runs if ran.verdict == "Promoted"]
    if len(champions) > 1:
        yield f"versions {champions} are all champions"
    if not champions and promoted:
        yield f"{len(promoted)} runs said Promoted, and there is no champion"


def champion_would_be_defended(facts: Facts) -> Iterable[str]:
    """Every champion was compared with the one before it, and was better by the gate's margin."""
    known = {version.number: version for version in facts.after}
    line: list[int] = []
    at = next((version for version in facts.after if version.is_champion), None)
    while at is not None and at.number not in line:
        line.append(at.number)
        if at.predecessor is None:
            break
        before = known.get(at.predecessor)
        if before is None:
            yield f"version {at.number} was compared with version {at.predecessor}, which is not there"
        elif not is_better(at.score, before.score):
            yield f"version {at.number} ({at.score}) replaced {before.number} ({before.score}), within the margin"
        at = before
    promoted = {ran.version for ran in facts.runs if ran.verdict == "Promoted" and ran.version is not None}
    promoted |= {version.number for version in facts.before if version.is_champion}
    for number in sorted(promoted - set(line)):
        yield f"version {number} became the champion, and the champion of now was never compared with it (line {line})"


def one_job(facts: Facts) -> Iterable[str]:
    """A submission is one job, of which one completes; none goes on when its command is over."""
    if facts.case.scenario.engine != "azureml":
        return
    statuses = Counter(job.status for job in facts.jobs)
    over = {"Completed", "Failed", "Canceled"}
    if statuses.keys() - over:
        yield f"jobs go on though nobody waits for them: {dict(statuses)}"
    # A command that had come to its end asks for another job when it is started again; so does one that a person has
    # stopped, whose first job was canceled.
    anew = [facts.first[ran.index] for ran in facts.again]
    submissions = len(facts.first) + sum(1 for ran in anew if ran.succeeded or ran.verdict is not None)
    if statuses["Completed"] > submissions:
        yield f"{statuses['Completed']} jobs completed for {submissions} submissions"
    if statuses.total() > submissions + sum(
        1 for ran in anew if not ran.succeeded and ran.verdict is None and ran.code != -9
    ):
        yield f"{statuses.total()} jobs for {submissions} submissions: {dict(statuses)}"


def outputs_are_whole(facts: Facts) -> Iterable[str]:
    """What a command delivers is what an undisturbed run delivers."""
    for ran in facts.runs:
        if ran.succeeded and ran.expected is not None:
            delivered = ran.delivered or {}
            wrong = sorted(name for name in ran.expected if delivered.get(name) != ran.expected[name])
            if wrong:
                yield f"command {ran.index} delivered other content than an undisturbed run: {', '.join(wrong[:4])}"


def the_others_succeed(facts: Facts) -> Iterable[str]:
    """A command that nothing befell comes to its end."""
    calm = facts.first if facts.case.signal == NONE else facts.first[1:]
    return [
        f"command {ran.index}, which nothing befell, ended with {ran.code}: {_last(ran)}" for ran in calm if ran.code
    ]


def next_run_succeeds(facts: Facts) -> Iterable[str]:
    """The same command, started again, comes to its end."""
    return [
        f"started again, command {ran.index} ended with {ran.code}: {_last(ran)}" for ran in facts.again if ran.code
    ]


def right_verdict(facts: Facts) -> Iterable[str]:
    """The verdict is the one that the scores ask for; a run that had earned its version says so when started again."""
    champion = next((version for version in facts.between if version.is_champion), None)
    for ran in facts.again:
        if not ran.succeeded or ran.program != "pipeline":
            continue
        before = facts.first[ran.index]
        told = before.succeeded or before.verdict is not None  # a summary may be printed just before a signal comes
        own = None if told else _registered_untold(facts, ran)
        if own is not None:
            # One that had made its version and not yet become the champion may have been overtaken since.
            overtaken = champion is not None and not own.is_champion
            if (ran.verdict, ran.version) != ("Promoted", own.number) and not (overtaken and ran.verdict == "Rejected"):
                said = f"{ran.verdict} {ran.version or ''}".strip()
                yield (
                    f"command {ran.index} had made version {own.number} when it was stopped, and said {said} when it "
                    "was started again"
                )
            champion = champion if overtaken else own
            continue
        best = None if champion is None else champion.score
        wanted = "Promoted" if best is None or is_better(SCORES[ran.rate], best) else "Rejected"
        # A run that goes on with a job from before another champion came is not judged against that one.
        overtaken = not told and champion is not None and champion not in facts.before
        if ran.verdict != wanted and not (overtaken and ran.verdict == "Rejected"):
            yield f"command {ran.index} ({SCORES[ran.rate]:.6f}) against {best} said {ran.verdict}, not {wanted}"
        if ran.verdict == "Promoted":
            champion = next((version for version in facts.after if version.number == ran.version), champion)


def cleaning_is_refused(facts: Facts) -> Iterable[str]:
    """The state is not deleted while something runs, and what runs is named."""
    if facts.cleaning is not None:
        code, said = facts.cleaning
        if code == 0 or "invalid choice" in said:
            yield f"`tandem state clean` ended with {code} while a command ran: {said.strip()[-100:]}"


def contract_is_kept(facts: Facts) -> Iterable[str]:
    """Nothing was asked of Azure ML that it does not know."""
    return facts.contract


def is_better(score: float, best: float) -> bool:
    """Whether the gate lets a score replace another."""
    return math.isnan(best) or (score > best and score - best + _ROUNDING >= MARGIN)


def _registered_untold(facts: Facts, ran: Ran) -> Version | None:
    """The version that a command had made when it was stopped, before it could tell."""
    told = {first.version for first in facts.first if first.verdict is not None}
    new = facts.between[len(facts.before) :]
    own = [version for version in new if version.number not in told and abs(version.score - SCORES[ran.rate]) < 1e-5]
    return own[0] if own else None


def _last(ran: Ran) -> str:
    lines = [line.strip() for line in ran.said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error")]
    return (errors or lines or ["(it said nothing)"])[-1][:200]


INVARIANTS: Mapping[str, Check] = MappingProxyType(
    {
        check.__name__: check
        for check in (
            no_hang,
            no_traceback,
            no_orphan,
            no_open_record,
            no_litter,
            nothing_outside,
            one_version,
            one_champion,
            champion_would_be_defended,
            one_job,
            outputs_are_whole,
            the_others_succeed,
            next_run_succeeds,
            right_verdict,
            cleaning_is_refused,
            contract_is_kept,
        )
    }
)


def violations(facts: Facts) -> dict[str, list[str]]:
    """What does not hold, by the name of the invariant."""
    found = {name: list(check(facts)) for name, check in INVARIANTS.items()}
    return {name: texts for name, texts in found.items() if texts}
