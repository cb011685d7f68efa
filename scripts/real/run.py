"""The trial: a real model behind Pixgate, called by the official SDKs, and every charge compared with the reported usage.

Arguments: the program `pixgate`, and the folder where npm has installed the Node SDK (`-` leaves that part out).
"""

import importlib.metadata
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import checks
import processes

CREDIT_MICROS = 5_000_000


class Report:
    def __init__(self) -> None:
        self.failed = 0

    def add(self, name: str, ok: bool, line: str) -> None:
        print(f"  {'ok  ' if ok else 'FAIL'}  {name:<26} {line}", flush=True)
        self.failed += not ok


def python_sdk(report: Report, trial: checks.Checks) -> None:
    print(f"openai {importlib.metadata.version('openai')} (Python)")
    for name, check in trial.all().items():
        try:
            report.add(name, True, check())
        except Exception as error:  # Whatever goes wrong is a failed check, and the others go on.
            report.add(name, False, f"{type(error).__name__}: {error}")


def node_sdk(report: Report, folder: pathlib.Path, arguments: dict, spent_micros) -> None:
    version = json.loads((folder / "node_modules/openai/package.json").read_text())["version"]
    print(f"openai {version} (Node)")
    script = pathlib.Path(__file__).with_name("checks.mjs")
    before = spent_micros()
    done = subprocess.run(["node", script], input=json.dumps(arguments), cwd=folder, capture_output=True, text=True, timeout=300)
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    for outcome in outcomes:
        report.add(outcome["name"], outcome["ok"], outcome["line"])
    if done.returncode != 0:
        report.add("Node", False, done.stderr.strip()[-500:])
    cost, lost = sum(outcome["cost_micros"] for outcome in outcomes), spent_micros() - before
    report.add("sum of these charges", cost == lost, f"usage {cost} micros, balance {lost} micros")


def main() -> None:
    program, node_folder = sys.argv[1:]
    report = Report()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pixgate-real-"))
    try:
        with processes.model_server() as model_url, processes.pixgate(program, folder) as url:
            admin = processes.Admin(url)
            admin.call("POST", "/upstreams", {"name": "smollm2", "provider": "openai", "base_url": model_url, "api_key": "none", "enabled": True})
            prices = [{"unit": unit, "micros": micros, "per": checks.PER} for unit, micros in checks.PRICES.items()]
            routes = [{"upstream": "smollm2", "upstream_model": "smollm2"}]
            model = {"id": "smollm2", "kind": "chat", "display_name": "SmolLM2 135M", "context_window": 2048, "prices": prices}
            admin.call("POST", "/models", model | {"routes": routes, "enabled": True})
            account, key = admin.account("rich@example.com", CREDIT_MICROS)
            _, poor_key = admin.account("poor@example.com", 0)
            print(f"SmolLM2-135M-Instruct by xllamacpp {importlib.metadata.version('xllamacpp')}, through Pixgate")

            def spent_micros() -> int:
                return admin.spent_micros(account)

            python_sdk(report, checks.Checks(url, key, poor_key, spent_micros))
            if node_folder != "-":
                arguments = {"url": url, "key": key, "poor_key": poor_key, "prices": checks.PRICES}
                node_sdk(report, pathlib.Path(node_folder), arguments, spent_micros)
            ledger(report, admin, account)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if report.failed:
        raise SystemExit(f"{report.failed} checks failed")
    print("Every charge equals price × reported usage.")


def ledger(report: Report, admin: processes.Admin, account: str) -> None:
    print("ledger")
    balance = admin.call("GET", f"/accounts/{account}/balance")
    rows = admin.call("GET", f"/accounts/{account}/usage?limit=100")["data"]
    spent, used = balance["spent_micros"], sum(row["cost_micros"] for row in rows)
    report.add("usage rows", spent == used, f"{len(rows)} calls, {used} micros; the balance says {spent}")
    whole = balance["available_micros"] + spent == CREDIT_MICROS and balance["held_micros"] == 0
    report.add("balance", whole, f"{balance['available_micros']} available + {spent} spent = {CREDIT_MICROS} granted, none held")
    check = admin.call("GET", "/ledger/check")
    report.add("ledger/check", check["differences"] == [], f"{check['checked']} checked, {len(check['differences'])} differences")


if __name__ == "__main__":
    main()
