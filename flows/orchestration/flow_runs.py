"""Record that a flow run uses the local state, for as long as its function runs."""

from collections.abc import Generator
from contextlib import contextmanager

from prefect.context import TagsContext
from prefect.runtime import deployment, flow_run
from prefect.settings import PREFECT_API_URL

from flows.machine.living import current, parent, record_process
from flows.prefect_api.server import elsewhere
from flows.settings import Settings


@contextmanager
def written_down() -> Generator[None]:
    """Record that the current flow run uses the local state, unless its process has an entry already.

    A command has an entry, and its flow runs are found by a tag. Their task runs do not get that tag.
    """
    with TagsContext(current_tags=set()):
        if current() is not None:
            yield
            return
        settings = Settings.from_environment()
        entry = record_process(
            settings.home,
            f"flow run {flow_run.name}",
            api=elsewhere(PREFECT_API_URL.value(), settings.prefect_home),
            flow_run=str(flow_run.id),
            worker=None if deployment.id is None else parent(),
        )
        try:
            yield
        finally:
            entry.end_if_settled()
