"""Choices and loops on this machine: whole pipelines as bodies, reuse, resumption, cancellation and wrong values."""

import asyncio
import json
import os
import select
from typing import Any

import pytest

from flows.cli.plan.why import explain, explanation_as_text
from flows.settings import Settings
from tests.conftest import Write
from tests.engines.conftest import Await
from tests.engines.jobs import DEADLINE_SECONDS, FOLDER, JobRunner, command, delivered_by, pipeline
from tests.engines.test_control_flow import COUNT, SAY, component, count, runs, say

LOOP = {
    "type": "do_while",
    "body": runs("body"),
    "condition": delivered_by("body", "more"),
    "mapping": {"next": "number"},
    "limits": {"max_iteration_count": 10},
}


def test_a_body_may_be_a_pipeline_with_choices_and_loops_of_its_own(local_jobs: JobRunner, write: Write) -> None:
    above = {name: f"${{{{parent.outputs.{name}}}}}" for name in ("out", "next", "more")}
    nested = {
        "type": "pipeline",
        "inputs": {"number": {"type": "integer"}},
        "outputs": {"out": FOLDER, "next": {"type": "integer"}, "more": {"type": "boolean"}},
        "jobs": {
            "fit": {**count("${{parent.inputs.number}}", limit=2), "outputs": above},
            "choice": {"type": "if_else", "condition": delivered_by("fit", "more"), "true_block": runs("yes")},
            "yes": say("yes"),
            "each": {"type": "command", "component": "./say.yml"},
            "inner": {"type": "parallel_for", "body": runs("each"), "items": {"a": {"word": "x"}, "b": {"word": "y"}}},
        },
    }
    steps = {
        "body": {"type": "pipeline", "component": "./nested.yml", "inputs": {"number": 0}},
        "loop": LOOP,
        "after": command(
            "cp -r ${{inputs.it}}/. ${{outputs.out}}",
            inputs={"it": {"type": "uri_folder", "path": delivered_by("body")}},
            outputs={"out": "${{parent.outputs.out}}"},
        ),
    }
    write(
        {
            "job.yml": pipeline(steps, outputs={"out": FOLDER}),
            "nested.yml": json.dumps(nested),
            "count.yml": COUNT,
            "say.yml": SAY,
        }
    )

    ran = local_jobs.run(fetch=("out",))

    first, second = (
        [f"body-{number}.{name}" for name in ("fit", "choice", "yes", "each-a", "each-b", "inner")] for number in (1, 2)
    )
    left_out = "body-2.yes"
    assert sorted(ran.statuses()) == sorted([*first, *second, "loop", "after"])
    assert [name for name, status in ran.statuses().items() if status != "Completed"] == [left_out]
    assert (ran.fetched["out"] / "said").read_text() == "2\n"
    assert list(ran.statuses())[-2:] == ["loop", "after"]


def counting(folder: Any) -> dict[str, Any]:
    """A loop whose body notes each time that it runs, and waits for a file before it goes beyond 1."""
    text = (
        f"n=$(( ${{{{inputs.number}}}} + 1 )); echo $n >> {folder}/ran; test $n = 1 || test -e {folder}/go || exit 7; "
        "echo $n > ${{outputs.next}}; test $n -lt 3 && echo true > ${{outputs.more}} || echo false > ${{outputs.more}}"
    )
    body = component(text, {"number": "integer"}, {"next": "integer", "more": "boolean"})
    steps = {"body": {"type": "command", "component": "./body.yml", "inputs": {"number": 0}}, "loop": LOOP}
    return {"job.yml": pipeline(steps), "body.yml": body}


def test_a_loop_goes_on_where_an_earlier_try_ended_and_is_reused_whole_when_nothing_changed(
    local_jobs: JobRunner, write: Write
) -> None:
    write(counting(local_jobs.folder))

    failed = local_jobs.run()
    assert failed.statuses() == {"body-1": "Completed", "body-2": "Failed", "loop": "Failed"}

    (local_jobs.folder / "go").touch()
    again = local_jobs.run(local_jobs.request(job_name=failed.outcome.job_name))
    assert again.states() == {
        "body-1": "Cached",
        "body-2": "Completed",
        "body-3": "Completed",
        "loop": "Completed",
    }
    assert (local_jobs.folder / "ran").read_text().split() == ["1", "2", "2", "3"]
    assert again.step("loop").message == "Ended after 3 iterations: more was false."

    assert set(local_jobs.run().outcome.reused) == {"body-1", "body-2", "body-3"}


def test_why_a_step_ran_is_told_for_each_iteration_and_what_a_choice_decided(
    local_jobs: JobRunner, write: Write
) -> None:
    steps = {
        "body": count(limit=2),
        "loop": LOOP,
        "choice": {"type": "if_else", "condition": delivered_by("body", "more"), "true_block": runs("yes")},
        "yes": say("yes"),
    }
    write({"job.yml": pipeline(steps), "count.yml": COUNT, "say.yml": SAY})
    name = local_jobs.run().outcome.job_name
    settings = Settings(local_jobs.folder / "project", local_jobs.folder / "home", {})

    told = {step: explanation_as_text(explain(settings, step, name)) for step in ("body-2", "choice", "yes")}

    assert told["body-2"].startswith(f"body-2 ran in {name}")
    assert "The condition is false: nothing runs for it." in told["choice"]
    assert "the condition of choice was false" in told["yes"]


def test_the_items_of_a_loop_may_be_written_by_a_step(local_jobs: JobRunner, write: Write) -> None:
    lists = component("""echo '[{"word": "a"}, {"word": "b"}]' > ${{outputs.items}}""", outputs={"items": "string"})
    steps = {
        "lists": {"type": "command", "component": "./lists.yml"},
        "body": {"type": "command", "component": "./say.yml"},
        "loop": {"type": "parallel_for", "body": runs("body"), "items": delivered_by("lists", "items")},
    }
    write({"job.yml": pipeline(steps), "say.yml": SAY, "lists.yml": lists})

    assert local_jobs.run().statuses() == dict.fromkeys(("lists", "body-1", "body-2", "loop"), "Completed")

    write({"job.yml": pipeline(steps), "lists.yml": lists.replace("word", "other")})
    ran = local_jobs.run()
    assert ran.statuses() == {"lists": "Completed", "loop": "Failed"}
    assert "an item gives 'other', which is no input of the body" in ran.step("loop").message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo maybe > ${{outputs.flag}}", "wrote 'maybe' to its output flag, which is neither true nor false"),
        ("true", "ended well but did not write its output flag"),
    ],
)
def test_a_step_fails_whose_literal_output_is_no_value_of_its_type(
    local_jobs: JobRunner, write: Write, text: str, reason: str
) -> None:
    steps = {
        "asks": {"type": "command", "component": "./asks.yml"},
        "choice": {"type": "if_else", "condition": delivered_by("asks", "flag"), "true_block": runs("yes")},
        "yes": say("yes"),
    }
    write({"job.yml": pipeline(steps), "asks.yml": component(text, outputs={"flag": "boolean"}), "say.yml": SAY})

    ran = local_jobs.run()

    assert ran.statuses() == {"asks": "Failed", "choice": "NotStarted", "yes": "NotStarted"}
    assert reason in ran.step("asks").message
    assert ran.step("yes").message == "The step yes did not run: choice was not decided."


def test_what_iterations_have_started_ends_when_the_flow_is_cancelled_and_no_further_one_begins(
    local_jobs: JobRunner, write: Write, run: Await
) -> None:
    pipe = local_jobs.folder / "pids"
    os.mkfifo(pipe)
    text = f"echo ${{{{inputs.word}}}} >> {local_jobs.folder}/ran; echo $$ > {pipe}; sleep 1000"
    steps = {
        "body": {"type": "command", "component": "./waits.yml"},
        "loop": {
            "type": "parallel_for",
            "body": runs("body"),
            "items": [{"word": "a"}, {"word": "b"}],
            "max_concurrency": 1,
        },
    }
    write({"job.yml": pipeline(steps), "waits.yml": component(text, {"word": "string"})})

    async def cancelled() -> int:
        running = asyncio.create_task(local_jobs.running(local_jobs.request()))
        pid = await asyncio.to_thread(pipe.read_text)
        end = os.pidfd_open(int(pid))
        running.cancel()
        await asyncio.wait([running], timeout=DEADLINE_SECONDS)
        assert running.done()
        return end

    end = run(cancelled())
    assert select.select([end], [], [], DEADLINE_SECONDS)[0]
    os.close(end)
    assert (local_jobs.folder / "ran").read_text() == "a\n"
