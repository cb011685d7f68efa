"""A wiretap: a TCP relay on loopback that keeps every byte, and the HTTP exchanges read from them.

Nothing is changed or waited for on the way, so a client that hangs up is seen by the server as usual.
"""

import contextlib
import dataclasses
import gzip
import http.client
import io
import socket
import threading
import time

CHUNK = 65536


@dataclasses.dataclass
class Exchange:
    """One request and what was answered. `status` is 0 when no whole answer head was seen; `cut` marks a body that did not end."""

    method: str
    path: str
    request_headers: dict[str, str]
    request_body: bytes
    status: int = 0
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""
    cut: bool = False
    # When its first bytes came, on the monotonic clock.
    started: float = 0.0

    @property
    def is_stream(self) -> bool:
        kind = self.headers.get("content-type", "")
        return kind.startswith(("text/event-stream", "application/vnd.amazon.eventstream"))


class _Connection:
    def __init__(self) -> None:
        self.sent, self.received = bytearray(), bytearray()
        # (where a piece of `sent` began, when it came)
        self.marks: list[tuple[int, float]] = []
        self.taken = 0


class Tee:
    """Relays `url` to the server at `target` (host, port)."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []
        self.url = "http://127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # A blocked `accept` holds the socket open until it is shut down.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        connection = _Connection()
        with self._lock:
            self._connections.append(connection)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=self._pump, args=(server, client, connection.received, []), daemon=True)
        back.start()
        self._pump(client, server, connection.sent, connection.marks)
        back.join()
        client.close()
        server.close()

    def _pump(self, source: socket.socket, sink: socket.socket, record: bytearray, marks: list) -> None:
        try:
            while data := source.recv(CHUNK):
                with self._lock:
                    marks.append((len(record), time.monotonic()))
                    record += data
                sink.sendall(data)
        except OSError:
            pass
        # Either end gone ends both ways: half-closed HTTP helps nobody.
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def take(self) -> list[Exchange]:
        """The exchanges whose requests came since the last call, in the order in which they began."""
        with self._lock:
            copies = [(connection, bytes(connection.sent), bytes(connection.received), list(connection.marks)) for connection in self._connections]
        fresh = []
        for connection, sent, received, marks in copies:
            exchanges = read_exchanges(sent, received, marks)
            fresh += exchanges[connection.taken :]
            connection.taken = len(exchanges)
        return sorted(fresh, key=lambda exchange: exchange.started)


class _Bytes:
    """What `http.client` takes for a socket."""

    def __init__(self, stream: io.BytesIO) -> None:
        self._stream = stream

    def makefile(self, _mode: str) -> io.BufferedReader:
        # Each response closes its file; the stream goes on.
        return io.BufferedReader(_Unclosed(self._stream), 1)


class _Unclosed(io.RawIOBase):
    def __init__(self, stream: io.BytesIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self._stream.readinto(buffer)


def read_exchanges(sent: bytes, received: bytes, marks: list[tuple[int, float]]) -> list[Exchange]:
    """Reads what went over one connection; a request that has not come whole is left out."""
    exchanges = []
    requests, answers = io.BytesIO(sent), io.BytesIO(received)
    while True:
        offset = requests.tell()
        exchange = _read_request(requests)
        if exchange is None:
            break
        exchange.started = max((when for begin, when in marks if begin <= offset), default=0.0)
        exchanges.append(exchange)
        _read_answer(answers, exchange)
    return exchanges


def _read_request(stream: io.BytesIO) -> Exchange | None:
    line = stream.readline().decode("latin-1").split()
    if len(line) != 3:
        return None
    headers = _headers(stream)
    if "chunked" in headers.get("transfer-encoding", ""):
        body = _read_chunks(stream)
    else:
        length = int(headers.get("content-length", 0))
        body = stream.read(length)
        body = body if len(body) == length else None
    if body is None:
        return None
    return Exchange(line[0], line[1], headers, _decoded(headers, body))


def _read_answer(stream: io.BytesIO, exchange: Exchange) -> None:
    answer = http.client.HTTPResponse(_Bytes(stream), method=exchange.method)
    try:
        answer.begin()
    except (http.client.HTTPException, OSError):
        exchange.cut = True
        return
    exchange.status = answer.status
    exchange.headers = {name.lower(): value for name, value in answer.getheaders()}
    try:
        body = answer.read()
    except http.client.IncompleteRead as cut:
        body, exchange.cut = cut.partial, True
    exchange.body = _decoded(exchange.headers, body)


def _headers(stream: io.BytesIO) -> dict[str, str]:
    return {name.lower(): value for name, value in http.client.parse_headers(stream).items()}


def _read_chunks(stream: io.BytesIO) -> bytes | None:
    body = b""
    while line := stream.readline():
        size = int(line.split(b";")[0], 16)
        chunk = stream.read(size)
        if len(chunk) != size or stream.readline() != b"\r\n":
            return None
        if size == 0:
            return body
        body += chunk
    return None


def _decoded(headers: dict[str, str], body: bytes) -> bytes:
    return gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
