"""Collects what the iterations of a loop over items deliver into one output.

Azure ML makes a table (``mltable``) of data and text of literals, as the client types them
(``azure.ai.ml.entities.ParallelFor.OUT_TYPE_MAPPING``). How the service lays out either is not recorded: here, the
folder of the table has a folder for each item, and the text is a JSON list.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.engines.plan.steps import literal_in
from flows.machine.own_folders import copy_by_links
from flows.spec.model.job import OutputPort
from flows.spec.text.names import inside

MLTABLE = "MLTable"


def collect(port: OutputPort, delivered: Mapping[str, Path], target: Path) -> None:
    """Write the collected output of a loop.

    Args:
        port: The output of the body.
        delivered: What each item delivered, by the names of the items.
        target: The path of the collected output: a file for literals, else a folder, which is made.

    Raises:
        OSError: It cannot be written.
        DataAssetError: A literal cannot be read.
    """
    if port.is_literal:
        values = [_value(literal_in(path, port.type), port.type) for path in delivered.values()]
        target.write_text(json.dumps(values), encoding="utf-8")
        return
    target.mkdir()
    paths: list[str] = []
    for item, source in delivered.items():
        place = inside(target, item)
        if source.is_dir():
            copy_by_links(source, place)
            paths.append(f"- folder: ./{item}")
        else:
            place.mkdir()
            copy_by_links(source, place / source.name)
            paths.append(f"- file: ./{item}/{source.name}")
    (target / MLTABLE).write_text("\n".join(["type: mltable", "paths:", *paths, ""]), encoding="utf-8")


def _value(text: str, kind: str) -> Any:
    match kind:
        case "boolean":
            return text.lower() == "true"
        case "integer" | "number":
            number = float(text)
            return int(number) if kind == "integer" else number
        case _:
            return text
