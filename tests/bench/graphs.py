"""Random graphs of many small steps: as a pipeline's YAML, and how fast they can be run at best."""

import heapq
import json
import random
from collections.abc import Iterable, Mapping
from itertools import accumulate
from pathlib import Path

READS = 3  # at most so many earlier steps
NEARBY = 30  # all of them among so many before it
COMPONENT = """\
type: command
name: small
code: ./code
environment: azureml:none@latest
command: start=$(date +%s.%N) && sleep ${{inputs.seconds}} && echo $start $(date +%s.%N) > ${{outputs.out}}
inputs:
  number: {type: integer}
  seconds: {type: number}
"""


def random_graph(size: int, seed: int = 0) -> dict[str, list[str]]:
    """Which steps each step reads from, by name; the steps are in an order in which they may run."""
    rng = random.Random(seed)
    graph: dict[str, list[str]] = {}
    for number in range(size):
        before = list(graph)[-NEARBY:]
        graph[f"step_{number}"] = sorted(rng.sample(before, min(len(before), rng.randint(0, READS))))
    return graph


def write_pipeline(graph: Mapping[str, list[str]], seconds: float, folder: Path) -> Path:
    """Write the pipeline of a graph, all of whose steps are of one component and take so long; return its file."""
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "README.md").write_text("Every step has this code.\n")
    reads = "".join(f"  in_{at}: {{type: uri_file, optional: true}}\n" for at in range(READS))
    (folder / "component.yml").write_text(f"{COMPONENT}{reads}outputs:\n  out: {{type: uri_file}}\n")
    jobs = {
        name: {
            "type": "command",
            "component": "./component.yml",
            "inputs": {
                "number": number,
                "seconds": seconds,
                **{f"in_{at}": f"${{{{parent.jobs.{step}.outputs.out}}}}" for at, step in enumerate(before)},
            },
        }
        for number, (name, before) in enumerate(graph.items())
    }
    file = folder / "pipeline.yml"
    file.write_text(json.dumps({"type": "pipeline", "display_name": "Random graph", "jobs": jobs}, indent=1))
    return file


def shortest_seconds(graph: Mapping[str, list[str]], seconds: Mapping[str, float], at_once: int) -> float:
    """How long the steps take if each starts as soon as it can, so many at once, and nothing costs any time."""
    waiting = {name: set(before) for name, before in graph.items()}
    ready = [name for name, before in waiting.items() if not before]
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < at_once:
            name = ready.pop(0)
            heapq.heappush(running, (now + seconds[name], name))
        now, ended = heapq.heappop(running)
        for name, before in waiting.items():
            if ended in before:
                before.discard(ended)
                if not before:
                    ready.append(name)
    return now


def most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """How many of these spans of time, each from its begin to its end, overlap at most."""
    changes = sorted(change for began, ended in spans for change in ((began, 1), (ended, -1)))
    return max(accumulate(change for _, change in changes))
