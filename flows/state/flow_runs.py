"""The entry of a flow run among those who use the local state, for as long as its function runs."""

from collections.abc import Generator
from contextlib import contextmanager

from prefect.context import TagsContext
from prefect.runtime import deployment, flow_run

from flows.settings import Settings
from flows.state.living import begin, current, parent


@contextmanager
def written_down() -> Generator[None]:
    """Write down that the current flow run uses the local state, unless its process has an entry already.

    A command has one, under which its flow runs are found by their tag; the task runs do not get that tag too.
    """
    with TagsContext(current_tags=set()):
        if current() is not None:
            yield
            return
        id = str(flow_run.id)
        worker = None if deployment.id is None else parent()
        # The API is that of the local state or the worker's: whoever finds the entry asks where it is told to.
        entry = begin(Settings.from_environment().home, f"flow run {flow_run.name}", flow_run=id, worker=worker)
        try:
            yield
        finally:
            entry.end()
