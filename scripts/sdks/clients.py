"""The SDKs' processes: one a client, which runs a scenario when it is told to."""

import json
import os
import pathlib
import queue
import subprocess
import tempfile
import threading

HERE = pathlib.Path(__file__).parent
SCENARIO_SECONDS = 90
STOP_SECONDS = 10


class Gone(Exception):
    """The client's process ended or does not answer."""


class Client:
    """A running adapter of `clients/`; see `clients/python/serve.py` for what it is told and answers."""

    def __init__(self, spec: dict, cache: pathlib.Path) -> None:
        # What the SDKs need to find themselves, and nothing that could lead them elsewhere.
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONDONTWRITEBYTECODE": "1", "NO_PROXY": "*"}
        if "venv" in spec:
            folder, program = HERE / "clients/python", cache / f"venv-{spec['venv']}/bin/python"
            command = [program, folder / "serve.py", spec["adapter"]]
            environment["SDK"] = spec.get("sdk", "")
        else:
            folder = cache / "node"
            command = ["node", HERE / "clients/node/serve.mjs", f"./{spec['adapter']}.mjs", spec.get("sdk", "")]
        self.complaints = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.complaints, text=True
        )
        self.answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put("")

    def run(self, request: dict) -> dict:
        """Runs one scenario; the answer is {outcome} or {failed}."""
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.answers.get(timeout=SCENARIO_SECONDS)
        except (OSError, queue.Empty) as error:
            raise Gone(f"no answer ({type(error).__name__}); {self.last_words()}") from None
        if not line:
            raise Gone(f"the process ended; {self.last_words()}")
        return json.loads(line)

    def last_words(self) -> str:
        self.complaints.seek(0)
        return self.complaints.read()[-800:].strip()

    def close(self) -> None:
        try:
            self.process.stdin.close()
            self.process.wait(STOP_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.complaints.close()
