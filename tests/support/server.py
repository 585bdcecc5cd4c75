"""A web server on this machine that serves one file, and can cut its responses off."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Served:
    """A file on loopback, and how the server sends it."""

    content: bytes
    url: str = ""
    cut_after: int = 0  # after this number of bytes of a response
    supports_ranges: bool = True
    stalls: bool = False  # after the cut, instead of ending
    requests: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """Serves one file, or its part from a requested byte on."""

    served: Served

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.served.requests.append(wanted)
        content, start = self.served.content, 0
        if wanted and self.served.supports_ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        if "missing" in self.path or start >= len(content):
            self.send_response(404 if "missing" in self.path else 416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + self.served.cut_after if self.served.cut_after else len(content)
        self.wfile.write(content[start:end])
        if self.served.stalls:
            self.rfile.read(1)  # until the client disconnects

    def log_message(self, *_: object) -> None:
        """Write no log."""


@contextmanager
def serve(content: bytes, name: str) -> Iterator[Served]:
    """Serve a file of a name as long as the block runs."""
    state = Served(content)
    handler = type("Own", (Handler,), {"served": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/{name}"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()
