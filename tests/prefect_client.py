"""Ask a Prefect server over plain HTTP, as its web interface does."""

import time

import httpx


class Patient(httpx.HTTPTransport):
    """Asks again while the server says that its database is busy, as Prefect's own client does."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(50):
            response = super().handle_request(request)
            if response.status_code != 503:
                return response
            response.close()
            time.sleep(0.2)
        return super().handle_request(request)


def asking(api: str, seconds: float = 60) -> httpx.Client:
    """A client of the server at this address, which gives each answer so many seconds."""
    return httpx.Client(base_url=api, timeout=seconds, transport=Patient())
