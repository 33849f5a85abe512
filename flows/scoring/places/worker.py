"""Runs the scoring script of a batch deployment on this machine, as Azure ML does. It is a process of its own.

``python -m flows.scoring.places.worker``, with the variables that Azure ML sets: ``AML_APP_ROOT`` is the code,
``AZUREML_ENTRY_SCRIPT`` the script in it, ``AZUREML_MODEL_DIR`` the folder of the model. ``init`` is called once; then
a line ``{"ready": true}`` is printed. Each line of standard input, ``{"file": …, "into": …}``, is a mini-batch of one
file. What ``run`` returns for it becomes a file of Arrow, and is answered by a line ``{"done": true}``, or
``{"error": KIND}`` for an error of the script, which goes to the log. It ends when its standard input does.
"""

import gc
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from flows.serving.local.worker import load_script


def write_result(result: Any, file: Path) -> None:
    """Write what a script has returned, a pandas frame, as a file of Arrow."""
    import pyarrow as pa
    from pyarrow.feather import write_feather

    write_feather(pa.Table.from_pandas(result, preserve_index=False), str(file), compression="uncompressed")


def main() -> None:
    """Load the script, and score files until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the script prints goes to the log
    gc.disable()  # imports leave no garbage, and looking for it takes a tenth of the start
    script = load_script(Path(os.environ["AML_APP_ROOT"]), os.environ["AZUREML_ENTRY_SCRIPT"])
    script.init()
    gc.freeze()
    gc.enable()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            write_result(script.run([asked["file"]]), Path(asked["into"]))
            told: dict[str, Any] = {"done": True}
        except Exception as error:
            traceback.print_exc()
            told = {"error": type(error).__name__}
        print(json.dumps(told), file=answers, flush=True)


if __name__ == "__main__":
    main()
