"""Check that the installed versions of the libraries work together, without importing any."""

import platform
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from flows.cli.doctor.findings import Finding, fail, ok
from flows.settings import make_command

OURSELVES = "tandem-ml"
SHOWN = ("prefect", "azure-ai-ml", "azure-identity", "azureml-mlflow", "mlflow", "fastapi")
_WHY = {
    "azureml-mlflow": "1.60 breaks with MLflow 3, and pip takes it in silence where a newer mlflow is asked for",
    "fastapi": "others break Prefect's server",
    "mlflow": "azureml-mlflow takes no other",
}


def command() -> str:
    """What installs the libraries anew, or lists what does not fit together where a wheel was installed."""
    return make_command("env", "pip check")


def check_versions() -> list[Finding]:
    """See that this project's requirements are met, and that azureml-mlflow takes the MLflow that is there."""
    return version_findings(_version, _requirements)


def version_findings(
    version_of: Callable[[str], str | None], requirements_of: Callable[[str], Iterable[str]]
) -> list[Finding]:
    """What is to be said of the installed versions: one line if all is well, else one for each fault."""
    installed = {name: version_of(name) for name in SHOWN}
    ours = list(_asked(OURSELVES, requirements_of))
    faults = [
        *(_fault(requirement.name, requirement, version_of(requirement.name), "this project") for requirement in ours),
        *(
            _fault("mlflow", requirement, installed["mlflow"], f"azureml-mlflow {installed['azureml-mlflow']}")
            for requirement in _asked("azureml-mlflow", requirements_of)
            if requirement.name in ("mlflow", "mlflow-skinny")
        ),
    ]
    if not ours:
        faults.append(
            fail("versions", f"{OURSELVES} is not installed, so what it needs is not known", command=command())
        )
    found = [fault for fault in faults if fault is not None]
    return found or [ok("versions", _listed({"python": platform.python_version(), **installed}))]


def _fault(name: str, requirement: Requirement, found: str | None, by: str) -> Finding | None:
    if found is not None and requirement.specifier.contains(found, prereleases=True):
        return None
    why = f" ({_WHY[name]})" if name in _WHY else ""
    there = "is not installed" if found is None else f"is {found}"
    return fail("versions", f"{name} {there}, and {by} needs {requirement.specifier}{why}", command=command())


def _asked(name: str, requirements_of: Callable[[str], Iterable[str]]) -> Iterable[Requirement]:
    """The requirements of a distribution that hold here."""
    asked = (Requirement(text) for text in requirements_of(name))
    return [found for found in asked if found.marker is None or found.marker.evaluate({"extra": ""})]


def _listed(versions: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _requirements(name: str) -> Iterable[str]:
    try:
        return requires(name) or ()
    except PackageNotFoundError:
        return ()
