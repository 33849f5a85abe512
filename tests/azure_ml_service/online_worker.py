"""Inference server of one deployment: ``python -P online_worker.py SCRIPT DESCRIPTOR``.

It calls the scoring script's ``init()``, writes its port to the file descriptor, and answers ``POST /score`` with what
``run(text)`` returns: JSON with status 200, or, if that has a ``status_code`` as Azure's ``AMLResponse`` has, what it
says. It ends when its standard input does.
"""

import importlib.util
import json
import os
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def _load(script: Path) -> Any:
    sys.path.insert(0, str(script.parent))
    spec = importlib.util.spec_from_file_location("score", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["score"] = module
    spec.loader.exec_module(module)
    return module


def answer(result: Any) -> tuple[int, bytes]:
    """Status and body of what ``run`` returned."""
    status = getattr(result, "status_code", None)
    if status is None:
        return 200, json.dumps(result).encode()
    for name in ("get_data", "response", "message", "body", "content"):
        if (found := getattr(result, name, None)) is not None:
            found = found() if callable(found) else found
            if isinstance(found, list):  # as Flask keeps it
                found = b"".join(part if isinstance(part, bytes) else str(part).encode() for part in found)
            return status, found if isinstance(found, bytes) else json.dumps(found).encode()
    return status, b""


def main() -> None:
    """Load the script, say the port, and serve."""
    script, descriptor = Path(sys.argv[1]), int(sys.argv[2])

    def end_with_parent() -> None:
        os.read(0, 1)  # not by sys.stdin, whose lock would stand in the way of an exit
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    module = _load(script)
    module.init()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._send(200, b"Healthy")

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            try:
                status, body = answer(module.run(text))
            except Exception:
                traceback.print_exc()
                status, body = 500, b'"An unexpected error occurred in the scoring script."'
            self._send(status, body)

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            print(format % args, flush=True)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    os.write(descriptor, str(server.server_address[1]).encode())
    os.close(descriptor)
    server.serve_forever()


if __name__ == "__main__":
    main()
