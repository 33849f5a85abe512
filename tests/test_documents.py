"""What README, SECURITY and the pages of `docs/` say exists: links, commands, flags, files, names; and it runs."""

import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cli.main import VERBS, main
from flows.cli.terminal.interrupts import UNREAD
from flows.errors import TandemError
from flows.orchestration import events
from flows.training.parameters import JobParameters, PipelineParameters, validated
from tests.terminal import JOB, PIPELINE, PROJECT

DOCUMENTS = [PROJECT / "README.md", PROJECT / "SECURITY.md", *sorted((PROJECT / "docs").glob("*.md"))]
TRAINING = {PIPELINE.name: PipelineParameters, JOB.name: JobParameters}
ROOTS = ("aml_steps", "data", "deployments", "docs", "environment", "flows", "tests", ".ci")
FILES = ("prefect.yaml", "pyproject.toml", "requirements.lock", "Makefile", "README.md", "SECURITY.md")
OTHER_PROGRAMS = {"--app-name", "--allowed-hosts", "--cors-allowed-origins"}  # flags of `mlflow server`
# Set by Tandem for its own processes.
INTERNAL = {
    "TANDEM_COLLECTED",  # which the supervisor gives to an instance, as the next
    "TANDEM_COLLECTED_FROM",
    "TANDEM_MLFLOW_ARTIFACTS",
    "TANDEM_MOVED",  # which tandem promote and tandem rollback give to tandem deploy, as which they go on
    "TANDEM_MODEL",  # which a deployment gives to its scoring script, as the next
    "TANDEM_MODEL_VERSION",
    "TANDEM_OWN_TRACKING_URI",
    "TANDEM_STEP_HOST",
    "TANDEM_UMASK",
}
SLOW = {"any-yaml.md", "figures.md", "training.md", "unattended.md"}  # their commands train, or ask Prefect

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def named(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def fences(path: Path, language: str | None = None) -> list[str]:
    found = _FENCE.findall(path.read_text(encoding="utf-8"))
    return [text for kind, text in found if kind == language or (language is None and kind in ("", "sh"))]


def prose(path: Path) -> str:
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def spans(path: Path) -> list[str]:
    return _SPAN.findall(prose(path))


def commands(path: Path) -> Iterator[list[str]]:
    """The words of every command line in a document, in a block or in a sentence, without comments."""
    lines = [line for fence in fences(path) for line in fence.splitlines()]
    for text in (*lines, *spans(path)):
        try:
            words = shlex.split(text, comments=True)
        except ValueError:
            continue
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            del words[0]
        if words:
            yield words


def commands_of(*programs: str) -> list[tuple[str, list[str]]]:
    return [
        (named(path), words)
        for path in DOCUMENTS
        for words in commands(path)
        if Path(words[0]).name in programs and len(words) > 1
    ]


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors that GitHub makes of the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_link_leads_to_a_file_and_a_heading_that_is_there(path: Path) -> None:
    for link in _LINK.findall(prose(path)):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_links_to_every_page_and_is_one_page_itself() -> None:
    readme = PROJECT / "README.md"
    links = set(_LINK.findall(prose(readme)))
    assert {named(path) for path in DOCUMENTS[1:]} <= links
    assert len(readme.read_text(encoding="utf-8").splitlines()) <= 160


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_file_that_is_named_is_there(path: Path) -> None:
    words = {word for words in commands(path) for word in words}
    for word in sorted(words | set(spans(path))):
        if word in FILES or word.startswith(tuple(f"{root}/" for root in ROOTS)):
            found = list(PROJECT.glob(word)) if "*" in word else [PROJECT / word]
            assert found and all(each.exists() for each in found), word


def make_targets() -> set[str]:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))


def test_every_make_target_that_is_written_exists_and_every_target_is_written_in_commands() -> None:
    written = {(page, word) for page, words in commands_of("make") for word in words[1:] if "=" not in word}
    assert {word for _, word in written} <= make_targets()
    assert make_targets() - {"help"} <= {word for page, word in written if page == "docs/commands.md"}


def test_submissions_are_tested_by_the_command_of_the_readme() -> None:
    run = [line.split() for line in (PROJECT / ".ci" / "run").read_text(encoding="utf-8").splitlines()]
    made = {words[1] for words in run if words[:1] == ["make"]}
    assert "test" in made <= make_targets()
    assert any(words[:2] == ["make", "test"] for words in commands(PROJECT / "README.md"))


@cache
def help_of(*words: str) -> str:
    """What a command of `tandem` says of itself."""
    said = io.StringIO()
    with redirect_stdout(said), pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0, words
    return said.getvalue()


def flags_of(*words: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", help_of(*words)))


def verbs() -> list[tuple[str, ...]]:
    """Every command of `tandem`, those of two words as well, from what the commands say of themselves."""
    entry = re.compile(r"^ {4}([a-z]+)\b", re.MULTILINE)
    found: list[tuple[str, ...]] = []
    for verb in entry.findall(help_of()):
        actions = entry.findall(help_of(verb))
        found += [(verb, name) for name in actions]
        if not actions or getattr(VERBS[verb], "otherwise", None):
            found.append((verb,))
    return found


def test_every_tandem_command_that_is_written_exists_with_its_flags() -> None:
    known = verbs()
    assert ("run",) in known and ("state", "check") in known
    for page, words in commands_of("tandem"):
        if words[1].startswith("-"):
            assert set(words[1:]) <= flags_of(), (page, words)
            continue
        verb = next((verb for verb in known if tuple(words[1 : 1 + len(verb)]) == verb), None)
        assert verb is not None, (page, words)
        flags = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert flags <= flags_of(*verb), (page, words)


def test_every_command_of_tandem_is_written_in_commands() -> None:
    written = [words[1:] for page, words in commands_of("tandem") if page == "docs/commands.md"]
    for verb in verbs():
        assert any(tuple(words[: len(verb)]) == verb for words in written), verb


def test_every_training_command_that_is_written_has_flags_and_values_that_are_taken() -> None:
    found = [words for _, words in commands_of("python") if words[1].startswith("flows/")]
    assert len(found) >= 4
    for words in found:
        model, flags = TRAINING[Path(words[1]).name], words[2:]
        if flags != ["--help"]:
            validated(
                model, {flag.removeprefix("--"): value for flag, value in zip(flags[::2], flags[1::2], strict=True)}
            )


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_flag_in_a_sentence_is_one_of_some_command(path: Path) -> None:
    fields = {f"--{name}" for model in TRAINING.values() for name in model.model_fields}
    known = {flag for verb in verbs() for flag in flags_of(*verb)} | fields | OTHER_PROGRAMS
    for span in spans(path):
        flag = re.split(r"[ =]", span)[0]
        assert not flag.startswith("--") or flag in known, span


def deployments() -> dict[str, set[str]]:
    """The deployments of `prefect.yaml`, by the name that Prefect's command takes, with their parameters' names."""
    document: Any = yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))
    return {
        f"{each['entrypoint'].rpartition('.')[2].replace('_', '-')}/{each['name']}": set(
            PipelineParameters.model_fields if "train_pipeline" in each["entrypoint"] else JobParameters.model_fields
        )
        for each in document["deployments"]
    }


def test_every_deployment_that_is_written_exists_and_every_one_is_written_in_unattended() -> None:
    known = deployments()
    flows_named = {name.partition("/")[0] for name in known}
    written = {
        (named(path), span) for path in DOCUMENTS for span in spans(path) if span.partition("/")[0] in flows_named
    }
    assert {span for _, span in written if "/" in span} <= known.keys()
    assert known.keys() <= {span for page, span in written if page == "docs/unattended.md"}
    runs = [words for _, words in commands_of("prefect") if words[1:3] == ["deployment", "run"]]
    assert runs
    for words in runs:
        given = {value.partition("=")[0] for flag, value in zip(words[4::2], words[5::2], strict=True) if flag == "-p"}
        assert given <= known[words[3]], words


def test_every_event_is_written_in_unattended_and_none_that_is_not_there() -> None:
    known = {value for name, value in vars(events).items() if name.isupper() and str(value).startswith("tandem.")}
    written = {span for span in spans(PROJECT / "docs" / "unattended.md") if re.fullmatch(r"tandem(\.[a-z]+){2}", span)}
    assert written == known


def test_variables_that_a_person_may_set_are_written_in_commands_and_are_read_somewhere() -> None:
    sources = [path for folder in ("flows", "aml_steps", "deployments") for path in (PROJECT / folder).rglob("*.py")]
    read = {
        name for path in sources for name in re.findall(r"\bTANDEM_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8"))
    }
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    assert set(re.findall(r"\bTANDEM_[A-Z_]*[A-Z]\b", text)) <= read
    assert read - INTERNAL <= set(spans(PROJECT / "docs" / "commands.md"))


def test_every_exit_code_is_written_in_commands() -> None:
    def below(kind: type[TandemError]) -> Iterator[int]:
        yield kind.exit_code
        for each in kind.__subclasses__():
            yield from below(each)

    written = re.findall(r"^\| (\d+) \|", prose(PROJECT / "docs" / "commands.md"), re.MULTILINE)
    assert set(map(int, written)) == {0, UNREAD, 143, *below(TandemError)}


def test_why_each_dependency_is_there_is_written_and_of_no_other() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = {re.split(r"[\[<>=~!]", each)[0] for each in project["dependencies"]}
    text = prose(PROJECT / "docs" / "how-it-is-built.md").partition("| dependency |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([a-z][a-z0-9, -]+) \|", text, re.MULTILINE)
    assert {name for row in rows for name in row.split(", ")} == known


PAGES_THAT_RUN = [path for path in DOCUMENTS if fences(path, "sh")]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.slow] if path.name in SLOW else [], id=named(path))
        for path in PAGES_THAT_RUN
    ],
)
def test_commands_of_a_page_run_as_they_are_written(path: Path, tmp_path: Path, prefect_api: str) -> None:
    """A block that is marked `sh` runs here; the others need a workspace, a terminal of their own or files of yours."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("aml_steps", "data", "flows", "Makefile"):
        (folder / name).symlink_to(PROJECT / name)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TANDEM_HOME": str(tmp_path / "state"),
        "HOME": str(tmp_path),
        "PREFECT_API_URL": prefect_api,
    }
    script = "set -e\n" + "".join(fences(path, "sh"))
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
