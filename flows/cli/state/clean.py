"""``tandem state clean``: delete the local state."""

import json
import os
from pathlib import Path

from flows.errors import StateError
from flows.machine.folder import check_deletable, delete_state
from flows.machine.living import Life, nobody_else
from flows.machine.open_databases import processes_with_databases_open
from flows.serving.local.lifetime import ENDPOINTS, end_supervisor
from flows.settings import Settings


def clean(settings: Settings, *, as_json: bool) -> int:
    """Delete the state, unless somebody uses it. Endpoints that were deployed on this machine end with it.

    Raises:
        StateError: Somebody does, or the folder is not a state; nothing was deleted.
    """
    home = settings.home
    if not os.path.lexists(home):
        _say(as_json, f"There is no local state at {home}: nothing to delete.", home, deleted=False)
        return 0
    check_deletable(home)
    with nobody_else(home) as (living, _):
        refuse_while([life for life in living if life.what != ENDPOINTS], home, "Nothing was deleted.")
        end_supervisor(home)
        delete_state(home)
    _say(as_json, f"Deleted the local state: {home}", home, deleted=True)
    return 0


def refuse_while(living: list[Life], home: Path, left: str) -> None:
    """Refuse to go on while anybody uses the state, as a process of ours or with a database of it open.

    Raises:
        StateError: Somebody does; each is named.
    """
    users = [(life.pid, life.what) for life in living] or list(processes_with_databases_open(home))
    if users:
        running = "\n".join(f"  process {pid}: {what}" for pid, what in users)
        raise StateError(
            f"The local state {home} is in use:\n{running}\n{left} Wait until that ends, or end it (Ctrl+C, kill PID), "
            "then type this again."
        )


def _say(as_json: bool, text: str, home: Path, *, deleted: bool) -> None:
    print(json.dumps({"home": str(home), "deleted": deleted}) if as_json else text)
