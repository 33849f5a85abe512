"""Where and with what a model was trained, as tags; and in what two models differ there. Pure."""

from collections.abc import Iterator, Mapping

from flows.engines.runs import RunOutcome
from flows.tags import ENGINE, PACKAGES, PLATFORM, PYTHON
from flows.training.evaluation import EvaluationReport

_WORDS = {ENGINE: "engine", PYTHON: "Python", PLATFORM: "platform"}


def origin_tags(outcome: RunOutcome, report: EvaluationReport) -> Mapping[str, str]:
    """The tags that say where a job ran, and which Python, platform and packages its model was trained with.

    What is not known is left out, as for a job of an older version of Tandem.
    """
    told = {ENGINE: outcome.tags.get(ENGINE), **{f"tandem.{name}": text for name, text in report.trained_with.items()}}
    return {name: text for name, text in told.items() if text}


def differences(challenger: Mapping[str, str], champion: Mapping[str, str]) -> Iterator[str]:
    """In what the champion was trained otherwise than the challenger, each in a few words.

    What is known of one of them only is no difference: versions that were registered long ago have no such tags.
    """
    for tag, word in _WORDS.items():
        here, there = challenger.get(tag), champion.get(tag)
        if here and there and here != there:
            yield f"{word} {there}, not {here}"
    packages = {tags.get(PACKAGES) for tags in (challenger, champion)}
    if len(packages) > 1 and None not in packages:
        yield "other packages"
