"""Which commands are a plain Python script, whose words need no shell; and what such a script imports."""

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flows.engines.local.host.preload import imported_modules, plain_script
from tests.conftest import Write


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python train.py", ["train.py"]),
        ("python3 src/train.py --rate 0.1", ["src/train.py", "--rate", "0.1"]),
        ("python train.py --name 'two words'", ["train.py", "--name", "two words"]),
        ('python train.py --name "it\'s" --empty ""', ["train.py", "--name", "it's", "--empty", ""]),
        ("python train.py a'b'\"c\"", ["train.py", "abc"]),
        (
            "  python train.py --data https://host/x.csv,y@z:1%+=\n",
            ["train.py", "--data", "https://host/x.csv,y@z:1%+="],
        ),
        ("python train.py --name żółw", ["train.py", "--name", "żółw"]),
    ],
)
def test_a_plain_script_is_taken_as_the_words_it_is(command: str, words: list[str]) -> None:
    assert plain_script(command) == words


@pytest.mark.parametrize(
    "command",
    [
        "",
        "python",
        "python -m train",
        "python -c pass",
        "python -u train.py",
        "python -u.py train.py",
        "bash train.sh",
        "./python train.py",
        "RATE=1 python train.py",
        "python train.py *.csv",
        "python train.py [ab].csv",
        "python train.py data?",
        "python train.py {a,b}",
        "python train.py ~/data",
        "python train.py $HOME",
        "python train.py `pwd`",
        "python train.py a\\ b",
        "python train.py 'unclosed",
        "python train.py # a comment",
        "python train.py !",
        "python train.py; ls",
        "python train.py && ls",
        "python train.py | tee log",
        "python train.py > log",
        "python train.py < in",
        "python train.py &",
        "python train.py\npython score.py",
        "python train.py \\\n  --rate 1",
        "python train.py a\rb",
        "(python train.py)",
    ],
)
def test_whatever_a_shell_would_change_is_left_to_it(command: str) -> None:
    assert plain_script(command) is None


@given(
    st.text(
        st.sampled_from(" \t\r\v\f\u00a0\u2003'\"-=:,./@%+_ab1żé")
        | st.characters(codec="utf-8", exclude_characters="\0")
    )
)
@example("a\vb")
@example("\r")
@example("'' \"\"")
@settings(max_examples=80, deadline=None)
def test_the_words_of_a_plain_script_are_those_that_bash_would_pass(rest: str) -> None:
    command = f"python train.py {rest}"
    words = plain_script(command)

    if words is not None:
        assert words == words_of_bash(command)


def words_of_bash(command: str) -> list[str]:
    shown = "python() { printf '%s\\0' \"$@\"; }\n" + command
    said = subprocess.run(["bash", "-c", shown], capture_output=True, check=True).stdout
    return said.decode().split("\0")[:-1]


def test_imports_are_those_of_a_script_and_of_the_modules_beside_it_inside_functions_too(write: Write) -> None:
    folder = write(
        {
            "train.py": """
                import json, pandas as pd
                from sklearn.linear_model import LogisticRegression
                try:
                    import mine
                except ImportError:
                    import never
                from . import sibling
                def late():
                    import scipy
                pd.read_csv
            """,
            "mine/__init__.py": "import numpy.linalg\nimport train",
        }
    )

    found = imported_modules(folder / "train.py")

    assert found == [
        "json",
        "pandas",
        "sklearn.linear_model",
        "sklearn.linear_model:LogisticRegression",
        "numpy.linalg",
        "scipy",
        "pandas:read_csv",
    ]


def test_a_helper_that_imports_in_its_functions_is_read_too(write: Write) -> None:
    folder = write(
        {
            "train.py": "from helper import fit\nfit()",
            "helper.py": """
                from typing import TYPE_CHECKING
                if TYPE_CHECKING:
                    import matplotlib
                class Model:
                    def fit(self):
                        import pandas as pd
                        with open("x") as file:
                            from sklearn import linear_model
                        pd.read_parquet(file)
                def fit():
                    from parts import deep
            """,
            "parts/__init__.py": "import joblib",
            "parts/deep.py": "from . import near\nfrom .near import x\nfrom ..beyond import y",
            "parts/near.py": "import numpy",
        }
    )

    found = imported_modules(folder / "train.py")

    assert {"pandas", "sklearn", "sklearn:linear_model", "pyarrow.parquet", "joblib", "numpy"} <= set(found)
    assert not {module.partition(":")[0] for module in found} & {"helper", "parts", "parts.deep", "near", "matplotlib"}


def test_a_module_of_the_code_that_has_the_name_of_a_library_is_not_imported_ahead(write: Write) -> None:
    folder = write({"train.py": "def f():\n  import pandas, mlflow.sklearn", "pandas.py": "", "mlflow/sklearn.py": ""})

    assert imported_modules(folder / "train.py") == []


@pytest.mark.parametrize("text", ["print(", "\0", "import"])
def test_a_script_that_cannot_be_parsed_imports_nothing_yet(text: str, write: Write) -> None:
    assert imported_modules(write({"train.py": text}) / "train.py") == []


def test_a_script_that_is_not_there_imports_nothing_yet(write: Write) -> None:
    assert imported_modules(write({}) / "train.py") == []
