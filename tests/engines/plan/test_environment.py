"""What an environment asks for, and what an interpreter has of it."""

import pytest

from flows.engines.plan.environment import environment_part, shortfalls
from flows.engines.plan.interpreter import Interpreter
from flows.spec.model.job import Environment

HERE = Interpreter("3.11.7 (main)", {"numpy": "2.4.6", "pandas": "2.3.3", "scikit-learn": "1.9.1", "torch": "2.9.0"})
CONDA = """\
name: steps
channels: [conda-forge, defaults]
dependencies:
  - python=3.11
  - numpy>=2
  - pip:
      - pandas==2.3.3
"""

ASKED = {
    "pandas==2.3.3": [],
    "pandas": [],
    "Pandas>=2,<3  ": [],
    "scikit_learn==1.9.*": [],
    "pandas[parquet]~=2.3": [],
    "pandas==2.2.0": ["pandas==2.2.0 (here 2.3.3)"],
    "azureml-defaults": ["azureml-defaults (not here)"],
    "polars>=1": ["polars>=1 (not here)"],
    "polars>=1; python_version < '3.9'": [],
    "polars>=1; python_version >= '3.9'": ["polars>=1 (not here)"],
    "--extra-index-url https://example.org/simple": [],
    "-r requirements.txt": [],
    "git+https://example.org/polars.git": [],
    "polars @ https://example.org/polars.whl": [],
    "not a requirement": [],
}
ASKED_OF_CONDA = {
    "python=3.11": [],
    "python=3.8": ["python==3.8.* (here 3.11.7)"],
    "python>=3.9,<3.12": [],
    "python": [],
    "numpy=2.4": [],
    "numpy=2.4.*": [],
    "numpy=1.26=py311_0": ["numpy==1.26.* (here 2.4.6)"],
    "numpy >=1.20": [],
    "conda-forge::numpy": [],
    "conda-forge::numpy==1.0": ["numpy==1.0 (here 2.4.6)"],
    "pytorch=2.9": [],
    "gcc_linux-64": ["gcc_linux-64 (not here)"],
    "pip=24": [],
}


@pytest.mark.parametrize("line", ASKED)
def test_what_pip_would_install_is_compared_with_what_is_here(line: str) -> None:
    conda = f"dependencies:\n- pip:\n  - {line!r}\n"

    assert [str(it) for it in shortfalls(Environment(conda=conda), HERE)] == ASKED[line]


@pytest.mark.parametrize("line", ASKED_OF_CONDA)
def test_what_conda_would_install_is_compared_with_what_is_here(line: str) -> None:
    assert [str(it) for it in shortfalls(Environment(conda=f"dependencies: ['{line}']"), HERE)] == ASKED_OF_CONDA[line]


def test_every_line_of_an_environment_is_in_its_part() -> None:
    assert environment_part(Environment("azureml:steps@latest", "ubuntu", CONDA)) == {
        "the reference": "azureml:steps@latest",
        "the image": "ubuntu",
        "the name": "steps",
        "the channels": "conda-forge, defaults",
        "python": "=3.11",
        "numpy": ">=2",
        "pip pandas": "==2.3.3",
    }


@pytest.mark.parametrize(
    "same",
    [
        CONDA.replace("- python=3.11", "# why\n  - python=3.11  # here"),
        CONDA.replace("  - python=3.11\n  - numpy>=2\n", "  - numpy>=2\n  - python=3.11\n"),
        CONDA.replace("[conda-forge, defaults]", "\n  - conda-forge\n  - defaults"),
    ],
    ids=["comments", "order", "style"],
)
def test_what_makes_no_difference_to_conda_makes_none_here(same: str) -> None:
    assert same != CONDA
    assert environment_part(Environment(conda=same)) == environment_part(Environment(conda=CONDA))


@pytest.mark.parametrize(
    "other",
    [
        CONDA.replace("numpy>=2", "numpy>=2.1"),
        CONDA.replace("  - numpy>=2\n", ""),
        CONDA.replace("  - numpy>=2\n", "").replace("- pandas==2.3.3", "- pandas==2.3.3\n      - numpy>=2"),
        CONDA.replace("- pandas==2.3.3", "- pandas==2.3.3\n      - pandas==2.3.4"),
        CONDA.replace("- pandas==2.3.3", "- --pre\n      - pandas==2.3.3"),
        CONDA.replace("conda-forge, defaults", "defaults, conda-forge"),
        CONDA.replace("- pip:", "- uv:"),
        CONDA + "variables: {A: b}\n",
    ],
)
def test_what_makes_a_difference_to_conda_makes_one_here(other: str) -> None:
    assert environment_part(Environment(conda=other)) != environment_part(Environment(conda=CONDA))


@pytest.mark.parametrize("text", ["", "[]", "a: [", "dependencies: 3", "just text", "a: !!python/object:os.system {}"])
def test_a_conda_file_that_is_none_counts_as_it_is_written(text: str) -> None:
    assert environment_part(Environment(conda=text)) == {"the conda file": text}
    assert shortfalls(Environment(conda=text), HERE) == ()


@pytest.mark.parametrize("text", ["dependencies:", "dependencies: [3, [a], null]", "dependencies: [{pip: }, {pip: x}]"])
def test_an_odd_list_of_packages_is_no_obstacle(text: str) -> None:
    environment_part(Environment(conda=text))
    shortfalls(Environment(conda=text), HERE)
