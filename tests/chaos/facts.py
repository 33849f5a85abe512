"""What is known of a case once it is over. Frozen values, which the invariants judge."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.chaos.plan import Case, Program

COMPARED_WITH = "tandem.compared_with"
METRIC = "tandem.metric.roc_auc"
SAME_MODEL = ("tandem.model_sha256", "tandem.made_of", "tandem.job")  # each makes two versions the same model


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version, as the registry shows it."""

    number: int
    tags: Mapping[str, str]
    is_champion: bool

    @property
    def score(self) -> float:
        """Its ROC AUC, to six decimals."""
        return float(self.tags.get(METRIC, "nan"))

    @property
    def predecessor(self) -> int | None:
        """The champion that it was compared with."""
        compared = self.tags.get(COMPARED_WITH, "none")
        return int(compared) if compared.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Job:
    """A job of the workspace that one of the commands has submitted."""

    name: str
    status: str


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it said and delivered. ``index`` tells the commands apart that began at once."""

    index: int
    program: Program
    rate: str
    code: int
    said: str
    verdict: str | None = None
    version: int | None = None
    score: float | None = None
    delivered: Mapping[str, str] | None = None
    expected: Mapping[str, str] | None = None
    hung: bool = False
    seconds: float = 0.0

    @property
    def succeeded(self) -> bool:
        """Whether it came to its end."""
        return self.code == 0


@dataclass(frozen=True, slots=True)
class Facts:
    """All of a case.

    Attributes:
        first: The commands that began at once, of which the first may have been disturbed.
        again: The same commands, started again one after the other; ``first`` has those that they are the same as.
        hit: Whether the moment came while the first command ran.
        before, between, after: The versions before anything ran, before the commands were started again, at the end.
        orphans: Processes that outlived the commands.
        open_records: Records that run, though nothing does.
        litter: Drafts, remains of locks and temporary files that nothing takes away.
        outside: What was made, changed or deleted where nothing may be.
        jobs: The jobs in the workspace, of this case.
        contract: What the loopback service found against its contract.
        cleaning: What a command said, and its exit code, that was to clean the state while something ran.
    """

    case: Case
    first: tuple[Ran, ...]
    again: tuple[Ran, ...]
    hit: bool = True
    before: tuple[Version, ...] = ()
    between: tuple[Version, ...] = ()
    after: tuple[Version, ...] = ()
    orphans: tuple[str, ...] = ()
    open_records: tuple[str, ...] = ()
    litter: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    jobs: tuple[Job, ...] = ()
    contract: tuple[str, ...] = ()
    cleaning: tuple[int, str] | None = None

    @property
    def disturbed(self) -> Ran:
        """The command that was disturbed, if any was."""
        return self.first[0]

    @property
    def runs(self) -> tuple[Ran, ...]:
        """All commands."""
        return (*self.first, *self.again)
