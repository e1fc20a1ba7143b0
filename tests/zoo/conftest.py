"""A web server on this machine that cuts connections when told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Server:
    """What the server has and how it behaves; it notes what it was asked for.

    Attributes:
        content: of ``/file.pth``.
        length: the Content-Length that it states, empty for the true one.
        cut_after: bytes after which a connection is cut, one entry per connection; then they are left alone.
        ranges: the Range header of each request, "" without one.
    """

    address: str = ""
    content: bytes = b""
    etag: str = '"1"'
    kind: str = "application/octet-stream"
    knows_ranges: bool = True
    length: str = ""
    cut_after: list[int] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            state.ranges.append(asked)
            if self.path != "/file.pth":
                self.send_error(404)
                return
            whole = not state.knows_ranges or self.headers.get("If-Range", state.etag) != state.etag
            start = 0 if not asked or whole else int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(state.content) and asked:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(state.content)}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.content) - 1}/{len(state.content)}")
            self.send_header("Content-Length", state.length or str(len(state.content) - start))
            self.send_header("Content-Type", state.kind)
            self.send_header("ETag", state.etag)
            self.end_headers()
            end = start + state.cut_after.pop(0) if state.cut_after else None
            self.wfile.write(state.content[start:end])
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{httpd.server_port}/file.pth"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()
