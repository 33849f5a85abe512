"""``tandem compute create``, with the real SDK against the loopback service, which can take its time."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.cli.compute import compute_differences, described
from flows.cli.main import main
from flows.engines.plan.environment import environment_version
from flows.errors import SettingsError
from flows.settings import PROJECT, WORKSPACE_VARIABLES
from flows.training.parameters import JobParameters, PipelineParameters
from tests.azure_ml_service.faults import Fault
from tests.azure_ml_service.service import Service

pytestmark = pytest.mark.filterwarnings("ignore")

FILE = PROJECT / "environment" / "compute.yml"
TANDEM = Path(sys.executable).with_name("tandem")


@pytest.fixture
def service(azure_environment: Service, azure_client_allowed: None, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr("flows.engines.azureml.sdk.computes.FIRST_SECONDS", 0.1)
    return azure_environment


@pytest.fixture
def create(service: Service, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run the command with ``--json``; returns its exit code, what it printed as JSON, and standard error."""

    def run(*flags: str) -> Any:
        code = main(["compute", "create", *flags, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err

    return run


def defined(file: Path = FILE) -> Any:
    from flows.engines.azureml.sdk.computes import defined_target  # late: the SDK warns while it is imported

    return defined_target(file)


def puts(service: Service, name: str) -> int:
    return service.count("PUT", rf"/computes/{name}$")


def test_what_the_file_defines_is_the_default_of_both_flows_and_has_no_node_while_nothing_runs() -> None:
    target = defined()
    assert {model.model_fields["compute_name"].default for model in (PipelineParameters, JobParameters)} == {
        target.name
    }
    assert (target.type, target.tier, target.min_instances) == ("amlcompute", "dedicated", 0)
    assert target.idle_seconds > 0


def test_file_of_the_compute_target_is_no_part_of_the_environment(tmp_path: Path) -> None:
    for file in (PROJECT / "environment").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    version = environment_version(tmp_path / "environment.yml")
    (tmp_path / "compute.yml").unlink()
    assert environment_version(tmp_path / "environment.yml") == version
    (tmp_path / "conda.yml").write_text("dependencies: []\n")
    assert environment_version(tmp_path / "environment.yml") != version


def test_compute_target_is_made_as_the_file_and_the_flags_say(create: Callable[..., Any], service: Service) -> None:
    code, made, _ = create("from-flags", "--low-priority", "--max-instances", "3", "--size", "Standard_DS3_v2")
    assert code == 0
    assert (made["created"], made["differences"], made["state"]) == (True, {}, "Succeeded")
    there = service.documents.get("computes", "from-flags")
    assert there is not None
    nodes = there["properties"]["properties"]
    assert (nodes["vmSize"], nodes["vmPriority"]) == ("Standard_DS3_v2", "LowPriority")
    assert nodes["scaleSettings"] == {
        "minNodeCount": 0,
        "maxNodeCount": 3,
        "nodeIdleTimeBeforeScaleDown": "PT2M",
    }
    assert not service.violations


def test_one_that_is_there_already_is_said_so_and_stays_as_it_is(create: Callable[..., Any], service: Service) -> None:
    assert create("there-already")[0] == 0
    code, found, _ = create("there-already", "--size", "standard_ds2_v2")
    assert (code, found["created"], found["differences"]) == (0, False, {})
    assert puts(service, "there-already") == 1


def test_one_that_is_not_as_the_flags_ask_is_an_error_and_stays_as_it_is(
    create: Callable[..., Any], service: Service
) -> None:
    create("other-properties")
    code, found, said = create("other-properties", "--max-instances", "7", "--low-priority")
    assert code == 2
    assert found["differences"] == {
        "max_instances": {"asked": 7, "there": 2},
        "tier": {"asked": "low_priority", "there": "dedicated"},
    }
    assert "is there, but not as asked (tier, max_instances). Nothing was changed." in said
    code, _, said = create("other-properties", "--max-instances", "7")
    assert code == 2
    assert "az ml compute update --name other-properties --resource-group loopback-rg" in said
    assert puts(service, "other-properties") == 1


def test_one_that_differs_only_from_the_file_is_no_error(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compute", "create", "cpu-cluster-01"]) == 0  # the service's own, larger than the file's
    assert "size is STANDARD_DS3_V2, not STANDARD_DS2_V2; max_instances is 4, not 2" in capsys.readouterr().out
    assert puts(service, "cpu-cluster-01") == 0


def test_person_is_told_how_far_it_is_and_what_it_costs(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    service.computes.looks = 1
    assert main(["compute", "create", "slow-to-make", "--low-priority"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith(
        "Making slow-to-make in the workspace loopback-ws: STANDARD_DS2_V2, low priority, 0 to 2"
    )
    assert "  Creating, 0 s" in said.err
    assert "slow-to-make is ready: " in said.out
    assert "It has no node, and costs nothing, while no job needs one." in said.out
    assert "can be taken away in the middle of a job" in said.out


def test_size_that_the_region_does_not_have_is_refused_in_the_words_of_the_service(create: Callable[..., Any]) -> None:
    code, made, said = create("no-such-size", "--size", "STANDARD_NONE")
    assert (code, made) == (2, None)
    assert "Specified VmSize STANDARD_NONE is not supported" in said


def test_making_that_fails_says_why_and_so_does_the_next_try(create: Callable[..., Any], service: Service) -> None:
    service.computes.failure = "ClusterCoreQuotaReached"
    code, made, said = create("beyond-quota")
    assert (code, made) == (1, None)
    assert "ClusterCoreQuotaReached" in said
    code, made, said = create("beyond-quota")
    assert (code, made) == (2, None)
    assert "ended as Failed (ClusterCoreQuotaReached)" in said
    assert "az ml compute delete --name beyond-quota" in said
    assert puts(service, "beyond-quota") == 1


@pytest.mark.parametrize("after_work", [False, True], ids=["before the work", "after the work"])
def test_answer_that_is_lost_leads_to_one_compute_target(
    create: Callable[..., Any], service: Service, after_work: bool
) -> None:
    service.faults.add(Fault("PUT", r"/computes/", kind="reset", after_work=after_work))
    code, made, _ = create(f"lost-{after_work}".lower())
    assert (code, made["state"]) == (0, "Succeeded")


def test_passing_trouble_while_waiting_is_no_failure(create: Callable[..., Any], service: Service) -> None:
    service.computes.looks = 1
    service.faults.add(Fault("GET", r"/computes/troubled$", kind="expired", skip=1, times=2))
    code, made, _ = create("troubled")
    assert (code, made["state"]) == (0, "Succeeded")


def test_command_that_was_killed_goes_on_from_what_is_there(create: Callable[..., Any], service: Service) -> None:
    service.computes.looks = 4
    command = subprocess.Popen([TANDEM, "compute", "create", "begun-twice"], stderr=subprocess.PIPE)
    assert command.stderr is not None
    for line in command.stderr:
        if b"Creating, " in line:
            break
    command.kill()
    command.communicate()
    code, found, said = create("begun-twice")
    assert (code, found["created"], found["state"]) == (0, False, "Succeeded")
    assert "begun-twice is being made already" in said
    assert puts(service, "begun-twice") == 1


def test_missing_variables_are_all_named_before_the_sdk_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from flows.cli.main import main; code = main(['compute', 'create'])\n"
        "print(code, [name for name in sys.modules if name.startswith('azure')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert all(variable in done.stderr for variable in WORKSPACE_VARIABLES)
    assert done.stdout == "2 []\n"


@pytest.mark.parametrize("name", ["", "a", "1st", "under_score", "two--hyphens", "end-", "a/b", "white space"])
def test_wrong_name_is_refused_before_anything_is_asked(
    create: Callable[..., Any], service: Service, name: str
) -> None:
    code, made, said = create(name)
    assert (code, made) == (2, None)
    assert "cannot be the name of a compute target" in said
    assert not service.requests


def test_file_that_defines_no_compute_target_is_named(tmp_path: Path) -> None:
    (tmp_path / "compute.yml").write_text(FILE.read_text().replace("max_instances: 2", "max_instances: two"))
    with pytest.raises(SettingsError, match=r"compute.yml does not define a compute target: .*max_instances.*integer"):
        defined(tmp_path / "compute.yml")


def test_other_kinds_of_compute_target_differ_in_their_type() -> None:
    asked = defined()
    instance = type(asked)(asked.name, "computeinstance", size=asked.size, state="Succeeded")
    assert "type" in compute_differences(asked, instance)
    assert described(instance) == "computeinstance, STANDARD_DS2_V2"
