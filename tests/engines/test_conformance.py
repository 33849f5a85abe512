"""What an engine does, whichever it is: every test here runs on this machine and on Azure ML."""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.engines.engine import Engine
from flows.engines.plan.environment import environment_version
from flows.engines.runs import PipelineRequest, RunOutcome
from flows.engines.step_events import StepEvent, listening_to_steps
from flows.errors import RunError, StepFailed
from tests.conftest import Write
from tests.engines.jobs import FILE, FOLDER, JobRunner, Ran, command, delivered_by, job, pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many


@pytest.fixture(params=["local", "azureml"])
def jobs(request: pytest.FixtureRequest) -> JobRunner:
    return request.getfixturevalue("local_jobs" if request.param == "local" else "azure_jobs")


# Steps that need nothing of each other; the tests below look at what each has delivered in one run of them all.
INDEPENDENT = """
    type: pipeline
    settings: {default_compute: azureml:cpu-cluster-01}
    inputs: {above: 1.0e-3, flag_above: false}
    outputs:
      file: {type: uri_file}
      folder: {type: uri_folder}
      literals: {type: uri_folder}
      variables: {type: uri_folder}
    jobs:
      delivers:
        type: command
        environment: {image: "ubuntu:22.04"}
        outputs: {file: "${{parent.outputs.file}}", folder: "${{parent.outputs.folder}}"}
        command: >-
          echo 1 > ${{outputs.file}}; mkdir ${{outputs.folder}}/deep; echo 2 > ${{outputs.folder}}/deep/two
      variables:
        type: command
        environment: {image: "ubuntu:22.04"}
        environment_variables: {OWN: "${{inputs.rate}} is not put in here"}
        inputs: {rate: 0.1}
        outputs: {out: "${{parent.outputs.variables}}"}
        command: >-
          test -d outputs && test "$AZURE_ML_OUTPUT_out" = ${{outputs.out}} &&
          echo "$OWN, $AZURE_ML_INPUT_rate, $AZUREML_ROOT_RUN_ID, $MLFLOW_EXPERIMENT_NAME" > ${{outputs.out}}/said
      literals:
        type: command
        environment: {image: "ubuntu:22.04"}
        inputs:
          whole: 3
          real: 1.0
          octal: 010
          small: 1.0e-3
          dotless: 1e-3
          large: 100000000000000000000
          flag: true
          word: "true"
          digits: "010"
          empty: ""
          blank: " "
          nothing: "None"
          spaces: "  two  words  "
          quotes: it's "quoted" \\ $HOME
          unicode: naïve ✓ 糖尿病
          above: ${{parent.inputs.above}}
          flag_above: ${{parent.inputs.flag_above}}
        outputs: {out: "${{parent.outputs.literals}}"}
        command: |
          cat > ${{outputs.out}}/said <<'END'
          whole=${{inputs.whole}}.
          real=${{inputs.real}}.
          octal=${{inputs.octal}}.
          small=${{inputs.small}}.
          dotless=${{inputs.dotless}}.
          large=${{inputs.large}}.
          flag=${{inputs.flag}}.
          word=${{inputs.word}}.
          digits=${{inputs.digits}}.
          empty=${{inputs.empty}}.
          blank=${{inputs.blank}}.
          nothing=${{inputs.nothing}}.
          spaces=${{inputs.spaces}}.
          quotes=${{inputs.quotes}}.
          unicode=${{inputs.unicode}}.
          above=${{inputs.above}}.
          flag_above=${{inputs.flag_above}}.
          END
          echo "variables=$AZURE_ML_INPUT_quotes $AZURE_ML_INPUT_flag" >> ${{outputs.out}}/said
"""


_independent: dict[str, Ran] = {}


@pytest.fixture
def independent(jobs: JobRunner, write: Write) -> Ran:
    """The independent steps, run once on each engine."""
    if jobs.engine not in _independent:
        write({"job.yml": INDEPENDENT})
        _independent[jobs.engine] = jobs.run(fetch=("file", "folder", "literals", "variables"))
    return _independent[jobs.engine]


def test_named_outputs_are_fetched_as_the_file_or_folder_that_they_are(independent: Ran) -> None:
    assert str(independent.outcome.status) == "Completed"
    assert independent.fetched["file"].read_text() == "1\n"
    assert (independent.fetched["folder"] / "deep" / "two").read_text() == "2\n"


def test_command_finds_its_variables_and_its_outputs_folder(independent: Ran) -> None:
    assert (independent.fetched["variables"] / "said").read_text() == (
        f"${{{{inputs.rate}}}} is not put in here, 0.1, {independent.outcome.job_name}, tests\n"
    )


def test_literals_of_every_type_arrive_as_the_same_text(independent: Ran) -> None:
    said = (independent.fetched["literals"] / "said").read_text()

    assert said.splitlines() == [
        "whole=3.",
        "real=1.0.",
        "octal=8.",
        "small=0.001.",
        "dotless=1e-3.",
        "large=100000000000000000000.",
        "flag=True.",
        "word=true.",
        "digits=010.",
        "empty=.",
        "blank= .",
        "nothing=None.",
        "spaces=  two  words  .",
        'quotes=it\'s "quoted" \\ $HOME.',
        "unicode=naïve ✓ 糖尿病.",
        "above=0.001.",
        "flag_above=False.",
        'variables=it\'s "quoted" \\ $HOME True',
    ]


def test_steps_read_the_files_and_folders_that_the_steps_before_them_delivered(jobs: JobRunner, write: Write) -> None:
    copies = "cp ${{inputs.file}} ${{outputs.out}}/one; cp -r ${{inputs.folder}} ${{outputs.out}}/two"
    steps = {
        "join": command(
            copies,
            inputs={"file": delivered_by("file"), "folder": delivered_by("folder")},
            outputs={"out": "${{parent.outputs.out}}"},
        ),
        "file": command("echo 1 > ${{outputs.out}}", outputs={"out": FILE}),
        "folder": command(
            "cp ${{inputs.it}} ${{outputs.out}}/copy", inputs={"it": delivered_by("file")}, outputs={"out": FOLDER}
        ),
    }
    write({"job.yml": pipeline(steps, outputs={"out": FOLDER})})

    ran = jobs.run(fetch=("out",))

    assert (ran.fetched["out"] / "one").read_text() == (ran.fetched["out"] / "two" / "copy").read_text() == "1\n"
    assert [step.name for step in ran.outcome.steps] == ["file", "folder", "join"]
    assert ran.states() == dict.fromkeys(("file", "folder", "join"), "Completed")
    assert ran.edges() == {("file", "folder"), ("file", "join"), ("folder", "join")}


TOLERANT = {
    **command("echo with $[[--file ${{inputs.file}}]] > ${{outputs.out}}/said", outputs={"out": FOLDER}),
    "name": "tolerant",
    "inputs": {"file": {**FILE, "optional": True}},
}


def test_failing_step_takes_only_its_dependants_with_it(jobs: JobRunner, write: Write) -> None:
    """A step that reads the failed one through an optional input is none of them: it runs without it."""
    steps = {
        "fails": command("seq 30; echo last words >&2; exit 3", outputs={"out": FILE}),
        "independent": command("echo fine"),
        "dependant": command("echo never", inputs={"it": delivered_by("fails")}, outputs={"out": FOLDER}),
        "further": command("echo never", inputs={"it": delivered_by("dependant")}),
        "tolerant": {
            "component": "./tolerant.yml",
            "inputs": {"file": delivered_by("fails")},
            "outputs": {"out": "${{parent.outputs.out}}"},
        },
    }
    write({"job.yml": pipeline(steps, outputs={"out": FOLDER}), "tolerant.yml": json.dumps(TOLERANT)})

    ran = jobs.run(fetch=("out",))

    assert str(ran.outcome.status) == "Failed"
    assert ran.statuses() == {
        "fails": "Failed",
        "independent": "Completed",
        "dependant": "NotStarted",
        "further": "NotStarted",
        "tolerant": "Completed",
    }
    assert (ran.fetched["out"] / "said").read_text() == "with\n"
    assert ran.states() == {
        "fails": "Failed",
        "independent": "Completed",
        "dependant": "NotReady",
        "further": "NotReady",
        "tolerant": "Completed",
    }
    assert ran.edges() == {("fails", "dependant"), ("dependant", "further")}
    assert all(run.end_time is not None for run in ran.task_runs.values())  # in the graph, no bar grows for ever
    with pytest.raises(StepFailed, match="The step fails failed") as raised:
        ran.outcome.raise_for_status()
    assert "\n    30\n    last words" in str(raised.value)
    assert "    11\n" not in str(raised.value)
    assert ran.task_runs["fails"].state is not None
    assert ran.task_runs["fails"].state.message == ran.step("fails").message


def test_life_of_every_step_is_told_in_events_that_its_log_and_its_task_run_agree_with(
    jobs: JobRunner, write: Write
) -> None:
    text = f"echo {jobs.folder} > ${{{{outputs.out}}}}; sleep 0.3"
    steps = {
        "fine": command(text, outputs={"out": FILE}),
        "fails": command("exit 3", inputs={"it": delivered_by("fine")}, outputs={"out": FILE}),
        "never": command("echo never", inputs={"it": delivered_by("fails")}),
    }
    write({"job.yml": pipeline(steps)})
    jobs.run()
    events: list[StepEvent] = []
    with listening_to_steps(events.append):
        ran = jobs.run(jobs.request(inputs={}))
    lives = {name: [event for event in events if event.step == name] for name in steps}
    told = {
        name: [event.phase.value for event in life if event.phase.value != "queued"] for name, life in lives.items()
    }
    assert told == {"fine": ["reused"], "fails": ["started", "failed"], "never": ["did not run"]}
    last = {name: life[-1] for name, life in lives.items()}
    assert {name: event.message for name, event in last.items()} == {name: ran.step(name).message for name in steps}
    for name in ("fails", "never"):
        state = ran.task_runs[name].state
        assert state is not None
        assert state.message == last[name].message
    begun, ended = lives["fails"][-2:]
    assert begun.at <= ended.at <= datetime.now(UTC)
    assert ended.seconds == ran.step("fails").seconds > 0


def test_no_step_starts_after_a_failure_that_is_to_stop_the_pipeline(jobs: JobRunner, write: Write) -> None:
    steps = {
        "fails": command("exit 1", outputs={"out": FILE}),
        "tolerant": {"component": "./tolerant.yml", "inputs": {"file": delivered_by("fails")}},
    }
    write({"job.yml": pipeline(steps, continue_on_step_failure=False), "tolerant.yml": json.dumps(TOLERANT)})

    assert jobs.run().statuses() == {"fails": "Failed", "tolerant": "NotStarted"}


def test_what_is_unchanged_is_reused_unless_a_run_is_forced_or_a_component_forbids_it(
    jobs: JobRunner, write: Write
) -> None:
    folder = jobs.folder
    fresh = {**command(f"echo ran >> {folder}/fresh.ran"), "name": "fresh", "is_deterministic": False}
    text = "cp ${{inputs.it}} ${{outputs.out}}/copy"
    steps = {
        "a": command(
            f"echo ran >> {folder}/a.ran; echo ${{{{inputs.word}}}} > ${{{{outputs.out}}}}",
            inputs={"word": "${{parent.inputs.word}}"},
            outputs={"out": FILE},
        ),
        "b": command(text, inputs={"it": delivered_by("a")}, outputs={"out": "${{parent.outputs.out}}"}),
        "fresh": {"component": "./fresh.yml"},
    }
    job = pipeline(steps, inputs={"word": f"first {folder.name}"}, outputs={"out": FOLDER})
    write({"job.yml": job, "fresh.yml": json.dumps(fresh)})

    def run(**asked: Any) -> tuple[tuple[str, ...], dict[str, str], str]:
        ran = jobs.run(jobs.request(**asked), fetch=("out",))
        return ran.outcome.reused, ran.states(), (ran.fetched["out"] / "copy").read_text()

    completed, cached = dict.fromkeys(("a", "b", "fresh"), "Completed"), dict.fromkeys(("a", "b"), "Cached")
    assert run() == ((), completed, f"first {folder.name}\n")
    assert run() == (("a", "b"), completed | cached, f"first {folder.name}\n")
    assert run(force_rerun=True) == ((), completed, f"first {folder.name}\n")
    assert run(inputs={"word": "second"}) == ((), completed, "second\n")
    assert (folder / "a.ran").read_text().split() == ["ran"] * 3
    assert (folder / "fresh.ran").read_text().split() == ["ran"] * 4


def test_same_request_is_the_same_job_however_often_it_is_submitted(jobs: JobRunner, write: Write) -> None:
    write({"job.yml": pipeline({"a": command(f"echo ran >> {jobs.folder}/ran")})})
    request = jobs.request()

    async def submitted_twice(engine: Engine) -> RunOutcome:
        await engine.submit(request)
        return await engine.wait(await engine.submit(request))

    first, again = jobs.in_flow(submitted_twice), jobs.run(request).outcome

    assert (str(first.status), first.job_name) == (str(again.status), again.job_name) == ("Completed", request.job_name)
    assert (jobs.folder / "ran").read_text() == "ran\n"


def test_step_that_exceeds_its_time_is_stopped_and_named(jobs: JobRunner, write: Write) -> None:
    """Azure ML cancels what exceeds its limit, which this machine takes for a failure: there it has no other cause."""
    write({"job.yml": pipeline({"slow": command("sleep 1000", limits={"timeout": 1})})})

    ran = jobs.run()

    assert ran.statuses() == {"slow": "Failed" if jobs.engine == "local" else "Canceled"}
    assert ran.states() == {"slow": "Failed" if jobs.engine == "local" else "Cancelled"}
    with pytest.raises(RunError, match="step slow"):
        ran.outcome.raise_for_status()


def test_job_of_one_command_is_a_task_run_too_takes_new_values_and_has_no_output_but_its_own(
    jobs: JobRunner, write: Write
) -> None:
    text = "echo ${{inputs.word}} $(cat ${{inputs.file}}) > ${{outputs.out}}/said"
    inputs = {"word": "its_own", "file": {**FILE, "path": "./its_own.txt"}}
    write({"job.yml": job(text, inputs=inputs, outputs={"out": FOLDER}), "its_own.txt": "its file", "new.txt": "a new"})
    new = {"word": "new", "file": jobs.folder / "new.txt"}

    own_request = jobs.request()
    own, given = jobs.run_all(own_request, jobs.request(inputs=new), fetch=("out",))

    assert (own.fetched["out"] / "said").read_text() == "its_own its file\n"
    assert (given.fetched["out"] / "said").read_text() == "new a new\n"
    assert own.states() == given.states() == {"job": "Completed"}
    with pytest.raises(RunError, match="no output 'other'"):
        jobs.run(own_request, fetch=("other",))  # of the same job, which has ended


def test_failed_job_of_one_command_is_told_with_the_end_of_its_log(jobs: JobRunner, write: Write) -> None:
    write({"job.yml": job("echo last words; exit 3")})

    ran = jobs.run()

    assert (ran.statuses(), ran.states()) == ({"job": "Failed"}, {"job": "Failed"})
    with pytest.raises(StepFailed, match=r"(?s)The step job failed.*last words"):
        ran.outcome.raise_for_status()


def test_data_is_a_file_or_folder_beside_the_yaml_or_a_data_asset(jobs: JobRunner, write: Write) -> None:
    asset = "conformance-rows"
    text = (
        "cp ${{inputs.file}} ${{outputs.out}}/file; cp ${{inputs.folder}}/deep/x ${{outputs.out}}/folder; "
        "cp ${{inputs.latest}} ${{outputs.out}}/latest; cp ${{inputs.fixed}} ${{outputs.out}}/fixed"
    )
    inputs = {
        "file": {**FILE, "path": "./rows.csv"},
        "folder": {**FOLDER, "path": "./rows"},
        "latest": {**FILE, "path": f"azureml:{asset}@latest"},
        "fixed": {**FILE, "path": f"azureml:{asset}:3"},
    }
    steps = {
        "a": command(
            text,
            inputs={name: f"${{{{parent.inputs.{name}}}}}" for name in inputs},
            outputs={"out": "${{parent.outputs.out}}"},
        )
    }
    description = f"name: {asset}\nversion: '3'\ntype: uri_file\npath: rows.csv\n"
    write(
        {
            "job.yml": pipeline(steps, inputs=inputs, outputs={"out": FOLDER}),
            "rows.csv": "a file",
            "rows/deep/x": "a folder",
            "project/data/rows/data.yml": description,
            "project/data/rows/rows.csv": "an asset",
        }
    )

    async def found(engine: Engine) -> list[str]:
        return [(await engine.resolve_data(text)).label for text in (asset, f"{asset}@latest", f"{asset}:3")]

    assert jobs.in_flow(found) == [f"{asset}:3"] * 3
    said = {path.name: path.read_text() for path in jobs.run(fetch=("out",)).fetched["out"].iterdir()}
    assert said == {"file": "a file", "folder": "a folder", "latest": "an asset", "fixed": "an asset"}


def test_outcome_has_the_tags_that_its_job_was_submitted_with_the_environment_and_the_engine(
    jobs: JobRunner, write: Write
) -> None:
    environment = "name: own\nimage: ubuntu:22.04\n"
    write({"job.yml": job("true", environment="azureml:own@latest"), "project/environment/own.yml": environment})

    tags = jobs.run(jobs.request(tags={"tandem.data": "rows:1"})).outcome.tags

    version = environment_version(jobs.folder / "project" / "environment" / "own.yml")
    assert {name: tags.get(name) for name in ("tandem.data", "tandem.environment", "tandem.engine")} == {
        "tandem.data": "rows:1",
        "tandem.engine": jobs.engine,
        "tandem.environment": f"own:{version}",
    }


def test_outcome_says_where_a_person_finds_the_job_and_which_run_it_is_tracked_as(
    jobs: JobRunner, write: Write
) -> None:
    write({"job.yml": job("true")})

    outcome = jobs.run().outcome

    assert Path(outcome.where).name == outcome.job_name
    assert outcome.mlflow_run_id


def test_what_a_job_delivers_is_registered_once_however_often_the_same_job_runs(jobs: JobRunner, write: Write) -> None:
    text = "mkdir -p ${{outputs.model}}; echo ${{inputs.rate}} > ${{outputs.model}}/weights"
    write({"job.yml": job(text, inputs={"rate": 0.1}, outputs={"model": FOLDER})})

    def identity(request: PipelineRequest) -> Callable[[Engine], Awaitable[Mapping[str, str]]]:
        async def body(engine: Engine) -> Mapping[str, str]:
            return await engine.identity(await engine.wait(await engine.submit(request)), "model")

        return body

    first, again, other = jobs.in_flows(
        identity(jobs.request()), identity(jobs.request()), identity(jobs.request(inputs={"rate": 0.2}))
    )

    assert first == again != other
