"""How far a scoring has come, told to whoever listens: the progress bar of a command."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How many rows are written, and which share of the input that is, 0 to 1."""

    rows: int
    share: float


_listener: ContextVar[Callable[[Progress], object] | None] = ContextVar("progress_listener", default=None)


@contextmanager
def listening_to_progress(listener: Callable[[Progress], object]) -> Generator[None]:
    """A block whose scorings pass their progress to ``listener``, which is called in the event loop."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(progress: Progress) -> None:
    """Pass progress to the listener, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(progress)
