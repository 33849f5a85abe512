"""What a failed script's last words say of the packages that it misses."""

from pathlib import Path

import pytest

from flows.engines.local.other_packages import other_packages
from flows.engines.plan.interpreter import Interpreter
from flows.spec.model.job import Environment

HERE = Interpreter("3.11.9 (main)", {"pandas": "2.3.3", "numpy": "2.1.0"})
PYTHON = Path("/opt/python")
OLD = Environment(image="ubuntu", conda="dependencies: [python=3.8, pip: [pandas==1.1.5, numpy]]")
APPEND = "AttributeError: 'DataFrame' object has no attribute 'append'. Did you mean: '_append'?"


def told(line: str, code: Path, environment: Environment | None = None) -> str:
    return other_packages(["Traceback (most recent call last):", line], environment, HERE, PYTHON, code)


def test_a_package_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert told("ModuleNotFoundError: No module named 'lightgbm.sklearn'", tmp_path) == (
        "/opt/python (Python 3.11.9) has no lightgbm. Name one that has it: --python PATH"
    )


def test_a_module_of_the_code_itself_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "steps").mkdir()
    assert told("ModuleNotFoundError: No module named 'steps.prep'", tmp_path) == ""


def test_the_versions_that_the_environment_asks_for_are_named(tmp_path: Path) -> None:
    assert told(APPEND, tmp_path, OLD) == (
        "Its environment asks for python==3.8.* (here 3.11.9), pandas==1.1.5 (here 2.3.3)."
        " Name an interpreter that has them: --python PATH"
    )


@pytest.mark.parametrize(
    "line",
    [
        APPEND,
        "ImportError: cannot import name 'plot_confusion_matrix' from 'sklearn.metrics' (/opt/sklearn/__init__.py)",
        "TypeError: OneHotEncoder.__init__() got an unexpected keyword argument 'sparse'",
    ],
)
def test_an_environment_of_unknown_packages_may_have_others(tmp_path: Path, line: str) -> None:
    assert told(line, tmp_path, Environment(reference="azureml:AzureML-sklearn-0.24@latest")) == (
        "It may be written for other packages than those of /opt/python (Python 3.11.9)."
        " Name an interpreter that has them: --python PATH"
    )


@pytest.mark.parametrize("line", ["ValueError: could not convert string to float: 'a'", "KeyError: 'cost'", ""])
def test_other_last_words_say_nothing_of_packages(tmp_path: Path, line: str) -> None:
    assert told(line, tmp_path, OLD) == ""
