"""One cell after another: a client runs a scenario through the gateway, and everything that can be seen of it is judged."""

import json
import pathlib
import time
import urllib.error
import urllib.request

import judge
import specs
from clients import Client, Gone
from tee import Exchange, Tee

ROWS_SECONDS = 8
CREDIT_MICROS = 50_000_000


class Cell:
    """The outcome of one client at one upstream."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.failed: dict[str, list[str]] = {}
        self.skipped: dict[str, str] = {}
        # scenario -> why a problem of it does not count
        self.waived: dict[str, str] = {}


class Bench:
    def __init__(self, matrix: dict, scenarios: dict, cache: pathlib.Path, admin, front: Tee, behind: Tee, validator: specs.Validator) -> None:
        self.matrix, self.scenarios, self.cache, self.admin = matrix, scenarios, cache, admin
        # `front` lies between the SDKs and the gateway, `behind` between the gateway and the upstreams.
        self.front, self.behind, self.validator = front, behind, validator
        self.cells: dict[tuple[str, str], Cell] = {}

    def skip_reason(self, client: dict, upstream: dict, scenario: str) -> str | None:
        """Why a scenario is not run, if it is not; every reason is printed."""
        if scenario in ("models", "count") and scenario not in client.get("lists", []):
            return "the SDK has no such call"
        if scenario == "embeddings" and not client.get("embeddings"):
            return "the SDK has no embeddings"
        if scenario == "embeddings" and not upstream.get("embeddings"):
            return "embeddings are tried with the upstream that has a model for them"
        for skip in self.matrix["skips"]:
            if all(skip.get(name, found) == found for name, found in (("client", client["name"]), ("upstream", upstream["name"]), ("scenario", scenario))):
                return skip["reason"]
        return None

    def unwaived(self, client: dict, upstream: dict, scenario: str, problems: list[str], cell: Cell) -> list[str]:
        """What is left of the problems without those that are known to be somebody else's."""
        left = []
        for problem in problems:
            place = (client["name"], upstream["name"])
            waiver = next((each for each in self.matrix["waived"] if (each["client"], each["upstream"]) == place and problem.startswith(each["problem"])), None)
            if waiver:
                cell.waived[scenario] = waiver["reason"]
            else:
                left.append(problem)
        return left

    def run(self, client: dict, upstreams: list[dict], names: list[str]) -> None:
        """All scenarios of one client."""
        account, key = self.admin.account(client["name"].replace(" ", "-") + "@example.com", CREDIT_MICROS)
        books = Books(self.admin, account, key, self.front.url)
        process = None
        try:
            for upstream in upstreams:
                cell = self.cells.setdefault((client["name"], upstream["name"]), Cell())
                for name in names:
                    reason = self.skip_reason(client, upstream, name)
                    if reason:
                        cell.skipped[name] = reason
                        continue
                    process = process or Client(client, self.cache)
                    try:
                        problems = self.scenario(process, books, client, upstream, name)
                    except Gone as gone:
                        problems = [str(gone)]
                        process.close()
                        process = None
                        books.settle()
                    problems = self.unwaived(client, upstream, name, problems, cell)
                    if problems:
                        cell.failed[name] = list(problems)
                    else:
                        cell.passed.append(name)
        finally:
            if process:
                process.close()

    def scenario(self, process: Client, books: "Books", client: dict, upstream: dict, name: str) -> list[str]:
        scenario = self.scenarios[name]
        model = scenario.get("model", "sdk/" + upstream["name"] + ("-embedding" if scenario.get("embedding") else ""))
        self.front.take(), self.behind.take()
        answer = process.run({"scenario": name, "data": scenario, "url": self.front.url, "key": books.key, "model": model})
        calls = 0 if "failed" in answer else 1 if scenario.get("embedding") else len(scenario["answers"])
        rows, spent = books.settle(calls)
        asked, given = model_calls(self.front.take()), model_calls(self.behind.take())
        problems = judge.Problems()
        found = answer.get("outcome", {})
        if "failed" in answer:
            problems.append(last_line(answer["failed"]) + told(asked))
        else:
            judge.outcome(problems, scenario, client, self.matrix, found)
            judge.client_side(problems, scenario, asked)
            if scenario["answers"]:
                judge.upstream_side(problems, scenario, client, upstream, asked, given)
        if "failed" not in answer or rows:
            judge.charging(problems, scenario, upstream, self.matrix, found, rows, spent, asked)
        if scenario.get("refused"):
            problems.same("the number of upstream calls", len(given), 0)
        if name == "usage" and rows and "failed" not in answer:
            books.generation(problems, found, rows[0])
        differences = self.admin.call("GET", "/ledger/check")["differences"]
        problems.same("the differences in the ledger", differences, [])
        self.validator.look(asked, given)
        return problems


def model_calls(exchanges: list[Exchange]) -> list[Exchange]:
    # Some SDKs ask for the list of models first.
    return [exchange for exchange in exchanges if exchange.method == "POST"]


def last_line(trace: str) -> str:
    lines = [line for line in trace.strip().splitlines() if line.strip()]
    # Python ends with the error, Node begins with it.
    return (lines[-1] if trace.startswith("Traceback") or " File " in trace else lines[0]).strip()[:400]


def told(exchanges: list[Exchange]) -> str:
    """What the gateway said, for the report of a failed call."""
    bad = next((exchange for exchange in exchanges if exchange.status >= 400), None)
    return "" if bad is None else f" [{bad.status} {bad.body[:300].decode(errors='replace')}]"


class Books:
    """What the admin API knows about a client's account."""

    def __init__(self, admin, account: str, key: str, url: str) -> None:
        self.admin, self.account, self.key, self.url = admin, account, key, url
        self.seen: set[str] = set()
        self.spent = 0

    def settle(self, calls: int = 0) -> tuple[list[dict], int]:
        """Waits for the usage rows of so many calls; returns them, the oldest first, and what the balance lost."""
        deadline = time.monotonic() + ROWS_SECONDS
        while True:
            rows = self.admin.call("GET", f"/accounts/{self.account}/usage?limit=20")["data"]
            fresh = [row for row in reversed(rows) if row["usage_id"] not in self.seen]
            balance = self.admin.call("GET", f"/accounts/{self.account}/balance")
            if (len(fresh) >= calls and balance["held_micros"] == 0) or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        self.seen |= {row["usage_id"] for row in fresh}
        before, self.spent = self.spent, balance["spent_micros"]
        return fresh, self.spent - before

    def generation(self, problems: judge.Problems, found: dict, row: dict) -> None:
        """`/v1/generation` under the id the SDK shows, and under the request's."""
        for what in (found.get("ids", [None])[0], row["request_id"]):
            if not what:
                continue
            request = urllib.request.Request(f"{self.url}/v1/generation?id={what}", headers={"authorization": "Bearer " + self.key})
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    said = json.load(answer, parse_float=str)["data"]
            except urllib.error.HTTPError as error:
                problems.append(f"/v1/generation?id={what} answered {error.code}")
                continue
            problems.same("total_cost of the generation", judge.micros(said["total_cost"]), row["cost_micros"])
            tokens = [said["tokens_prompt"], said["tokens_completion"]]
            problems.same("the tokens of the generation", tokens, [row["input_tokens"], row["output_tokens"]])
