"""Choices and loops run on both engines, with the same steps, values and outputs."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from tests.conftest import Write
from tests.engines.jobs import COMPUTE, FOLDER, JobRunner, command, delivered_by, pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many


@pytest.fixture(params=["local", "azureml"])
def jobs(request: pytest.FixtureRequest) -> JobRunner:
    return request.getfixturevalue("local_jobs" if request.param == "local" else "azure_jobs")


def component(text: str, inputs: Mapping[str, str] = {}, outputs: Mapping[str, str] = {}) -> str:
    """A component, as YAML: its inputs and outputs by their types, with a question mark where an input is optional."""
    ports = {
        name: {"type": kind.rstrip("?"), **({"optional": True} if kind.endswith("?") else {})}
        for name, kind in inputs.items()
    }
    return json.dumps(
        {**command(text, inputs=ports, outputs={name: {"type": kind} for name, kind in outputs.items()}), "name": "own"}
    )


def runs(name: str) -> str:
    return f"${{{{parent.jobs.{name}}}}}"


# Counts one further, and says whether it is still below a limit.
COUNT = component(
    "n=$(( ${{inputs.number}} + 1 )); echo $n > ${{outputs.next}}; "
    "test $n -lt ${{inputs.limit}} && echo True > ${{outputs.more}} || echo False > ${{outputs.more}}; "
    "cp -r $[[${{inputs.before}}/.]] ${{outputs.out}} 2>/dev/null; echo $n >> ${{outputs.out}}/said",
    {"number": "integer", "limit": "integer", "before": "uri_folder?"},
    {"out": "uri_folder", "next": "integer", "more": "boolean"},
)
SAY = component("echo ${{inputs.word}} > ${{outputs.out}}/said", {"word": "string"}, {"out": "uri_folder"})


def count(number: Any = 0, limit: int = 3, **more: Any) -> Any:
    return {"type": "command", "component": "./count.yml", "inputs": {"number": number, "limit": limit}, **more}


def say(word: str, **more: Any) -> Any:
    return {"type": "command", "component": "./say.yml", "inputs": {"word": word}, **more}


@pytest.mark.parametrize(("limit", "chosen"), [(3, "yes"), (1, "no")])
def test_a_choice_runs_one_block_and_leaves_the_other_out(
    jobs: JobRunner, write: Write, limit: int, chosen: str
) -> None:
    out = {"out": "${{parent.outputs.out}}"}
    steps = {
        "asks": count(limit=limit),
        "choice": {
            "type": "if_else",
            "condition": delivered_by("asks", "more"),
            "true_block": runs("yes"),
            "false_block": [runs("no"), runs("neither")],
        },
        "yes": say("yes", **({"outputs": out} if chosen == "yes" else {})),
        "no": say("no", **({"outputs": out} if chosen == "no" else {})),
        "neither": say("neither"),
        "reads_yes": command("echo ${{inputs.it}}", inputs={"it": {"path": delivered_by("yes"), "type": "uri_folder"}}),
    }
    write({"job.yml": pipeline(steps, outputs={"out": FOLDER}), "count.yml": COUNT, "say.yml": SAY})

    ran = jobs.run(fetch=("out",))

    assert (ran.fetched["out"] / "said").read_text() == f"{chosen}\n"
    left_out = {"yes", "reads_yes"} if chosen == "no" else {"no", "neither"}
    assert ran.statuses() == {name: "NotStarted" if name in left_out else "Completed" for name in ran.statuses()}
    assert ran.outcome.raise_for_status() is ran.outcome
    states = ran.states()
    assert {name for name in states if states[name] == "NotStarted"} == left_out
    assert "the condition of choice was" in ran.step("no" if chosen == "yes" else "yes").message
    assert ("choice", chosen) in ran.edges()


def test_a_loop_feeds_each_iteration_with_what_the_one_before_delivered(jobs: JobRunner, write: Write) -> None:
    last = {"out": "${{parent.outputs.last}}"}
    steps = {
        "body": count(limit=3, outputs={"out": "${{parent.outputs.out}}"}),
        "loop": {
            "type": "do_while",
            "body": runs("body"),
            "condition": delivered_by("body", "more"),
            "mapping": {"next": ["number"], "out": "before"},
            "limits": {"max_iteration_count": 10},
        },
        "after": {"component": "./number.yml", "inputs": {"word": delivered_by("body", "next")}, "outputs": last},
    }
    number = SAY.replace('"string"', '"integer"')
    write(
        {
            "job.yml": pipeline(steps, outputs={"out": FOLDER, "last": FOLDER}),
            "count.yml": COUNT,
            "number.yml": number,
        }
    )

    ran = jobs.run(fetch=("out", "last"))

    assert ran.statuses() == dict.fromkeys(("body-1", "body-2", "body-3", "loop", "after"), "Completed")
    assert (ran.fetched["out"] / "said").read_text() == "1\n2\n3\n"
    assert (ran.fetched["last"] / "said").read_text() == "3\n"
    assert set(ran.task_runs) == {"body-1", "body-2", "body-3", "loop", "after"}
    assert ("loop", "after") in ran.edges()


# Counts twice in a row, and says what the second says.
TWICE = json.dumps(
    {
        "type": "pipeline",
        "inputs": {"number": {"type": "integer", "default": 0}, "before": {"type": "uri_folder", "optional": True}},
        "outputs": {"out": FOLDER, "next": {"type": "integer"}, "more": {"type": "boolean"}},
        "jobs": {
            "first": {
                "component": "./count.yml",
                "inputs": {"number": "${{parent.inputs.number}}", "limit": 4, "before": "${{parent.inputs.before}}"},
            },
            "second": {
                "component": "./count.yml",
                "inputs": {"number": delivered_by("first", "next"), "limit": 4, "before": delivered_by("first")},
                "outputs": {name: f"${{{{parent.outputs.{name}}}}}" for name in ("out", "next", "more")},
            },
        },
    }
)


def test_a_loop_repeats_a_whole_pipeline(jobs: JobRunner, write: Write) -> None:
    steps = {
        "body": {"type": "pipeline", "component": "./twice.yml"},
        "loop": {
            "type": "do_while",
            "body": runs("body"),
            "condition": delivered_by("body", "more"),
            "mapping": {"next": "number", "out": "before"},
            "limits": {"max_iteration_count": 5},
        },
        "after": {
            "component": "./read.yml",
            "inputs": {"read": delivered_by("body")},
            "outputs": {"out": "${{parent.outputs.out}}"},
        },
    }
    read = component("cp ${{inputs.read}}/said ${{outputs.out}}/said", {"read": "uri_folder"}, {"out": "uri_folder"})
    write(
        {"job.yml": pipeline(steps, outputs={"out": FOLDER}), "twice.yml": TWICE, "count.yml": COUNT, "read.yml": read}
    )

    ran = jobs.run(fetch=("out",))

    iterations = {f"body-{number}.{step}" for number in (1, 2) for step in ("first", "second")}
    assert ran.statuses() == dict.fromkeys((*iterations, "loop", "after"), "Completed")
    assert (ran.fetched["out"] / "said").read_text() == "1\n2\n3\n4\n"


def test_a_job_of_a_pipeline_component_runs_the_choice_in_it(jobs: JobRunner, write: Write) -> None:
    inner = pipeline(
        {
            "counts": {"type": "pipeline", "component": "./twice.yml", "inputs": {"number": 2}},
            "choice": {"type": "if_else", "condition": delivered_by("counts", "more"), "true_block": runs("yes")},
            "yes": say("yes"),
            "says": {
                "component": "./say.yml",
                "inputs": {"word": "${{parent.inputs.word}}"},
                "outputs": {"out": "${{parent.outputs.out}}"},
            },
        },
        inputs={"word": {"type": "string", "default": "more"}},
        outputs={"out": FOLDER},
    )
    whole = {"type": "pipeline", "component": "./inner.yml", "settings": {"default_compute": COMPUTE}}
    files = {"inner.yml": inner, "twice.yml": TWICE, "count.yml": COUNT, "say.yml": SAY}
    write({"job.yml": json.dumps({**whole, "outputs": {"out": FOLDER}}), **files})

    ran = jobs.run(fetch=("out",))

    completed = dict.fromkeys(("counts.first", "counts.second", "choice", "says"), "Completed")
    assert ran.statuses() == {**completed, "yes": "NotStarted"}
    assert (ran.fetched["out"] / "said").read_text() == "more\n"


def test_a_loop_without_a_condition_ends_with_its_limit(jobs: JobRunner, write: Write) -> None:
    steps = {
        "body": count(limit=100),
        "loop": {
            "type": "do_while",
            "body": runs("body"),
            "mapping": {"next": "number"},
            "limits": {"max_iteration_count": 2},
        },
    }
    write({"job.yml": pipeline(steps), "count.yml": COUNT})

    ran = jobs.run()

    assert ran.statuses() == dict.fromkeys(("body-1", "body-2", "loop"), "Completed")


@pytest.mark.parametrize("as_text", [False, True], ids=["in the file", "of an input"])
def test_a_loop_over_items_runs_its_body_for_each_and_collects_what_they_deliver(
    jobs: JobRunner, write: Write, as_text: bool
) -> None:
    items: Any = [{"word": "one"}, {"word": "two"}, {"word": "three"}]
    steps = {
        "body": {"type": "command", "component": "./say.yml"},
        "loop": {
            "type": "parallel_for",
            "body": runs("body"),
            "items": "${{parent.inputs.items}}" if as_text else items,
            "max_concurrency": 2,
            "outputs": {"out": "${{parent.outputs.out}}", "length": None},
        },
        "after": {
            "type": "command",
            "component": "./join.yml",
            "inputs": {"table": delivered_by("loop"), "lengths": delivered_by("loop", "length")},
            "outputs": {"out": "${{parent.outputs.joined}}"},
        },
    }
    text = "echo ${{inputs.word}} > ${{outputs.out}}/said; echo ${{inputs.word}} | wc -c > ${{outputs.length}}"
    join = "cat ${{inputs.table}}/*/said > ${{outputs.out}}/said; echo '${{inputs.lengths}}' >> ${{outputs.out}}/said"
    write(
        {
            "job.yml": pipeline(
                steps,
                inputs={"items": json.dumps(items)} if as_text else {},
                outputs={"out": {"type": "mltable"}, "joined": FOLDER},
            ),
            "say.yml": component(text, {"word": "string"}, {"out": "uri_folder", "length": "integer"}),
            "join.yml": component(join, {"table": "mltable", "lengths": "string"}, {"out": "uri_folder"}),
        }
    )

    ran = jobs.run(fetch=("out", "joined"))

    assert ran.statuses() == dict.fromkeys(("body-1", "body-2", "body-3", "loop", "after"), "Completed")
    assert (ran.fetched["joined"] / "said").read_text() == "one\ntwo\nthree\n[4, 4, 6]\n"
    assert "MLTable" in {path.name for path in ran.fetched["out"].iterdir()}


def test_a_step_that_fails_in_an_iteration_fails_its_loop_and_what_reads_from_it(jobs: JobRunner, write: Write) -> None:
    steps = {
        "body": {"type": "command", "component": "./fails.yml"},
        "loop": {"type": "parallel_for", "body": runs("body"), "items": [{"word": "fine"}, {"word": "bad"}]},
        "after": {"type": "command", "component": "./reads.yml", "inputs": {"table": delivered_by("loop")}},
    }
    fails = component(
        "test ${{inputs.word}} = fine && echo > ${{outputs.out}}/x", {"word": "string"}, {"out": "uri_folder"}
    )
    write(
        {
            "job.yml": pipeline(steps),
            "fails.yml": fails,
            "reads.yml": component("ls ${{inputs.table}}", {"table": "mltable"}),
        }
    )

    ran = jobs.run()

    assert str(ran.outcome.status) == "Failed"
    statuses = ran.statuses()
    assert (statuses["body-1"], statuses["body-2"], statuses["after"]) == ("Completed", "Failed", "NotStarted")
    assert statuses["loop"] != "Completed"


DSL = """
from azure.ai.ml import load_component
from azure.ai.ml.dsl import pipeline
from azure.ai.ml.dsl._condition import condition
from azure.ai.ml.dsl._do_while import do_while
from azure.ai.ml.dsl._parallel_for import parallel_for

count, say = load_component("count.yml"), load_component("say.yml")

@pipeline(default_compute="cpu-cluster-01")
def whole(word: str = "more"):
    body = count(number=0, limit=2)
    do_while(
        body=body,
        condition=body.outputs.more,
        mapping={body.outputs.next: body.inputs.number, body.outputs.out: [body.inputs.before]},
        max_iteration_count=5,
    )
    each = say()
    parallel_for(body=each, items=[{"word": "a"}, {"word": word}])
    yes, no = say(word=word), say(word="fewer")
    condition(condition=body.outputs.more, true_block=yes, false_block=[no])
    return {"out": body.outputs.out}

whole().dump("job.yml")
"""


def test_a_pipeline_of_the_clients_own_python_functions_runs_from_the_yaml_that_it_is_dumped_to(
    jobs: JobRunner, write: Write
) -> None:
    write({"count.yml": COUNT, "say.yml": SAY, "dsl.py": DSL})
    # Without this, the client dumps no control flow.
    variables = {**os.environ, "AZURE_ML_CLI_PRIVATE_FEATURES_ENABLED": "true"}
    subprocess.run([sys.executable, "-W", "ignore", "dsl.py"], cwd=jobs.folder, env=variables, check=True, timeout=300)

    ran = jobs.run(fetch=("out",))

    completed = ("body-1", "body-2", "dowhile", "each-1", "each-2", "parallelfor", "conditionnode", "no")
    assert ran.statuses() == {**dict.fromkeys(completed, "Completed"), "yes": "NotStarted"}
    assert (ran.fetched["out"] / "said").read_text() == "1\n2\n"
