"""What the engines' tests share: one event loop, and files written from text."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextvars import copy_context
from pathlib import Path
from textwrap import dedent
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
Await = Callable[[Coroutine[Any, Any, Any]], Any]
Write = Callable[..., Path]


@pytest.fixture(scope="session")
def run() -> Iterator[Await]:
    """Run a coroutine on the session's event loop, which lives on between tests as the processes on it do."""
    with asyncio.Runner() as runner:
        yield lambda coroutine: runner.run(coroutine, context=copy_context())  # with the fixtures' settings of Prefect


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files, given by their path in the test's folder, and return that folder."""

    def _write(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text), encoding="utf-8")
        return tmp_path

    return _write
