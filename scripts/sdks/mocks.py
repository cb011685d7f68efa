"""The model servers of the bench, neither written here: `aimock` answers in every vendor's dialect, `llmock` fails on demand."""

import contextlib
import json
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

START_SECONDS = 30
STOP_SECONDS = 10


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(url: str, body: object = None, method: str | None = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def fixtures(scenarios: dict) -> dict:
    """The scripted answers of all scenarios in aimock's own form."""
    entries = []
    for scenario in scenarios.values():
        for answer in scenario["answers"]:
            response = dict(answer["response"])
            if times := response.pop("times", None):
                response["content"] *= times
            entries.append(answer | {"response": response})
    return {"fixtures": entries}


@contextlib.contextmanager
def aimock(cache: pathlib.Path, folder: pathlib.Path, scenarios: dict):
    """Yields the address of aimock with these scenarios' answers."""
    port = free_port()
    (folder / "fixtures.json").write_text(json.dumps(fixtures(scenarios)))
    settings = {"port": port, "host": "127.0.0.1", "strict": True, "llm": {"fixtures": str(folder / "fixtures.json"), "logLevel": "warn"}}
    (folder / "aimock.json").write_text(json.dumps(settings))
    program = cache / "node/node_modules/@copilotkit/aimock/dist/aimock-cli.js"
    with _running(["node", program, "--config", folder / "aimock.json"], folder / "aimock.log", f"http://127.0.0.1:{port}/health"):
        yield ("127.0.0.1", port)


@contextlib.contextmanager
def llmock(cache: pathlib.Path, folder: pathlib.Path):
    """Yields the URL of llmock."""
    port = free_port()
    command = [cache / "venv-python/bin/llmock", "serve", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    # Slow enough for the server to notice that its client stopped reading.
    command += ["--stream-chunk-delay-ms", "30"]
    url = f"http://127.0.0.1:{port}"
    with _running(command, folder / "llmock.log", url + "/_llmock/scenario"):
        yield url


@contextlib.contextmanager
def _running(command: list, log: pathlib.Path, health: str):
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(health):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} does not start:\n" + log.read_text(errors="replace")[-1000:])
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        fetch(url)
        return True
    except (OSError, urllib.error.HTTPError):
        return False
