"""Commands that are killed while Azure ML works for them: started again, nothing is asked for twice."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.azure_ml_service.faults import Fault
from tests.serving.azureml.conftest import SCRIPT, Shop

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

CLIENT = """
import asyncio, sys
from pathlib import Path
from flows.serving.azureml.adapter import open_azure_serving
from flows.serving.endpoints import DeploymentRequest, ServedModel
from flows.settings import Settings
from flows.spec.model.endpoint import EndpointSpec, OnlineDeploymentSpec
from flows.spec.model.job import Environment

what, endpoint, folder, source = sys.argv[1:]
folder = Path(folder)

async def main():
    async with open_azure_serving(Settings.from_environment()) as serving:
        if what == "create":
            await serving.create_endpoint(EndpointSpec(endpoint, folder / "endpoint.yml"))
        elif what == "deploy":
            spec = OnlineDeploymentSpec(
                "blue", endpoint, folder / "deployment.yml", code=folder / "code", scoring_script="score.py",
                environment=Environment(image="ubuntu:22.04"), instance_type="Standard_DS3_v2",
            )
            model = ServedModel(source.split(":")[1], 1, "0123abcd" * 8)
            await serving.deploy(DeploymentRequest(endpoint, "blue", spec, model, source))
        else:
            await serving.set_traffic(endpoint, {"blue": 100})
        there = await serving.endpoint(endpoint)
        print(there.state, dict(there.traffic), [(one.name, str(one.state)) for one in there.deployments])

asyncio.run(main())
"""


def test_commands_killed_at_each_change_go_on_with_it_when_they_are_started_again(shop: Shop, tmp_path: Path) -> None:
    shop.request("blue", script=SCRIPT)  # writes the code, and registers the model
    (tmp_path / "client.py").write_text(CLIENT, encoding="utf-8")
    shop.service.operations.seconds = 1.0
    running: list[subprocess.Popen[str]] = []

    def start(what: str) -> "subprocess.Popen[str]":
        arguments = [what, shop.endpoint, str(tmp_path), f"azureml:model-{shop.endpoint}:1"]
        environment = {**os.environ, **shop.service.environment, "PYTHONPATH": os.getcwd()}
        words = [sys.executable, str(tmp_path / "client.py"), *arguments]
        running.append(subprocess.Popen(words, stdout=subprocess.PIPE, env=environment, text=True))
        return running[-1]

    def kill() -> None:
        running[-1].send_signal(signal.SIGKILL)
        running[-1].wait()

    for what, of in (("create", ""), ("deploy", "/deployments/blue"), ("traffic", "")):
        shop.service.requests.clear()
        put = f"/onlineEndpoints/{shop.endpoint}{of}$"
        shop.service.faults.add(Fault("PUT", put, "call", after_work=True, action=kill))
        assert start(what).wait(120) == -signal.SIGKILL
        told, _ = start(what).communicate(timeout=120)
        assert running[-1].returncode == 0
        assert shop.service.count("PUT", put) == 1
    assert told.split("\n")[0] == "Succeeded {'blue': 100} [('blue', 'Succeeded')]"
