"""The command line of ``tandem``: its commands, and what each takes, from the dataclass of its options."""

import re
import subprocess
import sys
from dataclasses import fields
from importlib.metadata import version
from typing import Any, get_args

import pytest

from flows.any_yaml.request import FileParameters
from flows.cli import options
from flows.cli.flags import Argument, options_of
from flows.cli.main import VERBS, Actions, tandem_parser
from flows.cli.options import CreateComputeOptions, PlanOptions, RunOptions, ValidateOptions, WatchOptions
from flows.drift.parameters import WatchParameters
from flows.rollout.policy import RolloutPolicy
from tests.terminal import PROJECT


def commands() -> dict[tuple[str, ...], type[Any]]:
    """The options of every command, by the words that are typed."""
    taken: dict[tuple[str, ...], type[Any]] = {}
    for verb, found in VERBS.items():
        if isinstance(found, Actions):
            taken |= {(verb, action): options for action, options in found.actions.items()}
        else:
            taken[(verb,)] = found
    return taken


COMMANDS = commands()


def parsed(*words: str) -> Any:
    found = tandem_parser().parse_args(words)
    return options_of(found.options, found)


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        tandem_parser().parse_args(["--version"])
    assert not ended.value.code
    assert capsys.readouterr().out == f"tandem {version('tandem-ml')}\n"


def test_help_and_completion_import_nothing_that_takes_time() -> None:
    script = (
        "import sys; from flows.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    for words in (["--help"], ["run", "--help"], ["completion", "bash"]):
        done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=60)
        assert not {"pydantic", "asyncio", "yaml", "rich", "prefect"} & set(done.stderr.split()), words


def test_every_options_class_belongs_to_a_command() -> None:
    assert set(COMMANDS.values()) == {value for name, value in vars(options).items() if name.endswith("Options")}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_says_what_a_command_does_and_what_each_parameter_is(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        tandem_parser().parse_args([*words, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert str(COMMANDS[words].__doc__).partition("\n")[0] in said
    for field in fields(COMMANDS[words]):
        _, asked = get_args(field.type)
        assert asked.help in said
        assert asked.metavar is None or asked.metavar in said
        if not isinstance(asked, Argument):
            assert (asked.name or "--" + field.name.replace("_", "-")) in said


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["run", "a.yml"], RunOptions("a.yml")),
        (
            ["run", "a.yml", "--set", "inputs.a=1", "--set", "inputs.b=2", "--asset", "x=y", "--engine", "local"],
            RunOptions("a.yml", inputs=("inputs.a=1", "inputs.b=2"), assets=("x=y",), engine="local"),
        ),
        (["validate", "a.yml", "b.yml", "--json"], ValidateOptions(("a.yml", "b.yml"), json=True)),
        (
            ["plan", "a.yml", "--allow-output", "x", "--mermaid"],
            PlanOptions("a.yml", allow_output=("x",), mermaid=True),
        ),
        (["watch"], WatchOptions()),
        (["watch", "new.csv", "--min-rows", "50"], WatchOptions("new.csv", min_rows="50")),
        (["watch", "--model_name", "a_b", "--min_rows=50"], WatchOptions(model_name="a_b", min_rows="50")),
        (["run", "a.yml", "--set=inputs.a_b=1"], RunOptions("a.yml", inputs=("inputs.a_b=1",))),
        (["compute", "create", "--max-instances", "4"], CreateComputeOptions(max_instances=4)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_command_line_becomes_the_options_of_its_command(words: list[str], meant: object) -> None:
    assert parsed(*words) == meant


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runn"], "invalid choice: 'runn'"),
        (["runn"], "Did you mean run?"),
        (["data", "regster", "a.csv"], "Did you mean register?"),
        (["watch", "--modle_name", "m"], "There is no flag --modle_name. Did you mean --model-name?"),
        (["doctor", "--jsn"], "usage: tandem doctor [-h] [--json]"),
        (["run", "a.yml", "--engine", "azurml"], "Did you mean azureml?"),
        (["why", "a", "b"], "unrecognized arguments: b"),
        (["plan"], "the following arguments are required: FILE.yml"),
        (["run", "a.yml", "--engine", "azure"], "argument --engine: invalid choice: 'azure'"),
        (["plan", "a.yml", "--json", "--mermaid"], "argument --mermaid: not allowed with argument --json"),
        (["compute", "create", "--max-instances", "0"], "argument --max-instances: '0' is no whole number from 1"),
        (["ui", "--mlflow-port", "x"], "argument --mlflow-port: 'x' is no port: use a whole number from 1 to 65535"),
    ],
)
def test_wrong_command_line_is_told_with_the_usage(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        tandem_parser().parse_args(words)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("usage: tandem ") and said in told


@pytest.mark.parametrize(("taken", "model"), [(RunOptions, FileParameters), (WatchOptions, WatchParameters)])
def test_command_of_a_flow_takes_every_parameter_of_the_flow(taken: type[Any], model: type[Any]) -> None:
    assert {field.name for field in fields(taken)} == {*model.model_fields, "json"}


# Of these the result is a page, a server, a key or a script.
WITHOUT_JSON = {("ui",), ("serve",), ("endpoints", "key"), ("completion",)}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_prints_its_result_as_json_but_those_that_the_page_of_commands_names(
    words: tuple[str, ...],
) -> None:
    assert any(field.name == "json" for field in fields(COMMANDS[words])) == (words not in WITHOUT_JSON)


def test_page_of_commands_names_those_that_take_no_json() -> None:
    said = " ".join((PROJECT / "docs" / "commands.md").read_text().split())
    named = re.search(r"All but (.*?) take `--json`", said)
    assert named is not None
    assert {tuple(each.split()[1:]) for each in re.findall(r"`(.*?)`", named[1])} == WITHOUT_JSON


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_tells_every_default_in_the_same_words(words: tuple[str, ...]) -> None:
    told = {field.name: get_args(field.type)[1].help for field in fields(COMMANDS[words])}
    assert not [name for name, text in told.items() if re.search(r"\bby default\b", text)]


def test_help_tells_the_defaults_that_flow_and_policy_have(capsys: pytest.CaptureFixture[str]) -> None:
    watch = {name: field.default for name, field in WatchParameters.model_fields.items() if name != "emit"}
    deploy = {field.name: getattr(RolloutPolicy(), field.name) for field in fields(RolloutPolicy)}
    for words, defaults, how in (("watch", watch, "Default: {}."), ("deploy", deploy, "the endpoint's tag, else {}.")):
        with pytest.raises(SystemExit):
            tandem_parser().parse_args([words, "--help"])
        said = " ".join(capsys.readouterr().out.split())
        for name in {field.name for field in fields(COMMANDS[(words,)])} & set(defaults):
            value = defaults[name]
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else str(value).removesuffix(".0")
            assert how.format(shown) in said, name


def test_a_name_in_the_list_of_commands_has_its_explanation_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["endpoints", "--help"], ["state", "--help"]):
        with pytest.raises(SystemExit):
            tandem_parser().parse_args(words)
        assert not re.search(r"(?m)^ +[a-z]+$", capsys.readouterr().out.partition("examples:")[0]), words


@pytest.mark.parametrize(("words", "shown"), [("endpoints", "[ACTION ...]"), ("state", "ACTION ...")])
def test_usage_tells_whether_an_action_may_be_left_out(
    words: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        tandem_parser().parse_args([words, "--help"])
    usage = " ".join(capsys.readouterr().out.partition("\n\n")[0].split())
    assert usage.startswith(f"usage: tandem {words} [-h]") and usage.endswith(f" {shown}")
