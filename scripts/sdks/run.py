"""The bench of SDKs: official clients run a file of scenarios through a gateway in front of upstreams of every dialect.

Arguments: the program `pixgate`, and the folder where the SDKs are installed. Options choose a part of the matrix.
"""

import argparse
import contextlib
import json
import pathlib
import shutil
import sys
import tempfile
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "real"))

import processes  # noqa: E402

import faults  # noqa: E402
import fuzz  # noqa: E402
import mocks  # noqa: E402
import report  # noqa: E402
import specs  # noqa: E402
from bench import Bench  # noqa: E402
from tee import Tee  # noqa: E402

SETTINGS = {
    # Long enough to tell a drain from none, and far too short for the scripted stream that clients leave.
    "PIXGATE_UPSTREAM__CLIENT_GONE_DRAIN_SECONDS": "1",
}


PARTS = ["matrix", "faults", "fuzz"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("cache", type=pathlib.Path)
    parser.add_argument("--client", action="append", help="only clients whose name contains this")
    parser.add_argument("--upstream", action="append", help="only these upstreams")
    parser.add_argument("--scenario", action="append", help="only these scenarios")
    parser.add_argument("--part", action="append", choices=PARTS, help="only these parts")
    return parser.parse_args()


def chosen(items: list, wanted: list | None, whole: bool) -> list:
    def fits(item) -> bool:
        name = item if isinstance(item, str) else item["name"]
        return any(want == name if whole else want in name for want in wanted)

    found = items if wanted is None else [item for item in items if fits(item)]
    if not found:
        raise SystemExit(f"nothing is called {' or '.join(wanted)}")
    return found


def set_up(admin: processes.Admin, matrix: dict, behind: str) -> None:
    """The upstreams, each with a chat model and, if it has them, one for embeddings."""
    matrix["served"] = []
    for upstream in matrix["upstreams"]:
        name = upstream["name"]
        made = {"name": name, "provider": upstream["provider"], "base_url": behind + upstream["base"], "api_key": "mock-key", "enabled": True}
        admin.call("POST", "/upstreams", made | upstream.get("settings", {}))
        routes = [{"upstream": name, "upstream_model": upstream["model"]}]
        model = {"kind": "chat", "display_name": name, "context_window": 200_000, "max_output_tokens": 8192, "prices": prices(matrix)}
        admin.call("POST", "/models", model | {"id": "sdk/" + name, "routes": routes, "enabled": True})
        matrix["served"].append("sdk/" + name)
        if upstream.get("embeddings"):
            routes = [{"upstream": name, "upstream_model": "text-embedding-3-small"}]
            model = {"id": f"sdk/{name}-embedding", "kind": "embedding", "prices": prices(matrix)}
            admin.call("POST", "/models", model | {"routes": routes, "enabled": True})


def prices(matrix: dict) -> list[dict]:
    return [{"unit": unit, "micros": micros, "per": 1_000_000} for unit, micros in matrix["prices"].items()]


def run_matrix(options: argparse.Namespace, matrix: dict, folder: pathlib.Path, url: str) -> int:
    """Every client with every upstream; returns the number of failures."""
    scenarios = read("scenarios")
    clients = chosen(matrix["clients"], options.client, whole=False)
    names = chosen(list(scenarios), options.scenario, whole=True)
    address = urllib.parse.urlsplit(url)
    admin = processes.Admin(url)
    with mocks.aimock(options.cache, folder, scenarios) as mock:
        with contextlib.closing(Tee((address.hostname, address.port))) as front, contextlib.closing(Tee(mock)) as behind:
            set_up(admin, matrix, behind.url)
            bench = Bench(matrix, scenarios, options.cache, admin, front, behind, specs.Validator())
            report.head(matrix["upstreams"])
            for client in clients:
                bench.run(client, matrix["upstreams"], names)
                report.row(client, report.versions(options.cache, client), matrix["upstreams"], bench.cells)
    return report.details(bench.cells) + report.specifications(bench.validator)


def run_faults(options: argparse.Namespace, matrix: dict, folder: pathlib.Path, url: str) -> int:
    with mocks.llmock(options.cache, folder) as mock:
        return faults.Faults(read("faults"), mock, processes.Admin(url), url, prices(matrix)).run()


def run_fuzz(options: argparse.Namespace, _matrix: dict, folder: pathlib.Path, url: str) -> int:
    return fuzz.run(options.cache, folder, url, processes.Admin(url))


def read(name: str) -> dict:
    return json.loads((HERE / f"{name}.json").read_text())


def main() -> None:
    options = arguments()
    matrix = read("matrix")
    matrix["upstreams"] = chosen(matrix["upstreams"], options.upstream, whole=True)
    parts = {"matrix": run_matrix, "faults": run_faults, "fuzz": run_fuzz}
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pixgate-sdks-"))
    started, failed = time.monotonic(), 0
    try:
        with processes.pixgate(options.program, folder, SETTINGS) as url:
            for part in options.part or PARTS:
                failed += parts[part](options, matrix, folder, url)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{time.monotonic() - started:.0f} s", flush=True)
    if failed:
        raise SystemExit(f"{failed} failures")
    print("Nothing failed.")


if __name__ == "__main__":
    main()
