"""``tandem state check``: what is said of a state that cannot be written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.machine.folder import make_state_folder

# In a mount namespace of its own, in which this user may mount.
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'


def test_read_only_file_system_is_told_as_such_without_advice_on_permissions(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount")
    home = tmp_path / "state"
    make_state_folder(home)
    home.chmod(0o700)  # as every command makes it
    command = [sys.executable, "-m", "flows", "state", "check", "--json"]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", READ_ONLY, "sh", str(home), *command],
        env={**os.environ, "TANDEM_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    said = {each["check"]: each for each in json.loads(done.stdout)}
    assert said["folder"]["status"] == "FAIL" and "read-only file system" in said["folder"]["message"]
    assert said["permissions"]["status"] == "skip"
    assert "chmod" not in done.stdout
