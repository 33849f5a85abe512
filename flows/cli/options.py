"""Options of the commands of ``tandem``: a dataclass for each command, which also runs it.

The docstring and the annotations are what ``--help`` says. What runs a command is imported when it runs: nothing here
may take time, since ``tandem --help`` and the completion read all of it.
"""

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from flows.cli.flags import Argument, Flag
from flows.cli.terminal import interrupts
from flows.engines.open_engine import ENGINES
from flows.settings import Settings

if TYPE_CHECKING:
    EngineFlag = str
    EngineName = str
else:  # a choice, as a command line shows it
    EngineFlag = Literal["auto", *ENGINES]
    EngineName = Literal[*ENGINES]
File = Annotated[str, Argument("Azure ML job, pipeline or component YAML.", "FILE.yml", is_file=True)]
Json = Annotated[bool, Flag("Print the result as JSON on standard output.")]
Inputs = Annotated[tuple[str, ...], Flag("A new value of an input.", "inputs.NAME=VALUE", "--set")]
Assets = Annotated[
    tuple[str, ...],
    Flag(
        "What stands in here for data or a component that is elsewhere. Also: tandem.assets.yml.",
        "NAME_OR_URI=PATH",
        "--asset",
    ),
]
OutputDir = Annotated[str | None, Flag("Copy outputs, logs and the outcome of the job to DIR.", "DIR")]
AllowOutput = Annotated[
    tuple[str, ...],
    Flag("Let outputs whose path is outside of the project of FILE.yml be written to DIR.", "DIR"),
]
Only = Annotated[
    str | None,
    Flag("Run this step alone; what it reads of others, an earlier job has delivered.", "STEP", "--only", "part"),
]
From = Annotated[
    str | None, Flag("Run this step and all that read from it, in the same way.", "STEP", "--from", "part")
]
Job = Annotated[
    str | None,
    Flag("The earlier job, for --only and --from; else the newest of FILE.yml that has what is needed.", "NAME"),
]
Python = Annotated[str | None, Flag("The interpreter that runs the steps on this machine.", "PATH")]

EndpointFlag = Annotated[
    str | None,
    Flag("Azure ML YAML of the endpoint, or the name of one that is there. Default: serving/endpoint.yml.", "ENDPOINT"),
]
DeploymentFlag = Annotated[
    str | None, Flag("Azure ML YAML of its deployments. Default: serving/deployment.yml.", "FILE.yml")
]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Run a job, pipeline or component YAML."""

    file: Annotated[
        str | None,
        Argument("Azure ML job, pipeline or component YAML; may be left out with --resume.", "FILE.yml", is_file=True),
    ] = None
    inputs: Inputs = ()
    assets: Assets = ()
    output_dir: OutputDir = None
    allow_output: AllowOutput = ()
    python: Python = None
    engine: Annotated[EngineFlag, Flag("Where it runs.")] = "auto"
    tracking: Annotated[
        Literal["local", "azureml"],
        Flag("Where MLflow keeps the runs of the local engine; azureml is the workspace."),
    ] = "local"
    force_rerun: Annotated[bool, Flag("Run every step, even if nothing has changed.")] = False
    only: Only = None
    from_step: From = None
    job: Job = None
    resume: Annotated[
        str | None,
        Flag("Go on after a job that has failed: its finished steps are not run again.", "JOB", group="part"),
    ] = None
    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.run_file import run_yaml

        return run_yaml(self)


@dataclass(frozen=True, slots=True)
class ValidateOptions:
    """Say all that is wrong with YAML files, before anything runs."""

    files: Annotated[tuple[str, ...], Argument("Azure ML job, pipeline or component YAML.", "FILE.yml", is_file=True)]
    assets: Assets = ()
    engine: Annotated[
        EngineName | None, Flag("Also say what is refused, ignored or done in another way where it is to run.")
    ] = None
    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.validate import validate

        return validate(self.files, self.json, self.assets, self.engine)


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """Show what would run and what would be reused, and why."""

    file: File
    inputs: Inputs = ()
    assets: Assets = ()
    output_dir: OutputDir = None
    allow_output: AllowOutput = ()
    python: Python = None
    force_rerun: Annotated[bool, Flag("As if nothing were to be reused.")] = False
    only: Only = None
    from_step: From = None
    job: Job = None
    against: Annotated[
        str | None,
        Flag("Compare with the same file in another checkout of the project, DIR, and not with earlier runs.", "DIR"),
    ] = None
    markdown: Annotated[bool, Flag("Print the plan as Markdown, for a comment.", group="form")] = False
    mermaid: Annotated[bool, Flag("Print the graph as a Mermaid diagram, for Markdown.", group="form")] = False
    json: Annotated[bool, Flag("Print the plan as JSON.", group="form")] = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.plan.command import plan_file

        return plan_file(self)


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """Serve a registered model in place of the one that is served now, step by step."""

    model: Annotated[str, Argument("NAME or NAME@champion for the champion, or NAME:VERSION.", "MODEL")]
    endpoint: EndpointFlag = None
    deployment: DeploymentFlag = None
    steps: Annotated[
        str | None,
        Flag("Shares of the new deployment in percent. Default: the endpoint's tag, else 10 50 100.", "'10 50 100'"),
    ] = None
    pause_seconds: Annotated[
        float | None,
        Flag("How long each share is held before it is checked. Default: the endpoint's tag, else 60.", "SECONDS"),
    ] = None
    mirror_percent: Annotated[
        int | None,
        Flag(
            "Copies of so many requests go to it before its first share, 0 to 50. Default: the endpoint's tag, else 0.",
            "PERCENT",
        ),
    ] = None
    keep_seconds: Annotated[
        float | None,
        Flag("How long the old deployment is kept afterwards. Default: the endpoint's tag, else 600.", "SECONDS"),
    ] = None
    max_error_share: Annotated[
        float | None, Flag("Greatest share of failed requests, 0 to 1. Default: the endpoint's tag, else 0.", "SHARE")
    ] = None
    max_p99_seconds: Annotated[
        float | None, Flag("Longest that 99 of 100 requests may take. Default: the endpoint's tag, else 2.", "SECONDS")
    ] = None
    engine: Annotated[EngineFlag, Flag("Where it is served.")] = "auto"
    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.serving.deploy import deploy

        return deploy(self)


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """Give each row of a file or data asset the label and the probability that a registered model finds."""

    data: Annotated[str, Argument("A CSV or Parquet file, a folder of them, or a data asset.", "DATA", is_file=True)]
    output: Annotated[str, Flag("The file of the scores, .csv or .parquet.", "FILE")]
    model: Annotated[str, Flag("What scores it: NAME or NAME@champion for the champion, or NAME:VERSION.", "MODEL")] = (
        "diabetes-predict@champion"
    )
    endpoint: Annotated[
        str | None, Flag("Azure ML YAML of the batch endpoint. Default: serving/batch-endpoint.yml.", "FILE.yml")
    ] = None
    deployment: Annotated[
        str | None, Flag("Azure ML YAML of its deployment. Default: serving/batch-deployment.yml.", "FILE.yml")
    ] = None
    engine: Annotated[EngineFlag, Flag("Where it is scored.")] = "auto"
    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.score import score

        return score(self)


@dataclass(frozen=True, slots=True)
class PromoteOptions:
    """Make a version of a model the champion, by hand, with a reason that is kept."""

    model: Annotated[str, Argument("The version.", "MODEL:VERSION")]
    reason: Annotated[str | None, Flag("Why; it is kept with both versions.", "TEXT")] = None
    deploy: Annotated[bool, Flag("Serve it, too.")] = False
    endpoint: EndpointFlag = None
    deployment: DeploymentFlag = None
    engine: Annotated[EngineFlag, Flag("Whose registry it is.")] = "auto"
    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.serving.champion import promote

        return promote(self)


@dataclass(frozen=True, slots=True)
class RollbackOptions:
    """Bring back the champion from before; or, with an endpoint alone, what it served before."""

    model: Annotated[str | None, Argument("The model whose champion from before comes back.", "MODEL")] = None
    reason: Annotated[str | None, Flag("Why; it is kept with both versions.", "TEXT")] = None
    deploy: Annotated[bool, Flag("Serve it, too.")] = False
    endpoint: Annotated[
        str | None,
        Flag("Without a model: bring back what this endpoint served before; the champion stays.", "ENDPOINT"),
    ] = None
    deployment: DeploymentFlag = None
    engine: Annotated[EngineFlag, Flag("Whose registry and endpoints they are.")] = "auto"
    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.serving.champion import rollback

        return rollback(self)


@dataclass(frozen=True, slots=True)
class ListEndpointsOptions:
    """List endpoints: their deployments, shares, models, and what they cost."""

    engine: Annotated[EngineFlag, Flag("Where they are.")] = "auto"
    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.serving.endpoints import list_endpoints

        return list_endpoints(self)


@dataclass(frozen=True, slots=True)
class EndpointKeyOptions:
    """Print the key of an endpoint, and nothing else."""

    name: Annotated[str, Argument("The endpoint.", "NAME")]
    engine: Annotated[EngineFlag, Flag("Where it is.")] = "auto"

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.serving.endpoints import show_key

        return show_key(self)


@dataclass(frozen=True, slots=True)
class EndpointSamplesOptions:
    """Count what is kept of the requests of an endpoint, and make data of it that `tandem watch` compares."""

    name: Annotated[str, Argument("The endpoint.", "NAME")]
    register: Annotated[
        str | None, Flag("Make the rows the next version of this data asset.", "DATA_ASSET", "--register")
    ] = None
    since: Annotated[str | None, Flag("Leave out what was asked before: 2026-05-31 or 2026-05-31T14:00.", "TIME")] = (
        None
    )
    engine: Annotated[EngineFlag, Flag("Where the endpoint is.")] = "auto"
    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.serving.samples import show_samples

        with interrupts.raised():
            return show_samples(self)


@dataclass(frozen=True, slots=True)
class DeleteEndpointOptions:
    """Delete an endpoint with all its deployments. Asks first."""

    name: Annotated[str, Argument("The endpoint.", "NAME")]
    yes: Annotated[bool, Flag("Do not ask.")] = False
    engine: Annotated[EngineFlag, Flag("Where it is.")] = "auto"
    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.serving.endpoints import delete_endpoint

        return delete_endpoint(self)


@dataclass(frozen=True, slots=True)
class WhyOptions:
    """Say why a step of the last job ran, or was reused."""

    step: Annotated[str, Argument("The name of the step.", "STEP")]
    job: Annotated[str | None, Flag("Another job than the last, by its name or the beginning of it.", "NAME")] = None
    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.plan.command import why_step

        return why_step(self.step, self.job, as_json=self.json)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: use a whole number from 1 to 65535")
    return int(text)


@dataclass(frozen=True, slots=True)
class UiOptions:
    """Show the local runs: a Prefect server and the MLflow UI."""

    prefect_port: Annotated[int, Flag("Where Prefect listens, on this machine only.", "PORT", convert=_port)] = 4200
    mlflow_port: Annotated[int, Flag("Where MLflow listens, on this machine only.", "PORT", convert=_port)] = 5000

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.ui import show_pages

        with interrupts.raised():
            return show_pages(self.prefect_port, self.mlflow_port)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Let a registered model answer requests on this machine, until Ctrl+C."""

    model: Annotated[str, Argument("A registered model; without version or alias, its champion.", "MODEL[:VERSION]")]
    deployment: Annotated[str | None, Flag("How it is deployed. Default: serving/deployment.yml.", "FILE.yml")] = None
    name: Annotated[str | None, Flag("The name of the endpoint. Default: the model's.", "NAME")] = None
    port: Annotated[
        int | None,
        Flag(
            "Where it listens, on this machine only. Default: the port from before, else 5001.", "PORT", convert=_port
        ),
    ] = None

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.serve import Asked, serve_model

        with interrupts.raised():
            return serve_model(Asked(self.model, self.deployment, self.name, self.port))


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """Say whether incoming data has drifted from what the champion knows.

    None stands for the default of :class:`flows.drift.parameters.WatchParameters`, which checks the values too.
    """

    data_asset_name: Annotated[
        str | None, Argument("A data asset or a file. Default: diabetes-diagnostics.", "DATA", is_file=True)
    ] = None
    model_name: Annotated[
        str | None, Flag("The registered model whose champion is watched. Default: diabetes-predict.", "NAME")
    ] = None
    psi_threshold: Annotated[str | None, Flag("Least difference that counts. Default: 0.1.", "PSI")] = None
    significance: Annotated[str | None, Flag("Most probability of a false alarm. Default: 0.01.", "P")] = None
    min_rows: Annotated[str | None, Flag("Fewest rows that are compared. Default: 100.", "N")] = None
    emit: Annotated[
        bool, Flag("Emit the event of a drift too, which starts a training where one is deployed for it.")
    ] = False
    engine: Annotated[EngineFlag | None, Flag("Where champion and data are. Default: auto.")] = None
    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.watch import watch

        return watch(self)


@dataclass(frozen=True, slots=True)
class NotifyOptions:
    """Say through which block messages go, and what was not delivered of late."""

    test: Annotated[bool, Flag("Send a test message through it.")] = False
    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.notify import notify

        with interrupts.raised():
            return notify(test=self.test, as_json=self.json)


@dataclass(frozen=True, slots=True)
class RegisterDataOptions:
    """Make the next version of a data asset, and tell who waits for new data."""

    file: Annotated[str, Argument("A CSV or Parquet file of the pipeline's columns.", "FILE", is_file=True)]
    name: Annotated[str, Flag("Of the data asset.", "NAME")] = "diabetes-diagnostics"
    engine: Annotated[EngineFlag, Flag("Where to.")] = "auto"
    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.data import register_data

        with interrupts.raised():
            return register_data(self.file, self.name, self.engine, as_json=self.json)


@dataclass(frozen=True, slots=True)
class CreateComputeOptions:
    """Make what environment/compute.yml defines in the workspace, unless it is there."""

    name: Annotated[str | None, Argument("Another name than the file's.", "NAME")] = None
    size: Annotated[str | None, Flag("Another VM size, such as STANDARD_DS3_V2.", "SIZE")] = None
    max_instances: Annotated[int | None, Flag("Another number of nodes at most.", "N", convert=_count)] = None
    low_priority: Annotated[bool, Flag("Cheaper nodes, which can be taken away in the middle of a job.")] = False
    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.compute import create_compute

        tier = "low_priority" if self.low_priority else None
        asked = {"name": self.name, "size": self.size, "max_instances": self.max_instances, "tier": tier}
        with interrupts.raised():
            return create_compute({key: value for key, value in asked.items() if value is not None}, self.json)


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """Say whether all that a run needs is there, and what to do if not."""

    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.doctor.examination import doctor

        with interrupts.raised():
            return doctor(self.json)


@dataclass(frozen=True, slots=True)
class ReapOptions:
    """List jobs that nobody waits for and deployments that nobody needs, and end them."""

    yes: Annotated[bool, Flag("Cancel and delete, and wait until it is over; without it, only look.")] = False
    unknown_too: Annotated[
        bool, Flag("Also jobs of flow runs that Prefect does not know, and deployments that no rollout has made.")
    ] = False
    older_than: Annotated[str | None, Flag("Only what is at least so old, such as 30m, 2h or 1d.", "TIME")] = None
    engine: Annotated[EngineFlag, Flag("Where to look.")] = "auto"
    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.reap.command import reap

        with interrupts.raised():
            return reap(self)


@dataclass(frozen=True, slots=True)
class CheckStateOptions:
    """Say whether the local state is whole, and what to do if not."""

    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.state.check import check

        return check(Settings.from_environment(), as_json=self.json)


@dataclass(frozen=True, slots=True)
class RepairStateOptions:
    """Move what is broken aside, and save what can be read of it; the models are kept."""

    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.state.repair import repair

        return repair(Settings.from_environment(), as_json=self.json)


@dataclass(frozen=True, slots=True)
class CleanStateOptions:
    """Delete the local state, unless something runs on it."""

    json: Json = False

    def run(self) -> int:
        """Run the command, and return the exit code."""
        from flows.cli.state.clean import clean

        return clean(Settings.from_environment(), as_json=self.json)


@dataclass(frozen=True, slots=True)
class CompletionOptions:
    """Complete words: eval "$(tandem completion bash)"."""

    shell: Annotated[Literal["bash", "zsh"], Argument("The shell that evaluates what is printed.")]

    def run(self) -> int:
        """Run the command, and return the exit code."""
        import shtab

        from flows.cli.main import tandem_parser

        print(shtab.complete(tandem_parser(), self.shell))
        return 0
