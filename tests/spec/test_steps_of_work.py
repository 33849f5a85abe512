"""Every step is made in one place, from all that is known of its work."""

import ast
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flows.settings import PROJECT
from flows.spec.model.control import IfElse
from flows.spec.model.job import Component, Distribution
from flows.spec.model.parallel import Parallel
from flows.spec.model.sweep import Objective, Sweep
from flows.spec.reading.work.component import Work


def test_a_step_has_every_field_of_its_work() -> None:
    values: dict[str, Any] = {
        "component": Component("fit", "python fit.py", Path("fit.yml")),
        "kind": "sweep",
        "parallel": Parallel("score.py", "files"),
        "sweep": Sweep({}, Objective("maximize", "auc"), 4),
        "control": IfElse(("a",)),
        "refusal": "is refused",
        "instance_count": 3,
        "distribution": Distribution("mpi", 2),
        "timeout_seconds": 60,
        "declared": MappingProxyType({"tags": {"a": "b"}}),
    }

    step = Work(**values).step("fit")

    assert values.keys() == {field.name for field in fields(Work)}
    assert {name: getattr(step, name) for name in values} == values


def test_a_step_is_made_in_one_place() -> None:
    calls = [
        (file.name, node.lineno)
        for file in (PROJECT / "flows").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Step"
    ]

    assert [file for file, _ in calls] == ["component.py"], calls
