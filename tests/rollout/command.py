"""The program ``tandem`` for tests of rollouts: it asks less and looks more often, and stops at a named moment.

``python -m tests.rollout.command deploy ...``, with the moment in ``ROLLOUT_DIES``, at which the process kills itself
with SIGKILL, or in ``ROLLOUT_WAITS``, at which it waits as long as the file ``ROLLOUT_WAITS_FOR`` is not there. A
moment is ``before``, ``during`` or ``after`` an action of :mod:`flows.rollout.plan`: ``before Check 10`` is that at a
share of 10 percent, ``before Check`` the first one. ``before Move`` and ``after Move`` are those of the champion. What
a model itself answers is asked once for all commands of a home, which saves each of them the import of MLflow.
"""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.cli.main import main
from flows.cli.serving import champion
from flows.data.digests import data_digest
from flows.rollout import champion as moves
from flows.rollout import rollout
from flows.rollout.checks import known_rows
from flows.rollout.plan import Action, SetShare
from flows.serving.azureml import changes

DIES, WAITS, WAITS_FOR = "ROLLOUT_DIES", "ROLLOUT_WAITS", "ROLLOUT_WAITS_FOR"
DURING_SECONDS = 0.1  # after the beginning of an action

ask_model = known_rows.known_rows


def names(action: Action) -> set[str]:
    """What a moment may call an action."""
    name = type(action).__name__
    share = action.shares[action.colour] if isinstance(action, SetShare) else getattr(action, "share", None)
    return {name, f"{name} {share}"}


async def come_to(moment: str, names: set[str]) -> None:
    """Die or wait, if this is the moment for it."""
    when, _, name = os.environ.get(DIES, "").partition(" ")
    if when == moment and name in names:
        os.kill(os.getpid(), signal.SIGKILL)
    when, _, name = os.environ.get(WAITS, "").partition(" ")
    if when == moment and name in names:
        print("waits", moment, name, flush=True)
        while not Path(os.environ[WAITS_FOR]).exists():
            await asyncio.sleep(0.05)


async def remembered(folder: Path, label: str, variables: Mapping[str, str]) -> known_rows.KnownRows:
    """What a model answers, as an earlier command was told."""
    kept = Path(os.environ["HOME"]) / f"known-{data_digest(folder)}.json"
    if not kept.exists():
        found = asdict(await ask_model(folder, label, variables))
        kept.with_suffix(f".{os.getpid()}").write_text(json.dumps(found), encoding="utf-8")
        kept.with_suffix(f".{os.getpid()}").rename(kept)
    return known_rows.KnownRows(**json.loads(kept.read_text(encoding="utf-8")))


def be_watched() -> None:
    """Come to each moment of a rollout, and look quickly."""
    known_rows.known_rows = remembered
    champion.PROGRAM = "tests.rollout.command"
    changes.FIRST_SECONDS, changes.LONGEST_SECONDS = 0.02, 0.1
    rollout.POLL_SECONDS = 0.1
    act = rollout.Rollout._act  # pyright: ignore[reportPrivateUsage]

    async def watched(self: Any, action: Action, endpoint: Any) -> None:
        await come_to("before", names(action))
        under_way = asyncio.ensure_future(act(self, action, endpoint))
        await asyncio.wait([under_way], timeout=DURING_SECONDS)
        await come_to("during", names(action))
        await under_way
        await come_to("after", names(action))

    rollout.Rollout._act = watched  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    move = moves._move  # pyright: ignore[reportPrivateUsage]

    async def moved(*given: Any) -> moves.Moved:
        await come_to("before", {"Move"})
        found = await move(*given)
        await come_to("after", {"Move"})
        return found

    moves._move = moved  # pyright: ignore[reportPrivateUsage]


if __name__ == "__main__":
    be_watched()
    raise SystemExit(main())
