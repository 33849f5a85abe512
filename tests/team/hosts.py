"""Two hosts on one machine: network namespaces that are joined by a bridge, each with its own disk.

A process on a host sees the network of the host only, and of this machine's files what both would have installed (the
system and the Python environment), but neither this checkout nor the folder of another host. It needs root.
"""

import os
import secrets
import shlex
import subprocess
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.machine.child import Child
from tests.team.servers import own_variables
from tests.terminal import PROJECT

# Covers this checkout but for its environment, and all temporary folders but for the host's own.
_ENTER = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/environment /mnt/own
mount --bind {project}/.venv /mnt/environment
mount --bind {own} /mnt/own
mount -t tmpfs tmpfs {project}
mkdir {project}/.venv
mount --bind /mnt/environment {project}/.venv
mount -t tmpfs -o mode=1777 tmpfs {temporary}
mkdir -p {own}
mount --bind /mnt/own {own}
cd {own}
exec "$@"
"""


class NoHosts(RuntimeError):
    """This machine does not permit network namespaces to this user."""


@dataclass(frozen=True, slots=True)
class Host:
    """One host: its network namespace, its address and the only folder that it has for itself."""

    namespace: str
    address: str
    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """The variables of a process on it."""
        return {**own_variables(self.folder), "TANDEM_HOME": str(self.folder / "state"), "TMPDIR": str(self.folder)}

    def words(self, *words: str | Path) -> list[str]:
        """The command that runs a command on it."""
        paths = {"project": PROJECT, "own": self.folder, "temporary": tempfile.gettempdir()}
        script = _ENTER.format(**{name: shlex.quote(str(path)) for name, path in paths.items()})
        return ["ip", "netns", "exec", self.namespace, "unshare", "--mount", "sh", "-c", script, "-", *map(str, words)]

    def run(self, *words: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a command on it to its end."""
        return subprocess.run(
            self.words(*words),
            env={**self.variables, **variables},
            capture_output=True,
            text=True,
            timeout=600,
        )

    def start(self, name: str, words: Sequence[str | Path], variables: Mapping[str, str]) -> Child:
        """Start a command on it; what it prints is in ``NAME.log`` of its folder."""
        log = self.folder / f"{name}.log"
        return Child(name, self.words(*words), {**self.variables, **variables}, log=log, grace_seconds=30)


@dataclass(frozen=True, slots=True)
class Network:
    """A network with an address of this machine in it, where servers may listen, and hosts."""

    address: str
    hosts: Sequence[Host]


def _ip(words: str) -> None:
    done = subprocess.run(["ip", *words.split()], capture_output=True, text=True)
    if done.returncode:
        raise NoHosts(f"`ip {words}`: {done.stderr.strip()}")


@contextmanager
def network(folder: Path, hosts: int = 2) -> Generator[Network]:
    """A network for as long as the block lasts.

    Args:
        folder: Where each host gets its folder.
        hosts: How many.

    Raises:
        NoHosts: Not as root, or not permitted on this machine.
    """
    if os.geteuid() != 0:
        raise NoHosts("Network namespaces need root.")
    name, third = secrets.token_hex(3), secrets.randbelow(250)
    bridge, subnet = f"tb-{name}", f"10.213.{third}"
    made: list[Host] = []
    with ExitStack() as stack:
        _ip(f"link add {bridge} type bridge")
        stack.callback(_ip, f"link del {bridge}")
        _ip(f"addr add {subnet}.1/24 dev {bridge}")
        _ip(f"link set {bridge} up")
        for number in range(1, hosts + 1):
            namespace, near, far = f"tandem-{name}-{number}", f"tn-{name}-{number}", f"tf-{name}-{number}"
            address = f"{subnet}.{number + 1}"
            _ip(f"netns add {namespace}")
            stack.callback(_ip, f"netns del {namespace}")
            _ip(f"link add {near} type veth peer name {far} netns {namespace}")
            _ip(f"link set {near} master {bridge} up")
            _ip(f"-n {namespace} addr add {address}/24 dev {far}")
            _ip(f"-n {namespace} link set {far} up")
            _ip(f"-n {namespace} link set lo up")
            own = folder / f"host-{number}"
            own.mkdir()
            made.append(Host(namespace, address, own))
        yield Network(f"{subnet}.1", made)
