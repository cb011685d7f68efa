"""The two servers of the trial, the model's and Pixgate, each as a context manager; and Pixgate's admin API."""

import contextlib
import json
import os
import pathlib
import queue
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

ADMIN_KEY = "test-real-admin-" + uuid.uuid4().hex
START_SECONDS = 60
STOP_SECONDS = 40


@contextlib.contextmanager
def model_server():
    """Yields the base URL of the real model, as the settings of an upstream name it."""
    script = pathlib.Path(__file__).with_name("model_server.py")
    process = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines: queue.Queue[str] = queue.Queue()
    errors: list[str] = []
    threading.Thread(target=lambda: [lines.put(line) for line in process.stdout], daemon=True).start()
    threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True).start()
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                word, _, url = lines.get(timeout=0.2).strip().partition(" ")
            except queue.Empty:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("the model server does not start:\n" + "".join(errors[-10:])) from None
                continue
            if word == "ready":
                break
        yield url.rstrip("/") + "/v1"
    finally:
        process.stdin.close()
        stop(process)


@contextlib.contextmanager
def pixgate(program: str, folder: pathlib.Path, settings: dict[str, str] | None = None):
    """Yields the URL of a Pixgate with a fresh database in `folder`; `settings` are further variables of its environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = "127.0.0.1:%d" % probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "PIXGATE_SERVER__LISTEN": listen,
        "PIXGATE_SERVER__DATA_DIR": str(folder),
        "PIXGATE_DATABASE__URL": f"sqlite://{folder}/pixgate.db",
        "PIXGATE_BOOTSTRAP__ADMIN_KEY": ADMIN_KEY,
    } | (settings or {})
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, "serve"], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    url = "http://" + listen
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("Pixgate does not start; its log is above")
            time.sleep(0.02)
        yield url
    except BaseException:
        print("the end of Pixgate's log:\n" + log.read_text(errors="replace")[-2000:], file=sys.stderr)
        raise
    finally:
        process.terminate()
        stop(process)
    if process.returncode != 0:
        raise SystemExit(f"Pixgate ended with {process.returncode} instead of 0 after SIGTERM")


def stop(process: subprocess.Popen) -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/readyz", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


class Admin:
    """The admin API; refuses every answer that is not a success."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, path: str, body: object = None) -> dict:
        headers = {"authorization": "Bearer " + ADMIN_KEY, "content-type": "application/json", "idempotency-key": uuid.uuid4().hex}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + "/admin/v1" + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path} answered {error.code}: {error.read().decode(errors='replace')}") from None

    def account(self, email: str, credit_micros: int) -> tuple[str, str]:
        """Makes an account with a key; returns its id and the key."""
        account = self.call("POST", "/accounts", {"email": email, "verified": True})["id"]
        if credit_micros:
            self.call("POST", f"/accounts/{account}/grants", {"amount_micros": credit_micros, "reason": "trial"})
        return account, self.call("POST", f"/accounts/{account}/keys", {"title": "trial"})["key"]

    def spent_micros(self, account: str) -> int:
        return self.call("GET", f"/accounts/{account}/balance")["spent_micros"]
