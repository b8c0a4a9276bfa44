"""A web server on the loopback address that can be told to misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """One file at every address, and how it is served.

    Attributes:
        content: the file.
        tag: its entity tag; `None` sends none.
        ranges: whether requests for a part are answered with that part.
        break_after: bytes after which each of the next answers breaks off, in turn.
        status: the status of every answer in place of the file; 200 serves it.
        content_type: what the file is said to be.
        asked: the Range header of every request, `None` where there was none.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.tag: str | None = '"one"'
        self.ranges = True
        self.break_after: list[int] = []
        self.status = 200
        self.content_type = "application/gzip"
        self.asked: list[str | None] = []
        self.url = ""


@contextmanager
def serve(content: bytes) -> Iterator[Site]:
    """Serves until the block ends."""
    site = Site(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, site)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(request: BaseHTTPRequestHandler, site: Site) -> None:
    """One answer, as the site says."""
    wanted = request.headers["Range"]
    site.asked.append(wanted)
    if site.status != 200:
        request.send_error(site.status)
        return
    start = 0
    fresh = request.headers["If-Range"] in (None, site.tag)
    if site.ranges and wanted is not None and fresh:
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(site.content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(site.content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
    body = site.content[start:]
    request.send_response(206 if start else 200)
    request.send_header("Content-Type", site.content_type)
    request.send_header("Content-Length", str(len(body)))
    if site.tag is not None:
        request.send_header("ETag", site.tag)
    request.end_headers()
    if site.break_after:
        body = body[: site.break_after.pop(0)]
    request.wfile.write(body)
