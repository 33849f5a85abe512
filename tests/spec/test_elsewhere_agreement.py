"""Spark, data transfer, code from elsewhere and bound outputs are refused, with a reason, where the client does so."""

from pathlib import Path

import pytest

from tests.spec.sdk_client import refused_here, refused_there

pytestmark = pytest.mark.filterwarnings("ignore")

CONF = (
    "spark.driver.cores: 1, spark.driver.memory: 1g, spark.executor.cores: 1, spark.executor.memory: 1g,"
    " spark.executor.instances: 1"
)
DYNAMIC = CONF.replace("spark.executor.instances: 1", "spark.dynamicAllocation.enabled: true")
LIMITS = ", spark.dynamicAllocation.minExecutors: %s, spark.dynamicAllocation.maxExecutors: %s"
SPARK = (
    "{type: spark, code: ./src, entry: {file: run.py}, compute: azureml:c, conf: {" + CONF + "},"
    " inputs: {i: {type: uri_file, path: azureml:r:1, mode: direct}}, outputs: {o: {type: uri_folder, mode: direct}},"
    " args: '--i ${{inputs.i}}'}"
)
SPARK_STEPS = {
    "as it is": ("", "", ""),
    "a key of conf is missing": ("spark.driver.memory: 1g, ", "", "the conf of a Spark job has no spark.driver.memory"),
    "no conf": ("conf: {" + CONF + "},", "", "the conf of a Spark job has no spark.driver.cores, "),
    "executors that vary": (CONF, DYNAMIC + LIMITS % (1, 4), ""),
    "executors that vary without limits": (CONF, DYNAMIC, "has no spark.dynamicAllocation.minExecutors, "),
    "more executors at least than at most": (CONF, DYNAMIC + LIMITS % (9, 4), "minExecutors is 9, and "),
    "limits of executors that do not vary": (CONF, CONF + LIMITS % (1, 4), "is set, and dynamic allocation is not"),
    "another number of executors": (CONF, DYNAMIC + LIMITS % (1, 4) + ", spark.executor.instances: 7", "is 7"),
    "no place": ("compute: azureml:c, ", "", "a Spark job has no compute"),
    "two places": (
        "compute: azureml:c, ",
        "compute: azureml:c, resources: {instance_type: standard_e4s_v3, runtime_version: '3.3'}, ",
        "has both compute and resources",
    ),
    "an instance type that Spark has not": (
        "compute: azureml:c, ",
        "resources: {instance_type: small, runtime_version: '3.3'}, ",
        "small is not an instance type that can stand here",
    ),
    "an input in another mode": ("azureml:r:1, mode: direct", "azureml:r:1, mode: download", "its input i in mode dir"),
    "an input without a mode": ("azureml:r:1, mode: direct", "azureml:r:1", "its input i in mode direct only"),
    "an output without a mode": ("uri_folder, mode: direct", "uri_folder", "its output o in mode direct only"),
    "a bound input": ("{type: uri_file, path: azureml:r:1, mode: direct}", "'${{parent.inputs.r}}'", ""),
    "an entry that is not there": ("run.py", "gone.py", "there is no file gone.py in the code"),
    "a class for an entry": ("file: run.py", "class_name: a.B", "has no class for its entry"),
    "an unknown input": ("inputs.i}}", "inputs.j}}", "args use ${{inputs.j}}, which is not declared"),
}
PIPELINE = """\
type: pipeline
settings: {default_compute: azureml:c}
inputs: {r: {type: uri_file, path: azureml:r:1}}
outputs: {p: {type: uri_folder}}
jobs:
  a: %s
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "run.py").touch()
    return tmp_path / "job.yml"


def check(path: Path, text: str, fault: str, loader: str = "load_job") -> None:
    """Both take a file, or both refuse it, and ours says so in these words."""
    path.write_text(text)
    told = refused_here(loader, path)
    assert bool(told) is bool(fault), told
    assert fault in told
    assert bool(refused_there(loader, path)) is bool(fault)


@pytest.mark.parametrize(("old", "new", "fault"), SPARK_STEPS.values(), ids=SPARK_STEPS)
def test_a_spark_step_is_refused_where_the_client_refuses_it(path: Path, old: str, new: str, fault: str) -> None:
    assert old in SPARK
    check(path, PIPELINE % SPARK.replace(old, new), fault)


@pytest.mark.parametrize(
    "change", ["as it is", "no conf", "no place", "an input without a mode", "a class for an entry"]
)
def test_a_spark_job_is_refused_where_the_client_refuses_it(path: Path, change: str) -> None:
    old, new, fault = SPARK_STEPS[change]
    check(path, SPARK.replace(old, new), fault)


@pytest.mark.parametrize(
    ("conf", "entry", "port", "own", "fault"),
    [
        (CONF, "run.py", ", mode: direct", "", ""),
        (CONF, "run.py", "", ", mode: direct", ""),
        (CONF, "run.py", ", mode: ro_mount", "", "its input i in mode direct only"),
        ("spark.driver.cores: 1", "run.py", ", mode: direct", "", "the conf of a Spark job has no "),
        (CONF, "gone.py", ", mode: direct", "", "there is no file gone.py in the code"),
    ],
)
def test_what_a_step_says_of_a_spark_component_is_read_with_it(
    path: Path, conf: str, entry: str, port: str, own: str, fault: str
) -> None:
    (path.parent / "spark.yml").write_text(
        f"name: s\ntype: spark\ncode: ./src\nentry: {{file: {entry}}}\nconf: {{{conf}}}\n"
        f"inputs: {{i: {{type: uri_file{port}}}}}\nargs: ${{{{inputs.i}}}}\n"
    )
    step = f"inputs: {{i: {{type: uri_file, path: azureml:r:1{own}}}}}"
    check(path, PIPELINE % f"{{type: spark, component: ./spark.yml, compute: azureml:c, {step}}}", fault)


DATABASE = "{type: database, query: q, connection: azureml:c}"


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        (f"task: import_data, source: {DATABASE}, outputs: {{sink: {{type: mltable}}}}", ""),
        (
            f"task: import_data, source: {DATABASE}, outputs: {{sink: {{type: uri_file}}}}",
            "sink is uri_file, and of a ",
        ),
        (f"task: import_data, source: {DATABASE}, outputs: {{o: {{type: mltable}}}}", "has one of the outputs, sink"),
        ("task: import_data, outputs: {sink: {type: mltable}}", "a step that is to import_data has no source"),
        (
            "task: import_data, source: {type: database}, outputs: {sink: {type: mltable}}",
            "the source has no connection",
        ),
        (f"task: export_data, sink: {DATABASE}, inputs: {{source: {{type: uri_file, path: azureml:r:1}}}}", ""),
        (
            f"task: export_data, sink: {DATABASE}, inputs: {{source: {{path: azureml:r:1}}}}",
            "source is uri_folder, and",
        ),
        ("task: copy_data, data_copy_mode: overwrite, outputs: {o: {type: uri_folder}}", "overwrite is not a mode"),
        ("task: copy_data, outputs: {o: {type: uri_folder}, p: {type: uri_folder}}", "has more than one output"),
        ("outputs: {o: {type: uri_folder}}", "a data transfer has no task"),
    ],
)
def test_a_data_transfer_is_refused_where_the_client_refuses_it(path: Path, step: str, fault: str) -> None:
    check(path, PIPELINE % f"{{type: data_transfer, {step}}}", fault)


def test_what_a_copy_is_made_of_is_left_to_the_service_in_a_pipeline(path: Path) -> None:
    copy = "type: data_transfer\ntask: copy_data\ninputs: {i: {type: uri_file}}\noutputs: {o: {type: uri_folder}}\n"
    (path.parent / "copy.yml").write_text(copy)
    step = "{type: data_transfer, task: copy_data, component: ./copy.yml, inputs: {i: '${{parent.inputs.r}}'}}"
    check(path, PIPELINE % step, "")


@pytest.mark.parametrize(
    "code",
    [
        "azureml:a:1",
        "azureml:a@latest",
        "azureml://registries/r/codes/a/versions/1",
        "git+https://x",
        "https://x.com/a",
    ],
)
def test_code_may_be_where_the_client_takes_it_from(path: Path, code: str) -> None:
    check(path, f"command: echo\nenvironment: azureml:e:1\ncode: {code}\n", "")


@pytest.mark.parametrize(
    "code", ["azureml:a", "azureml://datastores/d/paths/p", "wasbs://a@b.c/d", "https://x", "runs:/a"]
)
def test_code_is_refused_that_the_client_would_look_for_on_this_machine(path: Path, code: str) -> None:
    check(path, f"command: echo\nenvironment: azureml:e:1\ncode: {code}\n", f"Azure ML takes no code from {code}")


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        ("{path: '${{parent.outputs.p}}', uri: a}", ""),
        ("{path: '${{parent.outputs.p}}', name: n, uri: a}", "an output cannot have the key uri"),
        ("{uri: a}", "an output cannot have the key uri"),
    ],
)
def test_a_key_beside_the_path_of_a_bound_output_is_ignored_as_by_the_client(
    path: Path, output: str, fault: str
) -> None:
    (path.parent / "fit.yml").write_text(
        "name: fit\ntype: command\ncommand: fit\nenvironment: azureml:e:1\noutputs: {o: {type: uri_folder}}\n"
    )
    check(path, PIPELINE % f"{{component: ./fit.yml, outputs: {{o: {output}}}}}", fault)


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("code: ./src", ""),
        ("code: git+https://github.com/a/b", "a component of its own takes no code from Git"),
        ("code: ./src\nadditional_includes: [other/more.py]", ""),
        ("code: ./src\nadditional_includes: [other/run.py]", "the code has a file or folder run.py already"),
        ("additional_includes: [other/run.py]", ""),
    ],
)
def test_a_component_of_its_own_is_refused_where_the_client_refuses_it(path: Path, more: str, fault: str) -> None:
    (path.parent / "other").mkdir()
    for name in ("run.py", "more.py"):
        (path.parent / "other" / name).touch()
    text = f"name: fit\nversion: '1'\ntype: command\ncommand: fit\nenvironment: azureml:e:1\n{more}\n"
    check(path, text, fault, "load_component")
    path.with_name("fit.yml").write_text(text)
    check(path, PIPELINE % "{component: ./fit.yml}", "")


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("additional_includes: [src/run.py]", ""),
        ("additional_includes: [src]", "the code has a file or folder src already"),
        ("code: ./src\nadditional_includes: [src]", ""),
    ],
)
def test_the_code_of_a_spark_component_is_the_folder_of_its_file_where_it_names_none(
    path: Path, more: str, fault: str
) -> None:
    text = f"name: s\nversion: '1'\ntype: spark\nentry: {{file: run.py}}\nconf: {{{CONF}}}\n{more}\n"
    check(path, text, fault, "load_component")


AUTOML = "task: %s, primary_metric: accuracy, target_column_name: y, training_data: %s"
OF_A_PORT, OF_A_JOB = "'${{parent.inputs.r}}'", "{type: mltable, path: azureml:r:1}"
VALIDATION = ", validation_data: "
AUTOML_KEYS = {
    "as it is": ("classification", "", ""),
    "a key of the task": ("classification", ", positive_label: a, limits: {exit_score: 0.9}", ""),
    "a key that none knows": ("classification", ", blocked_training_algorithms: [x]", "cannot have the key blocked_"),
    "a key of another task": ("classification", ", search_space: []", "for classification cannot have the key search"),
    "a component": ("classification", ", component: azureml:c:1", "cannot have the key component"),
    "inputs": ("classification", ", inputs: {i: 1}", "cannot have the key inputs"),
    "a text": ("text_classification", VALIDATION + "%s, featurization: {dataset_language: eng}", ""),
    "a key of tables": (
        "text_classification",
        VALIDATION + "%s, test_data_size: 0.1",
        "cannot have the key test_data_s",
    ),
    "images": ("image_classification", VALIDATION + "%s, limits: {max_trials: 2}", ""),
    "a limit of tables": ("image_classification", VALIDATION + "%s, limits: {exit_score: 1}", "the key exit_score"),
    "an unknown task": ("guessing", "", "guessing is not a task of AutoML"),
}


@pytest.mark.parametrize(("task", "more", "fault"), AUTOML_KEYS.values(), ids=AUTOML_KEYS)
def test_the_keys_of_automl_are_those_of_its_task(path: Path, task: str, more: str, fault: str) -> None:
    of_port, of_job = (more.replace("%s", data) for data in (OF_A_PORT, OF_A_JOB))
    check(path, PIPELINE % f"{{type: automl, {AUTOML % (task, OF_A_PORT)}{of_port}}}", fault)
    check(path, f"{{type: automl, compute: azureml:c, {AUTOML % (task, OF_A_JOB)}{of_job}}}", fault)


@pytest.mark.parametrize(
    ("left_out", "fault"),
    [
        ("task: classification, ", "an AutoML job has no task"),
        (", target_column_name: y", "an AutoML job has no target_column_name"),
        (f", training_data: {OF_A_PORT}", "an AutoML job has no training_data"),
    ],
)
def test_automl_is_refused_without_what_the_client_needs(path: Path, left_out: str, fault: str) -> None:
    step = AUTOML % ("classification", OF_A_PORT)
    assert left_out in step
    check(path, PIPELINE % f"{{type: automl, {step.replace(left_out, '')}}}", fault)


def test_what_automl_needs_may_be_bound_to_an_input_without_a_value(path: Path) -> None:
    step = (AUTOML % ("classification", OF_A_PORT)).replace("_name: y", "_name: '${{parent.inputs.y}}'")
    text = f"name: c\ntype: pipeline\nversion: 1\njobs: {{a: {{type: automl, {step}}}}}\n"
    check(path, f"{text}inputs: {{r: {{type: mltable}}, y: {{type: string}}}}\n", "", "load_component")


def test_a_step_may_write_its_task_in_any_case_and_a_job_may_not(path: Path) -> None:
    check(path, PIPELINE % f"{{type: automl, {AUTOML % ('Classification', OF_A_PORT)}}}", "")
    text = f"{{type: automl, compute: azureml:c, {AUTOML % ('Classification', OF_A_JOB)}}}"
    check(path, text, "Classification is not a task of AutoML")


def test_a_step_of_a_text_task_may_have_data_that_it_does_not_use(path: Path) -> None:
    text = AUTOML % ("text_classification", "%s") + ", validation_data: %s, test_data: %s"
    check(path, PIPELINE % f"{{type: automl, {text % ((OF_A_PORT,) * 3)}}}", "")
    check(path, f"{{type: automl, compute: azureml:c, {text % ((OF_A_JOB,) * 3)}}}", "cannot have the key test_data")
