"""Stands between a sender and the server, hands on what is sent, and keeps it."""

import http.client
import threading
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER_SECONDS = 30


@dataclass
class Exchange:
    """A request as it came, and how it was answered."""

    path: str
    headers: Message
    body: bytes
    status: int


class Recorder:
    """A proxy on loopback before the server at `target`; ends with the `with` block."""

    def __init__(self, target):
        self.target, self.exchanges = target, []
        handler = type("Handler", (Handler,), {"recorder": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = "127.0.0.1:%d" % self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.body()
        chunked = self.is_chunked()
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        connection = http.client.HTTPConnection(self.recorder.target, timeout=ANSWER_SECONDS)
        # As it came: in chunks, or with its length.
        sent = [body] if chunked else body
        connection.request("POST", self.path, sent, headers, encode_chunked=chunked)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.recorder.exchanges.append(Exchange(self.path, self.headers, body, answer.status))
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def is_chunked(self):
        return self.headers.get("Transfer-Encoding", "").lower() == "chunked"

    def body(self):
        if not self.is_chunked():
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while True:
            length = int(self.rfile.readline().split(b";")[0], 16)
            chunks.append(self.rfile.read(length))
            self.rfile.readline()
            if length == 0:
                return b"".join(chunks)

    def log_message(self, *_):
        pass
