"""What is printed: a line a case, and a table of scenarios and outcomes with what was violated. Pure."""

import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.facts import Facts, Ran
from tests.chaos.plan import NONE, Case


@dataclass(frozen=True, slots=True)
class Result:
    """A case that is over: what became of its first command, and what does not hold."""

    case: Case
    outcome: str
    again: str
    violated: Mapping[str, Sequence[str]]
    seconds: float
    folder: str = ""

    @classmethod
    def of(cls, facts: Facts, violated: Mapping[str, Sequence[str]], seconds: float, folder: str) -> "Result":
        """The result of a case."""
        return cls(facts.case, outcome_of(facts), ", ".join(map(_end, facts.again)), violated, seconds, folder)

    def __str__(self) -> str:
        head = f"{self.case} -> {self.outcome}; again: {self.again or '-'}; {self.seconds:.0f} s"
        lines = [f"    {name}: {text}" for name, texts in self.violated.items() for text in texts[:2]]
        kept = [f"    {self.case.replay}   # {self.folder}"] if lines else []
        return "\n".join([head if not lines else f"{head}  VIOLATED", *lines, *kept])


def outcome_of(facts: Facts) -> str:
    """In a word, what became of the command that was disturbed."""
    if facts.case.signal == NONE:
        ended = "all completed" if all(ran.succeeded for ran in facts.first) else "some failed"
        return ended if facts.hit else f"{ended}, not at one moment"
    if not facts.hit:
        return "moment missed"
    return "completed" if facts.disturbed.succeeded else _end(facts.disturbed)


def _end(ran: Ran) -> str:
    if ran.hung:
        return "hung"
    if ran.code < 0:
        return f"ended by {signal.Signals(-ran.code).name}"
    words = {0: ran.verdict or "completed", 130: "interrupted", 143: "terminated"}
    return words.get(ran.code, f"failed ({ran.code})")


def table(results: Sequence[Result]) -> str:
    """Scenario by outcome, then every invariant that was violated with how often, and the first cases to replay."""
    lines = ["", f"{'scenario':48} {'cases':>5} {'bad':>4}  outcomes of the first command"]
    for name in dict.fromkeys(result.case.scenario.name for result in results):
        of_it = [result for result in results if result.case.scenario.name == name]
        outcomes = Counter(result.outcome for result in of_it)
        text = ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common())
        lines.append(f"{name:48} {len(of_it):5} {sum(1 for one in of_it if one.violated):4}  {text}")
    bad = [result for result in results if result.violated]
    lines.append(f"{'all':48} {len(results):5} {len(bad):4}  {sum(one.seconds for one in results):.0f} s")
    invariants = Counter(name for result in bad for name in result.violated)
    for name, count in invariants.most_common():
        of_it = [result for result in bad if name in result.violated]
        lines += ["", f"{name}: violated by {count} of {len(results)} cases, such as"]
        lines += [f"  {result.case.replay:32} {result.violated[name][0][:150]}" for result in of_it[:3]]
    return "\n".join(lines)
