"""Verdicts over a folder of Azure ML YAML files: Tandem's beside those of the azure-ai-ml client.

``python -m tests.spec.corpus DIR`` reads every YAML file below DIR with both, as one that is to be submitted or
registered, and counts: equal, different for a reason with a name, unexplained. For each job that both take it compares
what Tandem's Azure ML engine would send with what the client sends for the file by itself. Nothing is sent, and nothing
of the folder is kept.
"""

# The client has no types worth the name; what it would send is only compared.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeStubs=false, reportPrivateUsage=false

import argparse
import logging
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.spec.reading.reader import examine, read_job
from flows.spec.reading.served import examine_served
from flows.spec.text import keys
from flows.spec.text.faults import findings
from flows.spec.text.yaml_lines import load_yaml
from tests.spec.sdk_client import REFUSED_HERE, reason_among, refused_here, refused_there

# What we refuse and the client takes, beside what the varied files show: why, and what our fault says.
NOT_READ: Mapping[str, str] = {
    "Tandem has no value for a property of the job that an input is bound to, such as its name": (
        r"\$\{\{parent\.\w+\}\} names nothing that an input can be bound to"
    ),
    "Tandem does not deploy to Kubernetes": r"this is a Kubernetes (endpoint|deployment), which Tandem does not",
    "the upload fails without the file": r"(model\.path|code_configuration\.code): there is no file or folder",
    "Azure has no machine of such a size": r"is not the size of a machine",
    "of a key that is there twice, the client takes the last one without a word": r"is there twice",
}
# What the client refuses and we take: why, and what it says.
REFUSED_THERE: Mapping[str, str] = {
    "what stands in a key of AutoML is left to the service": r"(?s)Validation for \w+ failed:.*of type automl",
}

# Keys that a file of each kind has, and no other kind has without one of an earlier kind.
_OF_A_JOB = frozenset({"jobs", "command", "trial", "task", "component", "search_space", "entry"})
_OF_AN_ENVIRONMENT = frozenset({"image", "build", "conda_file"})
_OF_DATA = frozenset({"path", "paths", "local_path"})
_DATA_TYPES = frozenset({"uri_file", "uri_folder", "mltable"})
# Types of files that are no job and no component, although one key or the other is that of a job.
_JOB_TYPES = frozenset(
    {"command", "pipeline", "sweep", "parallel", "spark", "automl", "import", "data_transfer", "finetuning"}
    | {"distillation"}
)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What both say against one file; empty where it is taken.

    Attributes:
        path: The file.
        loader: The client's function for its kind; None where it is neither job, component, data nor environment.
        here: What Tandem says.
        there: What the client says.
    """

    path: Path
    loader: str | None
    here: str = ""
    there: str = ""

    @property
    def are_equal(self) -> bool:
        """Whether both take the file, or both refuse it."""
        return bool(self.here) is bool(self.there)

    @property
    def reason(self) -> str | None:
        """Why the two differ; None where they do not, or where no rule says why."""
        if self.are_equal:
            return None
        return (
            reason_among({**REFUSED_HERE, **NOT_READ}, self.here)
            if self.here
            else reason_among(REFUSED_THERE, self.there)
        )


def loader_of(path: Path) -> str | None:
    """The client's function that reads a file of this kind; None for one that is no job, component, data, environment.

    A file that is no YAML, or no mapping, counts as a job: both have to say what is wrong with it.
    """
    with findings(path) as noted:
        node = load_yaml(path, noted)
    if node is None or not isinstance(node.value, Mapping):
        return "load_job"
    tree: dict[str, Any] = node.plain()
    kind = str(tree.get("type", "")).lower()
    schema = str(tree.get("$schema", "")).lower()
    if (served := examine_served(path)) is not None:
        return _loader_of_served(served.what, tree)
    if kind in _JOB_TYPES or (not kind and _OF_A_JOB & tree.keys()):
        spec = examine(path).spec
        if spec is not None:
            return "load_component" if spec.is_component else "load_job"
        return "load_component" if "component" in schema or keys.COMPONENT_ONLY & tree.keys() else "load_job"
    if not kind and _OF_AN_ENVIRONMENT & tree.keys():
        return "load_environment"
    return "load_data" if kind in _DATA_TYPES or (not kind and _OF_DATA & tree.keys()) else None


def _loader_of_served(what: str, tree: Mapping[str, Any]) -> str:
    if what != "batch deployment":
        return f"load_{what.replace(' ', '_')}"
    if {"component", "job_definition"} & tree.keys():
        return "load_pipeline_component_batch_deployment"
    has_settings = "settings" in tree or str(tree.get("type", "")).lower() == "model"
    return "load_model_batch_deployment" if has_settings else "load_batch_deployment"


def verdicts_of(path: Path) -> Verdicts:
    """Ask both. An error that Tandem's reader does not mean to raise counts as a refusal, and is not explained."""
    try:
        loader = loader_of(path)
        here = "" if loader is None else refused_here(loader, path)
    except Exception as error:  # the whole folder is to be judged
        loader, here = "load_job", f"Tandem's reader fails: {type(error).__name__}: {error}"
    return Verdicts(path, loader, here, "" if loader is None else refused_there(loader, path))


def unlike_bodies(path: Path) -> list[str]:
    """Where the REST body of a job differs between Tandem's engine and the client, as ``key: theirs, ours``."""
    from azure.ai.ml import load_job

    from flows.engines.azureml.sdk.binding import as_sdk_job

    theirs = _body(load_job(path), path)
    try:
        ours = _body(as_sdk_job(read_job(path)), path)
    except Exception as error:  # the whole folder is to be judged
        return [f"Tandem makes no body: {type(error).__name__}: {' '.join(str(error).split())[:300]}"]
    return [
        f"{key}: the client sends {theirs.get(key)!r}, Tandem {ours.get(key)!r}"
        for key in sorted(theirs.keys() | ours.keys())
        if theirs.get(key) != ours.get(key)
    ]


def _body(job: Any, file: Path) -> dict[str, object]:
    """What would be sent, flat by dotted key: local paths as absolute ones, as which the client looks for them.

    Left out are the display names of steps, by which Tandem makes sure that children can be told apart.
    """
    job = job._to_job() if type(job).__name__ == "Command" else job
    sent = job._to_rest_object()
    tree = sent.as_dict() if hasattr(sent, "as_dict") else sent
    return {
        key: os.path.normpath(file.parent / str(value)) if key.endswith(".uri") and ":" not in str(value) else value
        for key, value in _leaves("", tree)
        if not (key.startswith("properties.jobs.") and key.endswith((".display_name", ".displayName")))
    }


def _leaves(key: str, value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}" if key else str(name), inner)
    elif value is not None:  # what is None is not sent
        yield key, value


def report(found: Sequence[Verdicts], bodies: Mapping[Path, Sequence[str]]) -> str:
    """The counts, in lines."""
    judged = [one for one in found if one.loader is not None]
    equal = [one for one in judged if one.are_equal]
    reasons = Counter(one.reason for one in judged if not one.are_equal and one.reason is not None)
    unexplained = sum(not one.are_equal and one.reason is None for one in judged)
    taken = sum(not one.here for one in equal)
    alike = sum(not unlike for unlike in bodies.values())
    return "\n".join(
        [
            f"{len(found)} files, {len(found) - len(judged)} of them no job, component, data or environment.",
            f"{len(equal):5} verdicts are equal: {taken} take, {len(equal) - taken} refuse",
            f"{sum(reasons.values()):5} are different for a reason:",
            *(f"{count:11}  {reason}" for reason, count in reasons.most_common()),
            f"{unexplained:5} are unexplained",
            f"{len(bodies)} jobs are taken by both: {alike} would be sent alike, {len(bodies) - alike} not.",
        ]
    )


def details(found: Iterable[Verdicts], bodies: Mapping[Path, Sequence[str]], folder: Path) -> Iterator[str]:
    """Each file with its verdict, and what was said against it."""
    for one in found:
        name = one.path.relative_to(folder)
        if one.loader is None:
            yield f"-           {name}"
            continue
        verdict = "equal" if one.are_equal else "different" if one.reason is not None else "UNEXPLAINED"
        yield f"{verdict:11} {name} ({one.loader})" + (f": {one.reason}" if one.reason is not None else "")
        yield from (f"    here:  {' '.join(line.split())}" for line in one.here.splitlines() if line.strip())
        if one.there:
            yield f"    there: {' '.join(one.there.split())[:600]}"
        yield from (f"    body:  {line}" for line in bodies.get(one.path, ()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge a folder and print the result. The exit code is 1 where a verdict is unexplained or a body differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.spec.corpus", description="Judge a folder of Azure ML YAML.")
    parser.add_argument("folder", type=Path, help="the folder; every .yml and .yaml file below it is read")
    parser.add_argument("--list", action="store_true", help="name each file, and what is said against it")
    given = parser.parse_args(arguments)
    from flows.engines.azureml.sdk.binding import know_control_flow

    folder: Path = given.folder.resolve()
    know_control_flow()  # which the client reads only where it is told to
    found = [verdicts_of(path) for path in sorted(folder.rglob("*.y*ml")) if path.is_file()]
    both = [one.path for one in found if one.loader == "load_job" and not one.here and not one.there]
    bodies = {path: unlike_bodies(path) for path in both}
    if given.list:
        print("\n".join(details(found, bodies, folder)))
    print(report(found, bodies))
    unexplained = any(one.loader is not None and not one.are_equal and one.reason is None for one in found)
    return 1 if unexplained or any(bodies.values()) else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)  # the client logs what it refuses as well
    sys.exit(main())
