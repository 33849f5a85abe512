"""Allowed names of inputs, outputs and hyperparameters.

The rules are those of azure-ai-ml 1.35.2, and of what a name is used for: it becomes that of a variable
(``AZURE_ML_INPUT_<name>``), of a parameter in MLflow, and of the file or folder of an output.
"""

import re

from flows.spec.text.names import shown, twins, unfit
from flows.spec.text.section import Section
from flows.spec.text.words import a

# Of jobs, of search spaces, and of the outputs of a step that declares them in place.
KEY = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# Of components, and of the inputs of a pipeline, which may be grouped.
GROUPED = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*(?:\.[a-zA-Z_][a-zA-Z0-9_]*)*")
# Of the inputs of a step that declares them in place: what an expression can name. The client lets any name pass.
NAMED = re.compile(r"[\w.-]+")
MAX_LENGTH = 250  # of the name of a parameter in MLflow

_REMEDIES = {
    KEY: "Use letters, digits and underscores, a letter first.",
    GROUPED: "Use letters, digits and underscores, a letter first; groups are parted by dots.",
    NAMED: "Use letters, digits, underscores, hyphens and dots.",
}


def check_names(section: Section, rule: re.Pattern[str], noun: str, alike: bool = False) -> None:
    """Note every key that cannot be the name of what it names.

    Args:
        section: The mapping of inputs, outputs or hyperparameters.
        rule: One of the three above.
        noun: What each is: ``input``.
        alike: Whether names that differ in capital letters only are refused: Azure ML does so in components, and
            some file systems take both as the same file.
    """
    for name in section.entries:
        if not rule.fullmatch(name):
            section.fault(name, f"{shown(name)!r} cannot be the name of {a(noun)}", _REMEDIES[rule])
        elif (reason := unfit(name)) is not None:
            section.fault(name, f"{shown(name)!r} cannot be the name of {a(noun)}: it {reason}", _REMEDIES[rule])
        elif len(name) > MAX_LENGTH:
            message = f"the name of {a(noun)} has {len(name)} characters, and MLflow keeps {MAX_LENGTH} at most"
            section.fault(name, message, "Give it a shorter name.")
    for name, earlier in twins(section.entries) if alike else ():
        message = f"the {noun}s {shown(earlier)} and {shown(name)} differ in capital letters only"
        section.fault(name, message, "Give one of them another name: some file systems take both as the same file.")
