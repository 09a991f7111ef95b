"""A small web server on loopback that misbehaves on demand."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server has, and how it behaves.

    Attributes
    ----------
    files
        Path with query -> bytes.
    headers
        Path -> further headers of its answer.
    drop_after
        Bytes of a body after which the connection is cut, as often as `drops` says.
    ranges
        Whether it knows ranges.
    answers
        Statuses that are given before anything else, each with its headers.
    asked
        (path, Range) of each request.
    seen
        Headers of each request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    drop_after: int | None = None
    drops: int = 0
    ranges: bool = True
    announced: int | None = None
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """Serve a site on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            site.asked.append((self.path, wanted))
            site.seen.append(dict(self.headers))
            if site.answers:
                status, headers = site.answers.pop(0)
                self._head(status, {"Content-Length": "0", **headers})
                return
            if self.path not in site.files:
                self._head(404, {"Content-Length": "0"})
                return
            body = site.files[self.path]
            tag = site.etags.get(self.path)
            headers = {"ETag": tag} if tag else {}
            same = self.headers.get("If-Range") in (None, tag)
            status, start = 200, 0
            if wanted and site.ranges and same:
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted).group(1))
                if start >= len(body):
                    self._head(416, {"Content-Length": "0", "Content-Range": f"bytes */{len(body)}"})
                    return
                status = 206
                headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            rest = body[start:]
            self._head(status, {"Content-Length": str(len(rest)), **headers, **site.headers.get(self.path, {})})
            if site.drop_after is not None and site.drops > 0 and len(rest) > site.drop_after:
                site.drops -= 1
                self.wfile.write(rest[: site.drop_after])
                self.wfile.flush()
                self.close_connection = True
                return
            self.wfile.write(rest)

        def _head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
