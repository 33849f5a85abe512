"""Definition of an environment, line by line, and which of its packages an interpreter lacks."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.data.snapshot import Snapshot
from flows.engines.plan.fingerprint import Part
from flows.engines.plan.interpreter import Interpreter, normalized
from flows.spec.model.asset_reference import AssetReference
from flows.spec.model.job import Environment, JobSpec
from flows.spec.reading.assets import read_environment

_NAMED = re.compile(r"(?:[\w./-]+::)?(?P<name>[\w][\w.-]*)\s*(?P<rest>.*)", re.DOTALL)

# Packages that conda has under another name than pip.
_PIP_NAMES = {"matplotlib-base": "matplotlib", "opencv": "opencv-python", "py-xgboost": "xgboost", "pytorch": "torch"}


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A package that an environment asks for and the interpreter has otherwise: ``found`` is None if not at all."""

    package: str
    wanted: str
    found: str | None

    def __str__(self) -> str:
        return f"{self.package}{self.wanted} (" + ("not here" if self.found is None else f"here {self.found}") + ")"


def defined_environment(environment: Environment, folder: Path) -> Environment:
    """Return what an environment's name stands for; itself where ``folder`` has no definition of that name."""
    file = None if environment.reference is None else find_environment_file(environment.reference, folder)
    found = None if file is None else read_environment(file)
    return environment if found is None else found.environment


def find_environment_file(reference: str, folder: Path) -> Path | None:
    """Return the YAML file in ``folder`` that defines the environment of this name, if any."""
    wanted = AssetReference.short(reference)
    if wanted is None:
        return None
    for path in sorted(folder.glob("*.y*ml")):
        found = read_environment(path)
        if found is not None and found.name == wanted.name:
            return path
    return None


def environment_version(file: Path) -> str:
    """The version that an environment has in a workspace: a hash of the folder of its YAML file."""
    return Snapshot.of(file.parent).digest()[:12]


@dataclass(frozen=True, slots=True)
class OwnEnvironment:
    """An environment that a job names in its latest version, and that is defined here; ``version`` is its content's."""

    name: str
    version: str
    file: Path

    @property
    def label(self) -> str:
        """As it is named in this version."""
        return f"{self.name}:{self.version}"


def own_environments(spec: JobSpec, folder: Path) -> tuple[OwnEnvironment, ...]:
    """The environments that the steps of a job name in their latest version, as far as ``folder`` defines them."""
    named = {step.component.environment.reference for step in spec.steps.values() if step.component.environment}
    found: list[OwnEnvironment] = []
    for reference in sorted(name for name in named if name and name.endswith("@latest")):
        asked, file = AssetReference.short(reference), find_environment_file(reference, folder)
        if asked is not None and file is not None:  # else one of the workspace's own, or of a registry
            found.append(OwnEnvironment(asked.name, environment_version(file), file))
    return tuple(found)


def environment_part(environment: Environment | None) -> Part:
    """What an environment says: its reference and image, and the conda file's packages with their versions.

    Comments and the order of packages make no difference.
    """
    if environment is None:
        return {}
    said = {"the reference": environment.reference, "the image": environment.image}
    return {**{key: text for key, text in said.items() if text is not None}, **_conda(environment.conda)}


def shortfalls(environment: Environment, interpreter: Interpreter) -> tuple[Shortfall, ...]:
    """Which packages of an environment's conda file an interpreter lacks, or has in another version.

    What is no plain name with versions (an option, an address) is passed over, and so is what a marker excludes.
    """
    definition = _parsed(environment.conda)
    conda = (_conda_requirement(line) for line in _conda_lines(definition))
    asked = dict.fromkeys([*filter(None, conda), *_pip_lines(definition)])
    return tuple(found for line in asked if (found := _shortfall(line, interpreter)) is not None)


def _conda(text: str | None) -> Part:
    definition = _parsed(text)
    if definition is None:
        return {} if text is None else {"the conda file": text}
    found = {f"the {key}": _said(value) for key, value in definition.items() if key != "dependencies"}
    for kind, lines in (("", _conda_lines(definition)), ("pip ", _pip_lines(definition))):
        for line in lines:
            match = _NAMED.fullmatch(line)
            name = f"{kind}{line}" if match is None else f"{kind}{match['name']}"
            if name in found:
                found[f"{kind}{line}"] = ""
            else:
                found[name] = "" if match is None else match["rest"]
    return found


def _parsed(text: str | None) -> Mapping[str, Any] | None:
    if text is None:
        return None
    import yaml

    try:
        definition = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return None
    is_usual = isinstance(definition, dict) and isinstance(definition.get("dependencies", []), list)
    return definition if is_usual else None


def _conda_lines(definition: Mapping[str, Any] | None) -> Iterator[str]:
    for line in (definition or {}).get("dependencies") or []:
        if not isinstance(line, Mapping):
            yield str(line).strip()


def _pip_lines(definition: Mapping[str, Any] | None) -> Iterator[str]:
    for line in (definition or {}).get("dependencies") or []:
        if isinstance(line, Mapping):
            for installer, packages in line.items():
                wanted: Iterable[Any] = packages if isinstance(packages, list) else [packages]
                yield from (str(item).strip() if installer == "pip" else f"{installer}: {item}" for item in wanted)


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _conda_requirement(line: str) -> str | None:
    """A line of conda's own (``conda-forge::numpy=1.26=py311_0``) as pip would write it; None for pip itself."""
    match = _NAMED.fullmatch(line)
    if match is None or match["name"] == "pip":
        return None
    name, version = _PIP_NAMES.get(match["name"], match["name"]), match["rest"].replace(" ", "")
    if version.startswith("=") and not version.startswith("=="):
        exact = version[1:].partition("=")[0].rstrip("*").rstrip(".")
        return f"{name}=={exact}.*"
    return f"{name}{version}"


def _shortfall(line: str, interpreter: Interpreter) -> Shortfall | None:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion

    try:
        wanted = Requirement(line.partition(" #")[0])
    except InvalidRequirement:
        return None
    release = interpreter.release
    here = {"python_version": ".".join(release.split(".")[:2]), "python_full_version": release}
    if wanted.url is not None or (wanted.marker is not None and not wanted.marker.evaluate(dict(here))):
        return None
    found = release if wanted.name == "python" else interpreter.packages.get(normalized(wanted.name))
    try:
        fits = found is not None and wanted.specifier.contains(found, prereleases=True)
    except InvalidVersion:
        fits = True  # what is here has a version that cannot be compared
    return None if fits else Shortfall(wanted.name, str(wanted.specifier), found)
