"""Entry point of the YAML reader. Every fault of a job and the files it names is found before any is raised."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from flows.errors import Fault
from flows.spec.model.job import JobSpec
from flows.spec.reading.jobs import job_from
from flows.spec.reading.nested import flat, jobs_within
from flows.spec.reading.work.references import References
from flows.spec.rules.checks import faults_of
from flows.spec.rules.lint import warnings_of
from flows.spec.text.faults import Findings, findings, ordered, raise_faults, without_echoes
from flows.spec.text.section import Section
from flows.spec.text.yaml_lines import load_yaml

_NO_ASSETS: Mapping[str, Path] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Examination:
    """What reading a file found: the job, where it could be read, and what is wrong or doubtful, in its order."""

    spec: JobSpec | None
    findings: tuple[Fault, ...]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What is wrong: Azure ML would refuse the file."""
        return tuple(finding for finding in self.findings if not finding.warning)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """What is valid, but probably not meant."""
        return tuple(finding for finding in self.findings if finding.warning)


def read_job(path: Path, assets: Mapping[str, Path] = _NO_ASSETS) -> JobSpec:
    """Read a job or component of any kind, with every file that it names.

    A step that cannot run on this machine is no fault; it says why in ``refusal``.

    Args:
        path: The file.
        assets: Local component YAML files for components that are registered in a workspace or registry, by reference
            (``azureml:fit:1``, ``azureml://registries/…``) or name (``fit:1``, ``fit``).

    Raises:
        SpecError: Something is wrong. The error carries every fault, in the order of the files.
    """
    examination = examine(path, assets)
    raise_faults(examination.faults)
    assert examination.spec is not None  # a fault is noted for every file that is no job
    return examination.spec


def examine(path: Path, assets: Mapping[str, Path] = _NO_ASSETS) -> Examination:
    """Read a job or component as :func:`read_job` does, and return what is wrong with it rather than raise."""
    spec = None
    with findings(path) as noted:
        spec = _examined(path, assets, noted)
    return Examination(spec, tuple(ordered(noted)))


def _examined(path: Path, assets: Mapping[str, Path], noted: Findings) -> JobSpec | None:
    node = load_yaml(path, noted)
    found = None if node is None else job_from(Section(node, noted), References(assets))
    if found is None:
        return None
    spec, graph = found
    were = tuple(noted)
    for job in (spec, *jobs_within(graph)):
        noted.extend_by(without_echoes(faults_of(job), were))
    whole = flat(spec, graph, noted)
    if whole.nested and all(fault.warning for fault in noted):
        # What only shows where a value meets a step through the pipelines around it.
        noted.extend_by(faults_of(whole))
    if all(fault.warning for fault in noted):  # what is wrong may be why the rest looks doubtful
        noted.extend_by(warnings_of(whole))
    return whole
