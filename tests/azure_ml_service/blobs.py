"""Azure blob storage, as far as the SDKs use it. A blob is a file below ``<folder>/<container>/``."""

import base64
import hashlib
import os
import re
import shutil
import threading
import uuid
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from tests.azure_ml_service.identity import check_token
from tests.azure_ml_service.messages import BLOB_HOST, Answer, Refused, Request, Route, route
from tests.azure_ml_service.state import Documents

ACCOUNT = "loopbackstorage"
DATASTORES = {
    "workspaceblobstore": "azureml-blobstore-33333333",
    "workspaceartifactstore": "azureml",
}
VERSION = "2025-01-05"
_AUDIENCE = "https://storage.azure.com"


def signature() -> str:
    """A shared access signature, good for an hour.

    ``jobs.stream`` decodes it as base64, for which the number of letters must be right.
    """
    expiry = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f"sv={VERSION}&se={quote(expiry)}&sr=c&sp=racwdl&sig={'loopback'}"
    letters = len(re.sub(r"[^A-Za-z0-9+/]", "", text))
    return text + "A" * (-letters % 4)


class Blobs:
    """The storage account."""

    def __init__(self, folder: Path, documents: Documents) -> None:
        self._folder = folder
        self._documents = documents
        self._lock = threading.Lock()
        for container in DATASTORES.values():
            (folder / container).mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """Delete every blob, and every container but those of the datastores."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for container in DATASTORES.values():
            (self._folder / container).mkdir(parents=True, exist_ok=True)

    def routes(self) -> list[Route]:
        """The routes of this part."""
        return [
            route("GET|HEAD", BLOB_HOST, "/{container}/?", self.container),
            route("PUT", BLOB_HOST, "/{container}/?", self.make_container),
            route("GET|HEAD", BLOB_HOST, "/{container}/{name*}", self.read),
            route("PUT", BLOB_HOST, "/{container}/{name*}", self.write),
            route("DELETE", BLOB_HOST, "/{container}/{name*}", self.delete),
        ]

    def path(self, container: str, name: str) -> Path:
        """The file of a blob."""
        path = self._folder / container / name
        if ".." in path.parts:
            raise Refused(400, "InvalidUri", "The requested URI does not represent any resource on the server.")
        return path

    def datastore_path(self, datastore: str, name: str) -> Path:
        """The file (or folder of files) at a path of a datastore."""
        return self.path(DATASTORES[datastore], name)

    def url(self, container: str, name: str, signed: bool = True) -> str:
        """The address of a blob."""
        address = f"https://{ACCOUNT}.blob.core.windows.net/{container}/{quote(name)}"
        return f"{address}?{signature()}" if signed else address

    def local(self, url: str) -> Path:
        """The file of a blob's address."""
        match = re.fullmatch(rf"https://{BLOB_HOST}(?::443)?/([^/?]+)/?([^?]*)(\?.*)?", url)
        if match is None:
            raise Refused(400, "ValidationError", f"Not an address of the workspace's storage: {url}")
        return self.path(match[1], unquote(match[2]))

    def make_container(self, request: Request, container: str) -> Answer:
        _authorize(request)
        (self._folder / container).mkdir(exist_ok=True)
        return _empty(201)

    def container(self, request: Request, container: str) -> Answer:
        _authorize(request)
        if not (self._folder / container).is_dir():
            raise Refused(404, "ContainerNotFound", "The specified container does not exist.")
        if request.query.get("comp") != "list":
            return _empty(200)
        return self._list(request, container)

    def _list(self, request: Request, container: str) -> Answer:
        prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
        root = self._folder / container
        top = self.path(container, prefix.rpartition("/")[0])
        entries: list[str] = []
        folders: set[str] = set()
        for path in sorted(top.rglob("*")) if top.is_dir() else []:
            name = path.relative_to(root).as_posix()
            if not path.is_file() or path.suffix == ".partial" or not name.startswith(prefix):
                continue
            inner = name[len(prefix) :]
            if delimiter and delimiter in inner:
                folders.add(prefix + inner.partition(delimiter)[0] + delimiter)
                continue
            entries.append(self._entry(container, name, path, "metadata" in request.query.get("include", "")))
        entries += [f"<BlobPrefix><Name>{escape(name)}</Name></BlobPrefix>" for name in sorted(folders)]
        text = (
            '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="https://'
            f'{request.host}/" ContainerName="{container}"><Prefix>{escape(prefix)}</Prefix>'
            f"<Blobs>{''.join(entries)}</Blobs><NextMarker /></EnumerationResults>"
        )
        return Answer(200, text.encode(), {"Content-Type": "application/xml", **_common()})

    def _entry(self, container: str, name: str, path: Path, with_metadata: bool) -> str:
        metadata = self._metadata(container, name) if with_metadata else {}
        inner = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in metadata.items())
        stat = path.stat()
        return (
            f"<Blob><Name>{escape(name)}</Name><Properties>"
            f"<Creation-Time>{formatdate(stat.st_ctime, usegmt=True)}</Creation-Time>"
            f"<Last-Modified>{formatdate(stat.st_mtime, usegmt=True)}</Last-Modified>"
            f"<Etag>0x{stat.st_mtime_ns:X}</Etag><Content-Length>{stat.st_size}</Content-Length>"
            "<Content-Type>application/octet-stream</Content-Type><Content-Encoding /><Content-Language />"
            "<Content-CRC64 /><Content-MD5 /><Cache-Control /><Content-Disposition />"
            "<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier><AccessTierInferred>true</AccessTierInferred>"
            "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted>"
            "</Properties>"
            f"<Metadata>{inner}</Metadata><OrMetadata /></Blob>"
        )

    def _metadata(self, container: str, name: str) -> dict[str, str]:
        return self._documents.get("blob-metadata", f"{container}/{name}") or {}

    def read(self, request: Request, container: str, name: str) -> Answer:
        _authorize(request)
        path = self.path(container, name)
        if not path.is_file():
            return _refusal(404, "BlobNotFound", "The specified blob does not exist.")
        stat = path.stat()
        headers = {
            "Last-Modified": formatdate(stat.st_mtime, usegmt=True),
            "ETag": f'"0x{stat.st_mtime_ns:X}"',
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
            "x-ms-blob-type": "BlockBlob",
            "x-ms-creation-time": formatdate(stat.st_ctime, usegmt=True),
            **{f"x-ms-meta-{key}": value for key, value in self._metadata(container, name).items()},
            **_common(),
        }
        content = path.read_bytes() if request.method == "GET" else b""
        wanted = re.fullmatch(
            r"bytes=(\d+)-(\d*)", request.headers.get("x-ms-range") or request.headers.get("range") or ""
        )
        if wanted is None or request.method == "HEAD":
            return Answer(200, content, {**headers, "Content-Length": str(stat.st_size)})
        start = int(wanted[1])
        end = min(int(wanted[2] or stat.st_size), stat.st_size - 1)
        if start >= stat.st_size:
            answer = _refusal(416, "InvalidRange", "The range specified is invalid for the size of the resource.")
            answer.headers["Content-Range"] = f"bytes */{stat.st_size}"
            return answer
        headers["Content-Range"] = f"bytes {start}-{end}/{stat.st_size}"
        return Answer(206, content[start : end + 1], headers)

    def write(self, request: Request, container: str, name: str) -> Answer:
        _authorize(request)
        path = self.path(container, name)
        match request.query.get("comp"):
            case "metadata":
                self._put_metadata(request, container, name)
                return _empty(200)
            case "block":
                _replace(self._block(path, request.query["blockid"]), request.body)
                return _empty(201)
            case "blocklist":
                blocks = re.findall(r"<(?:Latest|Uncommitted|Committed)>([^<]+)<", request.body.decode())
                files = [self._block(path, block) for block in blocks]
                content = b"".join(file.read_bytes() for file in files)
                for file in files:
                    file.unlink()
            case None:
                content = request.body
            case other:
                raise Refused(501, "NotImplemented", f"comp={other} is not served")
        with self._lock:
            if request.headers.get("if-none-match") == "*" and path.exists():
                return _refusal(409, "BlobAlreadyExists", "The specified blob already exists.")
            _replace(path, content)
        self._put_metadata(request, container, name)
        digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        headers = {"ETag": f'"0x{path.stat().st_mtime_ns:X}"', "Last-Modified": formatdate(usegmt=True)}
        return Answer(
            201, b"", {**headers, "Content-MD5": digest, "x-ms-request-server-encrypted": "true", **_common()}
        )

    def _block(self, path: Path, block: str) -> Path:
        digest = hashlib.sha256(f"{path}\0{block}".encode()).hexdigest()
        return self._folder.with_name("blocks") / digest

    def _put_metadata(self, request: Request, container: str, name: str) -> None:
        found = {
            key.removeprefix("x-ms-meta-"): value
            for key, value in request.headers.items()
            if key.startswith("x-ms-meta-")
        }
        if found or request.query.get("comp") == "metadata":
            self._documents.put("blob-metadata", f"{container}/{name}", found)

    def delete(self, request: Request, container: str, name: str) -> Answer:
        _authorize(request)
        self.path(container, name).unlink(missing_ok=True)
        return _empty(202)


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{uuid.uuid4().hex}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def _authorize(request: Request) -> None:
    if "authorization" in request.headers and "sig" not in request.query:
        check_token(request, (_AUDIENCE,))
        return
    expiry = request.query.get("se", "")
    if "sig" not in request.query or expiry < datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"):
        text = "Server failed to authenticate the request. Make sure the signature is there and has not expired."
        raise Refused(403, "AuthenticationFailed", text)


def _refusal(status: int, code: str, message: str) -> Answer:
    """An error in the form of the storage account."""
    text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Answer(status, text.encode(), {"Content-Type": "application/xml", "x-ms-error-code": code, **_common()})


def _common() -> dict[str, str]:
    return {"x-ms-version": VERSION, "x-ms-request-id": str(uuid.uuid4())}


def _empty(status: int) -> Answer:
    return Answer(status, b"", {"ETag": '"0x1"', "Last-Modified": formatdate(usegmt=True), **_common()})
