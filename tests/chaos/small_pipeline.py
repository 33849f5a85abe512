"""A small pipeline whose steps write their output in parts, slowly: half of it is there for a while."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

PARTS = 4
HALF = "part-1"  # there while an output is half written

SCRIPT = """\
import hashlib, pathlib, sys, time

seconds, text, target, *sources = sys.argv[1:]
whole = text + "".join(p.read_text() for s in sources for p in sorted(pathlib.Path(s).glob("part-*")))
for part in range(4):
    digest = hashlib.sha256(f"{part} {whole}".encode()).hexdigest()
    with open(pathlib.Path(target, f"part-{part}"), "w") as file:
        file.write(digest[:32])
        file.flush()
        time.sleep(float(seconds) / 4)
        file.write(digest[32:])
print("wrote", target)
"""

_OUT = {"out": {"type": "uri_folder"}}


def _step(text: str, sources: tuple[str, ...], shell: bool = False) -> dict[str, object]:
    names = [f"from_{source}" for source in sources]
    reads = " ".join(f"${{{{inputs.{name}}}}}" for name in names)
    command = (
        f"python work.py ${{{{inputs.seconds}}}} {text}${{{{inputs.number}}}} ${{{{outputs.out}}}} {reads}".strip()
    )
    return {
        "type": "command",
        "command": f"{command} && echo done" if shell else command,
        "code": "./code",
        "environment": {"image": "ubuntu:22.04"},
        "inputs": {
            "seconds": "${{parent.inputs.seconds}}",
            "number": "${{parent.inputs.number}}",
            **{name: f"${{{{parent.jobs.{source}.outputs.out}}}}" for name, source in zip(names, sources, strict=True)},
        },
        "outputs": dict(_OUT),
    }


def write_pipeline(folder: Path, label: str) -> Path:
    """Write the pipeline; return its file. ``label`` is the display name of its jobs."""
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "work.py").write_text(SCRIPT)
    last = _step("last", ("left", "right"))
    last["outputs"] = {"out": "${{parent.outputs.total}}"}
    pipeline = {
        "type": "pipeline",
        "display_name": label,
        "experiment_name": "chaos",
        "settings": {"default_compute": "azureml:cpu-cluster-01"},
        "inputs": {"number": 0, "seconds": 0.4},
        "outputs": {"total": {"type": "uri_folder"}},
        "jobs": {
            "first": _step("first", ()),
            "left": _step("left", ("first",)),
            "right": _step("right", ("first",), shell=True),
            "last": last,
        },
    }
    file = folder / "pipeline.yml"
    file.write_text(json.dumps(pipeline, indent=1))
    return file


def expected_total(number: int) -> Mapping[str, str]:
    """What the pipeline delivers for an input, by name of file."""
    first = _parts(f"first{number}")
    left, right = (_parts(f"{name}{number}" + "".join(first.values())) for name in ("left", "right"))
    return _parts(f"last{number}" + "".join(left.values()) + "".join(right.values()))


def _parts(whole: str) -> dict[str, str]:
    return {f"part-{part}": hashlib.sha256(f"{part} {whole}".encode()).hexdigest() for part in range(PARTS)}
