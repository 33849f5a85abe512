"""A plan says of choices and loops what is known before the job runs."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flows.cli.main import main
from tests.spec.test_control_flow import COUNT

JOB = """\
type: pipeline
settings: {default_compute: serverless}
jobs:
  check: {component: ./count.yml, inputs: {number: 1}}
  choice: {type: if_else, condition: '${{parent.jobs.check.outputs.more}}', true_block: '${{parent.jobs.then}}'}
  then: {component: ./count.yml, inputs: {number: 2}}
  again: {component: ./count.yml, inputs: {number: 3}}
  while: {type: do_while, body: '${{parent.jobs.again}}', condition: more, mapping: {next: number},
    limits: {max_iteration_count: 5}}
  each: {component: ./count.yml}
  loop: {type: parallel_for, body: '${{parent.jobs.each}}', items: [{number: 1}, {number: 2}, {number: 3}],
    max_concurrency: 2}
"""


@pytest.fixture
def job(tmp_path: Path, write: Callable[[Mapping[str, str]], None], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path / "home"))
    write({"job.yml": JOB, "count.yml": COUNT})
    return str(tmp_path / "job.yml")


def test_a_plan_tells_how_often_and_under_which_condition_a_step_would_run(
    job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", job]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for note in (
        "then if check.more is true, else nothing",
        "only if check.more is true (choice)",
        "up to 5 times, while more is true (while)",
        "runs again up to 5 times, while more is true",
        "for each of 3 items, 2 at once (loop)",
    ):
        assert note in said


def test_a_graph_draws_choices_and_loops_with_what_they_decide(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", job, "--mermaid"]) == 0
    lines = capsys.readouterr().out.splitlines()
    node = {
        name: next(line.split("[")[0].split("{")[0] for line in lines if f'"{name}"' in line)
        for name in ("choice", "then", "again", "while", "each", "loop")
    }
    node = {name: text.strip() for name, text in node.items()}
    edges = {line.strip() for line in lines}
    assert f"{node['choice']} -->|true| {node['then']}" in edges
    assert f'{node["again"]} -->|"up to 5 times, while more is true"| {node["while"]}' in edges
    assert f'{node["each"]} -->|"for each of 3 items, 2 at once"| {node["loop"]}' in edges
    assert f'    {node["choice"]}{{"choice"}}' in lines
