"""A PostgreSQL server of Debian's package, in a temporary folder and at a port of its own.

PostgreSQL refuses to be run by root: root runs it as the user that the package has made. No other cluster is touched.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from flows.machine.child import Child, wait_until
from flows.prefect_api.server import free_port

PACKAGES = Path("/usr/lib/postgresql")  # a folder for each version
OWNER = "postgres"
START_SECONDS = 60.0
# What is lost with the machine need not be on the disk; every host has its connections.
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


class NoPostgres(RuntimeError):
    """Debian's package is not installed."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server with its one user."""

    port: int
    user: str = "tandem"
    password: str = field(default_factory=lambda: secrets.token_hex(12), repr=False)

    def address(self, database: str, scheme: str = "postgresql") -> str:
        """The address of a database, with the password in it."""
        return f"{scheme}://{self.user}:{self.password}@127.0.0.1:{self.port}/{database}"

    def make_database(self, name: str) -> None:
        """Make an empty database."""
        import psycopg2

        connection = psycopg2.connect(self.address("postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f'CREATE DATABASE "{name}"')
        finally:
            connection.close()

    def answers(self) -> bool:
        """Whether it takes connections."""
        import psycopg2

        try:
            psycopg2.connect(self.address("postgres"), connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True


def end_blocks_on_sigterm() -> None:
    """Let SIGTERM end this process as an exception, so that no server outlives a command that is stopped."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)


def programs() -> Path:
    """The folder with the server's programs, of the newest version.

    Raises:
        NoPostgres: The package is not installed.
    """
    found = sorted(PACKAGES.glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    if not found:
        raise NoPostgres(f"There is no PostgreSQL in {PACKAGES}. Type: apt-get install postgresql")
    return found[-1].parent


def _as_owner(words: Sequence[str | Path]) -> list[str]:
    as_root = ("setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--init-groups") if os.geteuid() == 0 else ()
    return [*as_root, *map(str, words)]


@contextmanager
def postgres_server() -> Generator[Postgres]:
    """A server for as long as the block lasts; its folder goes with it.

    Raises:
        NoPostgres: Debian's package is not installed.
    """
    bin_folder, server = programs(), Postgres(free_port())
    folder = Path(tempfile.mkdtemp(prefix="tandem-postgres-"))
    environment: Mapping[str, str] = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder)}
    data, password = folder / "data", folder / "password"
    try:
        password.write_text(server.password, encoding="utf-8")
        password.chmod(0o600)
        if os.geteuid() == 0:
            for path in (folder, password):
                shutil.chown(path, OWNER, OWNER)
        subprocess.run(
            _as_owner(
                [
                    *(bin_folder / "initdb", "--pgdata", data, "--username", server.user, "--pwfile", password),
                    *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-sync", "--no-instructions"),
                ]
            ),
            check=True,
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        settings = SETTINGS | {
            "port": str(server.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
        }
        words = [bin_folder / "postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())]
        with Child("PostgreSQL", _as_owner(words), environment, log=folder / "log", folder=folder) as child:
            if not wait_until(server.answers, [child], START_SECONDS):
                raise RuntimeError(f"PostgreSQL did not start within {START_SECONDS:g} s: {child.said()}")
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)
