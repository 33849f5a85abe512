"""What a parallel step does on this machine, as on Azure ML: its mini-batches, its workers and what it delivers."""

import asyncio
import json
import os
import select
import sysconfig
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flows.engines.engine import Engine
from flows.engines.local.engine import open_local_engine
from flows.engines.polling import Timeouts
from flows.settings import Settings
from tests.conftest import Write
from tests.engines.conftest import Await
from tests.engines.jobs import DEADLINE_SECONDS, FILE, FOLDER, JobRunner, Ran, command, delivered_by, pipeline
from tests.engines.projects import virtual_environment

# With the habits of the scripts that run on Azure ML.
SCORE = """\
    import argparse
    import os

    from beside import suffix
    from azureml_user.parallel_run import EntryScript


    def init():
        global folder, worker
        parser = argparse.ArgumentParser()
        parser.add_argument("--folder")
        args, _ = parser.parse_known_args()
        folder = args.folder
        worker = os.getpid()
        EntryScript().logger.info("init of %d", worker)


    def run(mini_batch):
        print("takes", [os.path.basename(path) for path in mini_batch])
        assert worker == os.getpid()
        for path in mini_batch:
            with open(os.path.join(folder, os.path.basename(path)), "w") as file:
                file.write(open(path).read() + suffix)
        open("outputs/kept", "w").close()
        return [os.path.basename(path) for path in mini_batch]


    def shutdown():
        print("shutdown of", worker)
"""
FILES = {f"data/{name}": name for name in ("c", "a", "b/z", "b/y", "d")}
TABLE = """\
    type: mltable
    paths:
      - pattern: ./*.csv
    transformations:
      - read_delimited: {delimiter: ';', include_path_column: false}
      - keep_columns: [store, amount]
      - take: 6
"""
ROWS = {
    "data/MLTable": TABLE,
    "data/1.csv": "store;amount;more\nx;1;\ny;2;\nx;3;\n",
    "data/2.csv": "store;amount;more\nx;4;\ny;5;\nz;6;\nz;7;\n",
}


def parallel(
    script: str = "score.py",
    *,
    data: str = "uri_folder",
    arguments: str = "",
    outputs: Mapping[str, Any] = {},
    append: str | None = None,
    **more: Any,
) -> Any:
    """A parallel step over the folder ``data``."""
    task = {"type": "run_function", "code": "./code", "entry_script": script, "environment": "azureml:e:1"}
    task |= {"program_arguments": arguments} if arguments else {}
    task |= {"append_row_to": f"${{{{outputs.{append}}}}}"} if append else {}
    return {
        "type": "parallel",
        "task": task,
        "inputs": {"data": {"type": data, "path": "./data"}},
        "outputs": dict(outputs),
        "input_data": "${{inputs.data}}",
        "mini_batch_size": "2",
        "resources": {"instance_count": 1},
        "max_concurrency_per_instance": 2,
        **more,
    }


def said(ran: Ran, name: str = "score") -> list[str]:
    log = ran.step(name).log
    assert log is not None
    return log.read_text().splitlines()


def scoring(body: str, *, init: str = "pass", run: str = "mini_batch") -> dict[str, str]:
    """An entry script with these bodies of ``run`` and ``init``."""
    text = f"import os, sys, time\n\ndef init():\n    {init}\n\ndef run({run}):\n    {body}\n"
    return {"code/score.py": text}


def test_files_are_processed_in_mini_batches_and_the_results_appended_in_order(
    local_jobs: JobRunner, write: Write
) -> None:
    score = parallel(
        arguments="--folder ${{outputs.folder}} --other 1",
        outputs={"folder": FOLDER, "rows": FILE},
        append="rows",
    )
    read = command(
        "cat ${{inputs.x}} > ${{outputs.y}}", inputs={"x": delivered_by("score", "rows")}, outputs={"y": FILE}
    )
    files = {**FILES, "code/score.py": SCORE, "code/beside.py": "suffix = '!'"}
    write({**files, "job.yml": pipeline({"score": score, "read": read})})
    ran = local_jobs.run()

    assert ran.statuses() == {"score": "Completed", "read": "Completed"}
    assert ran.step("read").outputs["y"].read_text().split() == ["a", "y", "z", "c", "d"]
    folder = ran.step("score").outputs["folder"]
    assert (folder / "y").read_text() == "b/y!"
    lines = said(ran)
    assert sorted(line for line in lines if line.startswith("takes")) == [
        "takes ['a', 'y']",
        "takes ['d']",
        "takes ['z', 'c']",
    ]
    started = {line.split()[-1] for line in lines if line.startswith("init of")}
    assert len(started) == 2
    assert started == {line.split()[-1] for line in lines if line.startswith("shutdown of")}
    assert lines[-1] == "3 mini-batches, 5 items: 0 items and 0 mini-batches failed"
    assert (ran.folder / "steps/score/code/outputs/kept").exists()

    assert local_jobs.run().outcome.reused == ("score", "read")
    write({"data/d": "another"})
    assert local_jobs.run().outcome.reused == ("read",)  # the names of the files are as they were


@pytest.mark.slow
def test_a_script_that_imports_mlflow_ends_well_under_another_interpreter(
    prefect_api: str, write: Write, tmp_path: Path, run: Await
) -> None:
    """One without Azure's packages: the driver of the mini-batches, which lies beside the step host, is forked."""
    python = virtual_environment(tmp_path / "venv")
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if not package.name.startswith(("azure", "__", "_")):
            (site / package.name).symlink_to(package)
    settings = Settings(tmp_path / "project", tmp_path / "home", {})
    script = scoring("return [os.path.basename(path) for path in mini_batch]")
    script = {name: f"import mlflow\n{text}" for name, text in script.items()}
    score = parallel(outputs={"rows": FILE}, append="rows")
    write({**FILES, **script, "job.yml": pipeline({"score": score})})

    @asynccontextmanager
    async def engine(_: Timeouts) -> AsyncGenerator[Engine]:
        async with open_local_engine(settings, python=python) as opened:
            yield opened

    ran = JobRunner("local", engine, tmp_path, run).run()

    assert ran.step("score").message == ""
    assert said(ran) == ["3 mini-batches, 5 items: 0 items and 0 mini-batches failed"]
    assert ran.step("score").outputs["rows"].read_text().split() == ["a", "y", "z", "c", "d"]


def test_rows_of_an_mltable_come_as_frames_and_go_as_lines(local_jobs: JobRunner, write: Write) -> None:
    score = parallel(data="mltable", outputs={"rows": FILE}, append="rows", mini_batch_size="35")
    script = scoring("print(len(mini_batch), list(mini_batch.columns)); return mini_batch.assign(note='a b')")
    write({**ROWS, **script, "job.yml": pipeline({"score": score})})
    ran = local_jobs.run()

    rows = ["x 1", "y 2", "x 3", "x 4", "y 5", "z 6"]
    assert ran.step("score").outputs["rows"].read_text().splitlines() == [f'{row} "a b"' for row in rows]
    assert [line for line in said(ran) if "store" in line] == ["3 ['store', 'amount']"] * 2
    assert not [line for line in said(ran) if "Warning" in line]  # of a fork beside the threads that pandas brings


def test_rows_of_the_same_keys_are_one_mini_batch(local_jobs: JobRunner, write: Write) -> None:
    body = "return [f\"{context.partition_key_value['store']} {list(mini_batch['amount'])}\"] * len(mini_batch)"
    score = parallel(data="mltable", outputs={"rows": FOLDER}, append="rows", partition_keys=["store"])
    del score["mini_batch_size"]
    write({**ROWS, **scoring(body, run="mini_batch, context"), "job.yml": pipeline({"score": score})})
    ran = local_jobs.run()

    lines = (ran.step("score").outputs["rows"] / "parallel_run_step.txt").read_text().splitlines()
    assert list(dict.fromkeys(lines)) == ["x [1, 3, 4]", "y [2, 5]", "z [6]"]


@pytest.mark.parametrize(
    ("reader", "options", "texts", "found"),
    [
        ("read_delimited", {"header": "no_header"}, ["1,NA", "2,"], {"Column1": [1, 2], "Column2": ["NA", None]}),
        ("read_delimited", {"header": "from_first_file"}, ["a,b\n1,2", "3,4"], {"a": [1, 3], "b": [2, 4]}),
        ("read_delimited", {"infer_column_types": False}, ["a\n01"], {"a": ["01"]}),
        ("read_delimited", {"empty_as_string": True, "encoding": "iso88591"}, ["a,b\né,"], {"a": ["é"], "b": [""]}),
        ("read_json_lines", {"invalid_lines": "drop"}, ['{"a": 1}\nno\n', '{"a": 2}'], {"a": [1, 2]}),
    ],
)
def test_files_are_read_as_the_mltable_says(
    reader: str, options: dict[str, Any], texts: list[str], found: dict[str, Any], tmp_path: Path
) -> None:
    from flows.engines.local.parallel.rows import rows

    files = [tmp_path / str(number) for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text, encoding="latin-1")
    frame, count = rows([str(file) for file in files], [(reader, options)])
    assert frame.astype(object).where(frame.notna(), None).to_dict("list") == found
    assert count == len(frame)


def test_rows_of_parquet_are_transformed_in_the_order_of_the_mltable(tmp_path: Path) -> None:
    import pandas as pd

    from flows.engines.local.parallel.rows import rows

    file = tmp_path / "rows.parquet"
    pd.DataFrame({"a": ["1", "2", "3"], "b": [1, 2, 3]}).to_parquet(file)
    whole_numbers = [{"columns": "a", "column_type": "int"}]
    steps: list[tuple[str, Any]] = [
        ("skip", 1),
        ("take", 1),
        ("convert_column_types", whole_numbers),
        ("drop_columns", "b"),
    ]
    frame, count = rows([str(file)], [("read_parquet", {"include_path_column": True}), *steps])
    assert (frame.to_dict("list"), count) == ({"Path": [str(file)], "a": [2]}, 3)


@pytest.mark.parametrize(
    "written", ["/{store}/{day:yyyy/MM/dd}/{name}.csv", {"partition_format": "{store}/{day:yyyy/MM/dd}/{name}.csv"}]
)
def test_a_partition_format_makes_columns_of_the_paths(tmp_path: Path, written: Any) -> None:
    from flows.engines.local.parallel.rows import rows

    files = [tmp_path / "x" / "2024/01/31" / "a.csv", tmp_path / "y" / "2024/02/01" / "b.csv"]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text("n,more\n1,0\n2,0\n")
    steps: list[tuple[str, Any]] = [
        ("keep_columns", ["n"]),
        ("skip", 1),
        ("extract_columns_from_partition_format", written),
    ]
    frame, _ = rows([str(file) for file in files], [("read_delimited", {}), *steps])
    assert frame.assign(day=frame["day"].dt.strftime("%d %B")).to_dict("list") == {
        "n": [2, 1, 2],
        "store": ["x", "y", "y"],
        "day": ["31 January", "01 February", "01 February"],
        "name": ["a", "b", "b"],
    }


def test_a_path_that_a_partition_format_does_not_fit_is_named(tmp_path: Path) -> None:
    from flows.engines.local.parallel.rows import rows

    (tmp_path / "a.csv").write_text("n\n1\n")
    steps: list[tuple[str, Any]] = [("extract_columns_from_partition_format", "/{day:yyyy}/a.csv")]
    with pytest.raises(SystemExit, match=r"a.csv does not end as /\{day:yyyy\}/a.csv says"):
        rows([str(tmp_path / "a.csv")], [("read_delimited", {}), *steps])


def test_an_mltable_that_only_lists_files_gives_files(local_jobs: JobRunner, write: Write) -> None:
    table = "paths:\n  - file: ./a\n  - folder: ./b\n"
    script = scoring("return [os.path.basename(path) for path in mini_batch]")
    score = parallel(data="mltable", outputs={"rows": FILE}, append="rows")
    write({**FILES, **script, "data/MLTable": table, "job.yml": pipeline({"score": score})})

    assert local_jobs.run().step("score").outputs["rows"].read_text().split() == ["a", "y", "z"]


def test_what_an_mltable_asks_for_in_vain_is_named(local_jobs: JobRunner, write: Write) -> None:
    table = "paths:\n  - file: ./a\ntransformations:\n  - read_delta_lake\n  - filter: col('x') > 0\n"
    score = parallel(data="mltable")
    write({**FILES, **scoring("return []"), "data/MLTable": table, "job.yml": pipeline({"score": score})})

    assert "MLTable asks for read_delta_lake, filter, which cannot be done" in local_jobs.run().step("score").message


@pytest.mark.parametrize(
    ("fails", "how"),
    [
        ("raise ValueError('no luck')", "ValueError: no luck"),
        ("os._exit(3)", "exit code 3"),
        ("time.sleep(1000)", "took longer than 5 s"),
    ],
)
def test_a_mini_batch_that_fails_dies_or_hangs_is_tried_again(
    fails: str, how: str, local_jobs: JobRunner, write: Write
) -> None:
    body = f"tried = {str(local_jobs.folder / 'tried')!r} + os.path.basename(mini_batch[0])\n    "
    body += f"if not os.path.exists(tried):\n        open(tried, 'w').close()\n        {fails}\n    return mini_batch"
    retry = {"max_retries": 1, "timeout": 5 if "sleep" in fails else DEADLINE_SECONDS}
    write({"data/a": "", "data/b": "", **scoring(body)})
    score = parallel(mini_batch_size="1", retry_settings=retry, mini_batch_error_threshold=0)
    write({"job.yml": pipeline({"score": score})})
    ran = local_jobs.run()

    assert ran.statuses() == {"score": "Completed"}
    failed = sorted(line for line in said(ran) if line.startswith("mini-batch "))
    assert [line.partition(":")[0] for line in failed] == [f"mini-batch {n} failed, try 1 of 2" for n in (1, 2)]
    assert all(how in line for line in failed)


@pytest.mark.parametrize(
    ("thresholds", "status", "message"),
    [
        ({}, "Completed", "5 mini-batches, 5 items: 2 items and 1 mini-batches failed"),
        ({"error_threshold": 2, "mini_batch_error_threshold": 1}, "Completed", "2 items and 1 mini-batches failed"),
        ({"error_threshold": 1}, "Failed", "2 items failed, and error_threshold is 1"),
        ({"mini_batch_error_threshold": 0}, "Failed", "1 mini-batches failed, and mini_batch_error_threshold is 0"),
    ],
)
def test_a_step_fails_with_more_failures_than_its_thresholds_allow(
    thresholds: dict[str, Any], status: str, message: str, local_jobs: JobRunner, write: Write
) -> None:
    """Of one mini-batch nothing comes, which makes its item fail but not itself; another fails."""
    body = "assert mini_batch[0][-1] != 'a'; return [path for path in mini_batch if path[-1] != 'z']"
    score = parallel(mini_batch_size="1", retry_settings={"max_retries": 0}, **thresholds)
    write({**FILES, **scoring(body), "job.yml": pipeline({"score": score})})
    ran = local_jobs.run()

    assert ran.statuses() == {"score": status}
    assert message in "\n".join(said(ran))


@pytest.mark.parametrize(
    ("body", "append", "why"),
    [
        ("return None", "rows", "no mini-batch succeeded"),
        ("raise ValueError", "rows", "no mini-batch succeeded"),
        ("raise ValueError", None, "no mini-batch succeeded"),
        ("os._exit(3)", None, "no mini-batch succeeded"),
        ("return []", "rows", "no item of any mini-batch succeeded"),
        ("return []", None, ""),
        ("return mini_batch[:1]", "rows", ""),
    ],
)
def test_a_step_of_which_nothing_succeeded_fails_whatever_its_thresholds_allow(
    body: str, append: str | None, why: str, local_jobs: JobRunner, write: Write
) -> None:
    outputs = {"rows": FILE} if append else {}
    score = parallel(outputs=outputs, append=append, mini_batch_error_threshold=-1, error_threshold=-1)
    write({**FILES, **scoring(body), "job.yml": pipeline({"score": score})})
    ran = local_jobs.run()

    assert ran.statuses() == {"score": "Failed" if why else "Completed"}
    assert why in ran.step("score").message


def test_a_script_that_cannot_start_fails_the_step_at_once(local_jobs: JobRunner, write: Write) -> None:
    write({**FILES, **scoring("return []", init="raise KeyError('model')"), "job.yml": pipeline({"score": parallel()})})
    message = local_jobs.run().step("score").message

    assert "KeyError: 'model'" in message
    assert "init() of score.py failed: the worker ended with exit code 1" in message


def test_a_parallel_job_over_a_single_file_with_variables_of_its_own(local_jobs: JobRunner, write: Write) -> None:
    """Variables that the YAML sets are there before Python starts: such a step is not forked."""
    job = parallel(outputs={"rows": FILE}, append="rows", environment_variables={"WHO": "me"})
    job["inputs"]["data"] = {"type": "uri_file", "path": "./data/a"}
    body = "return [f\"{os.environ['WHO']} {os.path.basename(path)} {sys.argv}\" for path in mini_batch]"
    write({**FILES, **scoring(body), "job.yml": json.dumps(job)})

    assert Path(local_jobs.run().outcome.outputs["rows"]).read_text() == "me a ['score.py']\n"


def test_modules_of_the_script_win_over_what_is_loaded(local_jobs: JobRunner, write: Write) -> None:
    script = "from yaml import who\n\ndef run(mini_batch):\n    return [who] * len(mini_batch)\n"
    score = parallel("sub/score.py", outputs={"rows": FILE}, append="rows", mini_batch_size="9")
    files = {"code/sub/score.py": script, "code/yaml.py": "who = 'ours'", "data/a": "x"}
    write({**files, "job.yml": pipeline({"score": score})})

    assert local_jobs.run().step("score").outputs["rows"].read_text() == "ours\n"


def test_a_cancelled_flow_leaves_no_worker(local_jobs: JobRunner, write: Write, run: Await, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pids")
    body = f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{os.getppid()}}'); time.sleep(1000)"
    write({"data/a": "x", **scoring(body), "job.yml": pipeline({"score": parallel()})})
    request = local_jobs.request()

    async def cancelled() -> list[int]:
        running = asyncio.create_task(local_jobs.running(request))
        pids = (await asyncio.to_thread((tmp_path / "pids").read_text)).split()
        ends = [os.pidfd_open(int(pid)) for pid in pids]
        running.cancel()
        await asyncio.wait([running], timeout=DEADLINE_SECONDS)
        assert running.done()
        return ends

    for end in run(cancelled()):
        assert select.select([end], [], [], DEADLINE_SECONDS)[0]
        os.close(end)
