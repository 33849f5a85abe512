"""Reads hostile files in a process that may take no more than a gigabyte; prints what it finds of each."""

import json
import resource
import sys
from pathlib import Path

from flows.errors import SpecError
from flows.spec.reading.assets import read_data_asset, read_environment
from flows.spec.reading.reader import examine

MOST_BYTES = 1 << 30


def main() -> None:
    """Read the folders that are named on the command line, each with a ``job.yml``."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    for folder in sys.argv[1:]:
        file = Path(folder, "job.yml")
        found = [str(finding) for finding in examine(file).findings]
        for read in (read_data_asset, read_environment):
            try:
                read(file)
            except SpecError as error:
                assert str(error)
        faults = [text for text in found if ": warning: " not in text]
        print(json.dumps({"folder": folder, "faults": [text[:300] for text in faults]}), flush=True)


if __name__ == "__main__":
    main()
