"""The seam between the flows and the engines: whatever is in the table of engines can be run on, and is not named."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from flows.engines.open_engine import ENGINES
from tests.terminal import PROJECT

THIRD = Path(__file__).with_name("instant.py")


def comparisons(tree: ast.AST) -> Iterator[ast.Constant]:
    """What is compared with the name of an engine: by an operator, as a member, as a key, or in a ``match``."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare():
                parts = [node.left, *node.comparators]
            case ast.MatchValue():
                parts = [node.value]
            case _:
                continue
        for part in parts:
            for constant in ast.walk(part):
                if isinstance(constant, ast.Constant) and constant.value in ENGINES:
                    yield constant


def test_no_module_outside_of_the_engines_compares_the_name_of_one() -> None:
    found = [
        f"{file.relative_to(PROJECT)}:{constant.lineno}"
        for folder in ("flows", "deployments")
        for file in (PROJECT / folder).rglob("*.py")
        if PROJECT / "flows" / "engines" not in file.parents
        for constant in comparisons(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_third_engine_runs_both_training_flows_and_any_yaml(prefect_api: str, home: Path, tmp_path: Path) -> None:
    """Its only trace is an entry in the table of engines."""
    done = subprocess.run(
        [sys.executable, THIRD, tmp_path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "said.json").read_text()) == {
        "pipeline": {"engine": "instant", "verdict": "Promoted", "version": 1, "steps": 4},
        "again": {"engine": "instant", "verdict": "Rejected", "version": None, "steps": 4},
        "job": {"engine": "instant", "verdict": "Registered", "version": 1, "steps": 1},
        "run": {"code": 0, "outputs": ["counted"], "text": "instant\n"},
        "register": {"code": 0, "names": ["rows"]},
    }
