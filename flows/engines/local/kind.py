"""The local engine's entry in the table of engines."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.engines.kind import EngineKind, Where
from flows.settings import Settings

if TYPE_CHECKING:
    from flows.data.assets import ResolvedData
    from flows.engines.engine import Engine
    from flows.engines.polling import Timeouts
    from flows.engines.runs import PipelineRequest


class LocalKind(EngineKind):
    """Runs jobs on this machine; they end with the process that started them."""

    name = "local"
    title = "local"
    runs_here = True

    def open(
        self, settings: Settings, timeouts: "Timeouts", tracking: Where, python: Path | None
    ) -> "AbstractAsyncContextManager[Engine]":
        """See :meth:`EngineKind.open`."""
        from flows.engines.local.engine import open_local_engine

        return open_local_engine(settings, tracking, python)

    async def register_data(self, settings: Settings, path: Path, name: str) -> "tuple[ResolvedData, bool]":
        """See :meth:`EngineKind.register_data`. The file is copied into the local state."""
        from flows.data.assets import ResolvedData
        from flows.data.store import DataStore

        found = DataStore(settings.registered_data, settings.data_assets[:1]).register(path, name)
        asset, label = found.asset, f"{found.asset.name}:{found.asset.version}"
        return ResolvedData(label, asset.type, asset.path, asset.name, asset.version, found.sha256), found.created

    def prepare(
        self, request: "Callable[[], PipelineRequest]", settings: Settings, tracking: Where
    ) -> Callable[[], None] | None:
        """Plan the job; what starts the processes of its steps. None if all steps are reused and tracked here."""
        from flows.engines.local.host.preload import modules_to_preload
        from flows.engines.local.host.processes import warm_up
        from flows.engines.local.host.seen_imports import SeenImports
        from flows.engines.plan.steps import Planner

        asked = request()
        plans = Planner(asked.spec, settings, asked.force_rerun, asked.python).known()
        if tracking == "local" and len(plans) == len(asked.spec.steps) and all(plan.reused for plan in plans.values()):
            return None
        modules = modules_to_preload(asked.spec, plans, SeenImports(settings.home))
        return lambda: warm_up(settings, modules, tracking, asked.python)

    def start_early(self, settings: Settings) -> None:
        """Start the processes of the steps, which import their libraries while Prefect loads the flow."""
        from flows.engines.local.host.processes import start_host_early

        start_host_early(settings)
