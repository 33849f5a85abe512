"""Many files given to one process of the scoring script."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from flows.errors import DataAssetError
from flows.scoring.places.here import LocalScoring
from flows.scoring.places.place import ScoringPlace
from flows.settings import Settings
from tests.scoring.conftest import Scorer


def refusals_of(scorer: Scorer, files: Sequence[Path]) -> list[str]:
    """Why each of the files is refused; empty for one that is not."""

    async def refusal(place: ScoringPlace, file: Path) -> str:
        request = scorer.work(file, file.with_suffix(".out.csv")).request
        try:
            async with aclosing(place.scored(request)) as scored:
                async for _ in scored:
                    pass
        except DataAssetError as error:
            return str(error)
        return ""

    async def all_of_them() -> list[str]:
        with LocalScoring(Settings.from_environment({"TANDEM_HOME": str(scorer.home)})) as place:
            return [await refusal(place, file) for file in files]

    return asyncio.run(all_of_them())
