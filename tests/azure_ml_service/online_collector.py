"""Data collector of a deployment: appends what ``azureml-ai-monitoring`` sends to the blobs of its data assets.

Layout and lines are as Microsoft documents them; that requests which come close together share a line is left out.
"""

import json
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_ROLLED = {"Minute": "%Y/%m/%d/%H/%M", "Hour": "%Y/%m/%d/%H", "Day": "%Y/%m/%d"}


@dataclass(frozen=True, slots=True)
class Collecting:
    """What a deployment collects: by collection, the folder of its data asset and the share from 0 to 1."""

    collections: Mapping[str, tuple[Path, float]]
    rolling_rate: str
    source: str


class CollectorServer:
    """The collector of one deployment, on a port of loopback."""

    def __init__(self, collecting: Collecting, folder: Path) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(collecting))
        self._config = folder / "collector.json"
        enabled = {
            name: {"enabled": True, "sampleRatePercentage": 100 * rate}
            for name, (_, rate) in collecting.collections.items()
        }
        self._config.write_text(json.dumps({"runMode": "cloud", "collections": enabled}), encoding="utf-8")
        threading.Thread(target=self._server.serve_forever, name="data-collector", daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the package in the container finds it."""
        address = {"AZUREML_MDC_HOST": "127.0.0.1", "AZUREML_MDC_PORT": str(self._server.server_address[1])}
        return {"AZUREML_MDC_CONFIG_PATH": str(self._config), **address}

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


def _handler(collecting: Collecting) -> type[BaseHTTPRequestHandler]:
    instance, lock = uuid.uuid4(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"])).decode()
            type_ = self.headers["ce-type"]
            collection = type_.removeprefix("azureml.inference.")
            if self.path != "/modeldata/log" or collection not in collecting.collections:
                self.send_error(404)
                return
            moment = datetime.fromtimestamp(int(self.headers["ce-time"]), UTC)
            event = {
                "specversion": "1.0",
                "id": self.headers["trace-id"],
                "source": collecting.source,
                "type": type_,
                "datacontenttype": "application/json",
                "time": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "data": json.loads(content),
                "contentrange": f"bytes 0-{len(content) - 1}/{len(content)}",
                "correlationid": self.headers["ce-x-request-id"],
                "xrequestid": self.headers["ce-x-request-id"],
                "modelversion": self.headers["ce-model-version"],
                "collectdatatype": self.headers["ce-collect-data-type"],
                "agent": self.headers["ce-agent"],
            }
            place = collecting.collections[collection][0] / moment.strftime(_ROLLED[collecting.rolling_rate])
            with lock:
                place.mkdir(parents=True, exist_ok=True)
                with (place / f"{instance}.jsonl").open("a", encoding="utf-8") as blob:
                    blob.write(json.dumps(event, separators=(",", ":")) + "\n")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler
