"""What every test has: a Prefect of its own, no outside world, and nothing inherited from whoever runs the tests."""

import ipaddress
import os
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from flows.prefect_api.server import use_prefect_api
from flows.settings import Settings
from tests.processes import may_read_hidden_processes
from tests.terminal import ROWS

pytest_plugins = ["tests.azure_ml_service.fixtures"]

Write = Callable[..., Path]

INHERITED = ("AZUREML_", "AZURE_", "MLFLOW_", "PREFECT_", "TANDEM_", "MANAGED_IDENTITY_CLIENT_ID")
AZURE_CLIENT = "azure.ai.ml._ml_client"

prefect_home = pytest.StashKey[str]()
own_addresses: set[str] = set()  # of this machine, beside loopback, that a test has made
refused: list[str] = []  # what the running test tried to reach; code under test may swallow the exception


class NotInATest(RuntimeError):
    """A test tried to leave this machine."""


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before a test module imports Prefect, which reads it then."""
    for name in [name for name in os.environ if name.startswith(INHERITED)]:
        del os.environ[name]
    config.stash[prefect_home] = tempfile.mkdtemp(prefix="tandem-tests-")
    os.environ.update(
        PREFECT_HOME=config.stash[prefect_home],
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE="false",  # a test that needs a server asks for `prefect_api`
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        MLFLOW_DISABLE_TELEMETRY="true",
        DO_NOT_TRACK="true",
    )
    if not may_read_hidden_processes():  # by what is in their environment, the tests find processes that are left
        os.environ["TANDEM_ALLOW_DEBUGGERS"] = "1"
    # A shell starts what goes into its background with Ctrl+C ignored, which every command of a test would inherit.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Prefect leaves connections to its server for the garbage collector to close, in whatever test or hook that runs.
    config.addinivalue_line("filterwarnings", "ignore:unclosed .*127.0.0.1:ResourceWarning")
    warnings.filterwarnings("ignore", "unclosed .*127.0.0.1", ResourceWarning)
    sys.addaudithook(_stay_on_this_machine)
    sys.meta_path.insert(0, _RefuseAzureClients())


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[prefect_home], ignore_errors=True)


def _stay_on_this_machine(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address: Any = arguments[1]
    elif event == "socket.getaddrinfo":
        address = arguments[:2]
    else:
        return
    if isinstance(address, tuple) and not _is_loopback(address[0]):
        said = f"connecting to {address}"
        # Threads of the SDK go on asking how the making of a compute target goes, after the test that began it.
        if not threading.current_thread().name.startswith("LROPoller"):
            refused.append(said)
        raise NotInATest(said)


def _is_loopback(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost") or name in own_addresses:
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


class _RefuseAzureClients:
    """Lets the SDK be imported, and its client not be made, as long as no test says ``azure_client_allowed``."""

    allowed = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname == AZURE_CLIENT else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            client: Any = vars(module)["MLClient"]
            make = client.__init__

            def guarded(self: Any, *arguments: Any, **options: Any) -> None:
                if not _RefuseAzureClients.allowed:
                    refused.append("building an Azure client")
                    raise NotInATest(refused[-1])
                make(self, *arguments, **options)

            client.__init__ = guarded

        spec.loader.exec_module = exec_module
        return spec


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine() -> Iterator[None]:
    """Fail a test that tried to reach something outside, even where the code under test hid the exception."""
    refused.clear()
    yield
    assert not refused


def _environment_restored() -> Iterator[None]:
    before, umask = dict(os.environ), os.umask(0o022)
    os.umask(umask)
    yield
    os.umask(umask)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def environment_is_left_as_it_was() -> Iterator[None]:
    """Take back what code under test has changed: the Prefect API of a command, MLflow's server, the umask."""
    yield from _environment_restored()


@pytest.fixture(autouse=True, scope="module")
def environment_of_a_module_is_left_as_it_was() -> Iterator[None]:
    """Take back what the fixtures of a module have changed too."""
    yield from _environment_restored()


@pytest.fixture
def azure_client_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this test build the SDK's client, for a service on this machine."""
    monkeypatch.setattr(_RefuseAzureClients, "allowed", True)


@pytest.fixture(scope="module")
def azure_client_allowed_in_a_module() -> Iterator[None]:
    """The same for all tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_RefuseAzureClients, "allowed", True)
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of local state, for this test and the commands that it runs."""
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Prefect server, started when the first test asks for it."""
    settings = Settings.from_environment({"TANDEM_HOME": str(tmp_path_factory.mktemp("prefect"))})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", "")  # which is taken back at the end, whatever it has become
        patch.setenv("PREFECT_HOME", os.environ["PREFECT_HOME"])
        api = use_prefect_api(settings)
    api.wait_until_ready()
    yield api.url
    if "prefect.logging.handlers" in sys.modules:
        sys.modules["prefect.logging.handlers"].APILogWorker.drain_all()  # while there is someone to send it to
    assert api.child is not None
    assert api.child.process.stdin is not None
    api.child.process.stdin.close()  # which is what ends it
    api.child.process.wait()


@pytest.fixture(scope="session")
def prefect_settings(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Prefect's settings with that server, made once: to make them for every test takes 60 ms each.

    Every client reads the file of certificates, though it speaks plain HTTP: with one instead of 140, 40 ms less each.
    """
    import certifi
    from prefect.settings import PREFECT_API_SSL_CERT_FILE, PREFECT_API_URL, temporary_settings

    end = "-----END CERTIFICATE-----\n"
    one = tmp_path_factory.mktemp("tls") / "one.pem"
    one.write_text(certifi.contents().partition(end)[0] + end)
    with temporary_settings({PREFECT_API_URL: prefect_server, PREFECT_API_SSL_CERT_FILE: str(one)}) as settings:
        return settings


@pytest.fixture
def prefect_api(prefect_server: str, prefect_settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the Prefect API, in use by this process and by the commands that it runs."""
    from prefect.context import SettingsContext, get_settings_context

    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    with SettingsContext(profile=get_settings_context().profile, settings=prefect_settings):
        yield prefect_server


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files, given by their path in the test's folder, and return that folder."""

    def _write(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text), encoding="utf-8")
        return tmp_path

    return _write


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model as the pipeline leaves it."""
    import data_file
    import prep
    import train

    folder = tmp_path_factory.mktemp("trained") / "model"
    prepared = prep.prepare(data_file.read(ROWS), prep.Parameters())
    rows = prepared.table.take(prepared.train).to_pandas()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*type hint")  # MLflow warns of its own
        train.save(train.fit(rows, train.Parameters()), rows, folder)
    return folder
