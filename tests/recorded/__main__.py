"""``make recorded RECORDINGS=DIR``: compare the loopback Azure ML service with recorded answers of the real one.

Reads every ``*.json`` below the folder in the format of the Azure SDK test proxy, and replays its requests against the
loopback service in this process. Nothing that is recorded is kept or printed: only keys of the service's own schema,
types, and counts are. No recorded command is run.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from tests.recorded.recording import Unreadable, read, recordings
from tests.recorded.replay import replaying
from tests.recorded.report import Report


def main(arguments: list[str] | None = None) -> int:
    """Replay, print the table; 2 if there is nothing to replay."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.recorded", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of the recordings")
    parser.add_argument(
        "--only", default="", metavar="PATTERN", help="files whose path matches this regular expression"
    )
    parser.add_argument("--differences", metavar="TEXT", help="list what differs in operations with this in their name")
    parser.add_argument("--json", action="store_true", help="everything as JSON")
    asked = parser.parse_args(arguments)
    try:
        re.compile(asked.only)
    except re.error as error:
        return _refuse(f"--only is no regular expression: {error}.")
    if not asked.folder.is_dir():
        return _refuse(f"There is no folder {asked.folder}. Name the one that the recordings are in.")
    files = list(recordings(asked.folder, asked.only))
    if not files:
        return _refuse(f"No file *.json below {asked.folder} matches {asked.only!r}: nothing was replayed.")
    report = Report()
    with replaying() as replay:
        for path in files:
            try:
                report.add(replay.file(read(path)))
            except Unreadable as why:
                report.broken[path.relative_to(asked.folder).as_posix()] = str(why)
    if asked.json:
        print(json.dumps(report.as_json(), indent=1))
    elif asked.differences is not None:
        print(report.differences(asked.differences))
    else:
        print(report.table())
    return 0


def _refuse(why: str) -> int:
    print(why, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
