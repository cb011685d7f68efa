"""Upstreams that fail: what callers get, what it costs, and the verdict that the failing server itself (`llmock`) passes on us.

A caller whose stream ended with an error asks again, as an application would; only a gateway that hides the end of a stream leaves
its caller, and so the server, without that second call.
"""

import json

import mocks
import openai

CREDIT_MICROS = 10_000_000
# Shorter than a stall of the script, longer than everything else.
TIMEOUTS = {"connect_ms": 2_000, "first_byte_ms": 20_000, "idle_ms": 2_000, "total_ms": 60_000}


class Faults:
    def __init__(self, script: dict, mock: str, admin, url: str, prices: list) -> None:
        self.script, self.mock, self.admin = script, mock, admin
        self.upstreams = script["upstreams"]
        self.account, key = admin.account("faults@example.com", CREDIT_MICROS)
        self.sdk = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, timeout=60)
        for upstream in self.upstreams:
            name = "faults-" + upstream["name"]
            made = {"name": name, "provider": upstream["provider"], "base_url": mock + upstream["base"], "api_key": "mock-key", "enabled": True}
            admin.call("POST", "/upstreams", made | {"timeouts": TIMEOUTS})
            model = {"id": "faults/" + upstream["name"], "kind": "chat", "prices": prices, "max_output_tokens": 512, "enabled": True}
            admin.call("POST", "/models", model | {"routes": [{"upstream": name, "upstream_model": upstream["model"]}]})

    def run(self) -> int:
        """Prints a line a fault and upstream; returns the number of failures."""
        failed = 0
        for upstream in self.upstreams:
            print(f"\nfaults of the {upstream['name']} upstream, and the verdict on us")
            for fault in self.script["faults"]:
                found = self.fault(upstream, fault)
                failed += bool(found)
                print(f"  {'FAIL' if found else 'ok  '}  {fault['name']}", flush=True)
                for problem in found:
                    print(f"          {problem}")
        return failed + self.books()

    def fault(self, upstream: dict, fault: dict) -> list[str]:
        mocks.fetch(self.mock + "/_llmock/reset", {}, "POST")
        mocks.fetch(self.mock + "/_llmock/scenario", {"behaviors": fault["behaviors"]}, "POST")
        before = self.spent()
        got = self.ask(upstream, fault)
        wanted = fault["status"] if isinstance(fault["status"], list) else [fault["status"]]
        problems = [] if got in wanted else [f"the caller got {got} instead of {' or '.join(map(str, wanted))}"]
        spent = self.spent() - before
        if got == 200 and spent <= 0 or isinstance(got, int) and got >= 400 and spent != 0:
            problems.append(f"an answer with {got} cost {spent} micros")
        if got == "event" and (again := self.ask(upstream, fault)) != 200:
            problems.append(f"asked again, the caller got {again}")
        verdict = json.loads(mocks.fetch(self.mock + "/_llmock/verdict"))
        for finding in verdict["findings"]:
            if not (finding["code"] == "gave_up" and fault.get("may_give_up")):
                problems.append(f"verdict {finding['severity']} {finding['code']}: {finding['title']}")
        return problems

    def ask(self, upstream: dict, fault: dict) -> object:
        """The status the caller saw, or `event` for a stream that ended with an error event."""
        messages = [{"role": "user", "content": f"fault: {fault['name']}. Tell me something that takes a few words, please."}]
        call = {"model": "faults/" + upstream["name"], "messages": messages, "max_completion_tokens": 200}
        try:
            if not fault.get("stream"):
                answer = self.sdk.chat.completions.create(**call)
                return 200 if answer.choices[0].finish_reason else "an answer without an end"
            stream = self.sdk.chat.completions.create(**call, stream=True)
        except openai.APIStatusError as error:
            return error.status_code
        finish = None
        try:
            for chunk in stream:
                for choice in chunk.choices:
                    finish = choice.finish_reason or finish
        except openai.APIError:
            return "event"
        except Exception as error:  # A cut connection reaches the caller as whatever its HTTP client makes of it.
            return type(error).__name__
        return 200 if finish else "a stream without an end"

    def spent(self) -> int:
        return self.admin.spent_micros(self.account)

    def books(self) -> int:
        rows = self.admin.call("GET", f"/accounts/{self.account}/usage?limit=100")["data"]
        used, spent = sum(row["cost_micros"] for row in rows), self.spent()
        differences = self.admin.call("GET", "/ledger/check")["differences"]
        held = self.admin.call("GET", f"/accounts/{self.account}/balance")["held_micros"]
        good = used == spent and not differences and held == 0
        print(f"  {'ok  ' if good else 'FAIL'}  usage rows {used} micros, balance {spent}, held {held}, {len(differences)} differences in the ledger")
        return 0 if good else 1
