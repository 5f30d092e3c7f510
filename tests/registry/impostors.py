"""Servers that stand where a registry should: they answer what a test wants."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kolm.cid import cid_of
from tests.registry.offers import Offer

Reply = tuple[int, dict[str, str], bytes]


@contextmanager
def answering(reply: Callable[..., Reply]) -> Iterator[str]:
    """Run an HTTP server that answers every path with `reply(path)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = reply(self.path, token=self.headers["Authorization"])
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def lying(
    offer: Offer, *, artifact: bytes | None = None, receipt: bytes | None = None, tag: str = ""
) -> Callable[..., Reply]:
    """Answer as a registry that has `offer`, but with other bytes."""
    proof = offer.receipt.read_bytes() if receipt is None else receipt

    def reply(path: str, **_: object) -> Reply:
        if "/proof" in path:
            return 404, {}, b""
        if path.endswith("/receipt"):
            return 200, {"ETag": f'"{tag or cid_of(proof)}"'}, proof
        return 200, {}, offer.artifact.read_bytes() if artifact is None else artifact

    return reply
