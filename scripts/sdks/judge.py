"""What must hold after a scenario. Each check adds the problems it finds, in words that tell what to look at."""

import base64
import json
import math
from decimal import Decimal

import wire
from tee import Exchange

PER = 1_000_000


def price_micros(prices: dict, row: dict) -> int:
    """The exact sum over a usage row's disjoint buckets, rounded up once."""
    fresh = row["input_tokens"] - row["cached_tokens"] - row["cache_write_tokens"]
    buckets = [
        (fresh + row["cache_write_tokens"], "input_token"),
        (row["cached_tokens"], "cached_input_token"),
        (row["output_tokens"] - row["reasoning_tokens"], "output_token"),
        (row["reasoning_tokens"], "reasoning_token"),
    ]
    return math.ceil(Decimal(sum(count * prices[unit] for count, unit in buckets)) / PER)


def micros(credits: object) -> int:
    return int(Decimal(str(credits)) * PER)


def scripted_text(scenario: dict) -> str | None:
    response = scenario["answers"][-1]["response"]
    return response["content"] * response.get("times", 1) if "content" in response else None


def scripted_usages(scenario: dict) -> list[dict]:
    """What the upstream will report for each answer."""
    usages = [answer["response"].get("usage") for answer in scenario["answers"]]
    return [{"input": usage["prompt_tokens"], "output": usage["completion_tokens"]} for usage in usages if usage]


class Problems(list):
    def same(self, what: str, found, expected) -> None:
        if found != expected:
            self.append(f"{what} is {_short(found)} instead of {_short(expected)}")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 160 else text[:159] + "…"


def outcome(problems: Problems, scenario: dict, client: dict, matrix: dict, found: dict) -> None:
    """What the SDK made of the answers."""
    if refused := scenario.get("refused"):
        name, status = matrix["errors"][client["name"]][refused]
        error = found.get("error")
        if error is None:
            problems.append("the call was not refused")
            return
        if name not in error["classes"]:
            problems.append(f"the error is {error['classes'][:2]} instead of {name}: {error['message']}")
        problems.same("the error's status", error["status"], status)
        return
    if error := found.get("error"):
        problems.append(f"refused: {error['message']}")
        return
    if scenario.get("free"):
        missing = set(matrix["served"]) - set(found.get("models", []))
        if "models" in found and missing:
            problems.append(f"the list of models lacks {sorted(missing)}")
        if "count" in found and not 5 <= found["count"] <= 50:
            problems.append(f"{found['count']} tokens are counted")
        return
    if scenario.get("embedding"):
        expected = scenario["answers"][0]["response"]["embedding"]
        problems.same("the vectors", found["vectors"], [expected] * len(scenario["inputs"]))
        return
    text = scripted_text(scenario)
    if scenario.get("canceled"):
        if not text.startswith(found["text"]) or not found["text"]:
            problems.append(f"the text before leaving is {_short(found['text'])}")
        return
    if "schema" in scenario:
        problems.same("the object", found["object"], json.loads(text))
    else:
        problems.same("the text", found["text"], text)
    if found.get("finish") not in matrix["finish"][client["dialect"]]["stop"]:
        problems.append(f"the reason to finish is {found.get('finish')!r}")
    if "pieces" in found and found["pieces"] < scenario.get("pieces", 1):
        problems.append(f"the stream came in {found['pieces']} pieces")
    if "tool" in scenario:
        calls = [[call["name"], call["arguments"]] for call in scenario["answers"][0]["response"]["toolCalls"]]
        problems.same("the tool calls", found["calls"], calls)
    problems.same("the usage the SDK shows", found["usages"], scripted_usages(scenario))


def client_side(problems: Problems, scenario: dict, exchanges: list[Exchange]) -> None:
    """What went over the wire between the SDK and the gateway."""
    if not scenario.get("free"):
        expected = 1 if scenario.get("refused") or scenario.get("embedding") else len(scenario["answers"])
        problems.same("the number of calls by the SDK", len(exchanges), expected)
    for exchange in exchanges:
        ids = {exchange.headers.get("x-request-id"), exchange.headers.get("request-id")}
        if exchange.status and (None in ids or len(ids) != 1):
            problems.append(f"x-request-id and request-id are {ids}")
        if exchange.cut and not scenario.get("canceled"):
            problems.append(f"the answer to {exchange.path} was cut")


def upstream_side(problems: Problems, scenario: dict, client: dict, upstream: dict, asked: list[Exchange], given: list[Exchange]) -> None:
    """What reached the upstream: the same question in its own dialect, and the very bytes when it is the caller's dialect as well."""
    expected = 1 if scenario.get("embedding") else len(scenario["answers"])
    problems.same("the number of upstream calls", len(given), expected)
    if len(given) != expected or len(asked) != expected:
        return
    for ours, theirs in zip(asked, given):
        dialect = wire.dialect_of(theirs.path)
        if dialect is None:
            problems.append(f"the upstream was called at {theirs.path}")
        elif dialect == wire.dialect_of(ours.path) and dialect != "embeddings":
            _same_bytes(problems, ours, theirs, upstream)
    if upstream["dialect"] == client["dialect"] and not scenario.get("embedding"):
        problems.same("the upstream's dialect", wire.dialect_of(given[0].path), client["dialect"])
    if not scenario.get("embedding"):
        _same_question(problems, scenario, given)


def _same_bytes(problems: Problems, ours: Exchange, theirs: Exchange, upstream: dict) -> None:
    mine, other = json.dumps("sdk/" + upstream["name"]).encode(), json.dumps(upstream["model"]).encode()
    expected = ours.request_body.replace(mine, other, 1)
    for name, theirs_is in upstream.get("renames", {}).items():
        expected = expected.replace(json.dumps(name).encode(), json.dumps(theirs_is).encode(), 1)
    if expected == theirs.request_body:
        return
    want, got = json.loads(expected), json.loads(theirs.request_body)
    # What the gateway may add: it asks for the usage of a stream, and keeps the answers of Responses itself.
    if want.get("stream") and got.get("stream_options") == {**(want.get("stream_options") or {}), "include_usage": True}:
        want.pop("stream_options", None), got.pop("stream_options")
    if wire.dialect_of(ours.path) == "responses" and want.get("store") is not False and got.get("store") is False:
        want.pop("store", None), got.pop("store")
    if list(want.items()) == list(got.items()):
        return
    problems.append(f"the body is not forwarded as it is: {_short(theirs.request_body.decode(errors='replace'))}")


def _same_question(problems: Problems, scenario: dict, given: list[Exchange]) -> None:
    try:
        questions = [wire.read_request(exchange) for exchange in given]
    except (KeyError, TypeError, ValueError) as error:
        problems.append(f"the upstream's request cannot be read: {type(error).__name__} {error}: {_short(given[0].request_body.decode(errors='replace'))}")
        return
    first = questions[0]
    problems.same("the system prompt upstream", first.system, scenario.get("system", ""))
    problems.same("the question upstream", first.texts, [scenario["user"]])
    problems.same("the limit upstream", first.limit, scenario["max_output_tokens"])
    if "image" in scenario:
        problems.same("the picture upstream", first.images, [base64.b64decode(scenario["image"]["base64"])])
    if "schema" in scenario:
        _schema(problems, "the schema upstream", first.schema, scenario["schema"]["body"])
    if "tool" in scenario:
        _tools(problems, scenario, questions)


def _schema(problems: Problems, what: str, found: object, expected: dict) -> None:
    if not isinstance(found, dict):
        problems.append(f"{what} is missing")
        return
    problems.same(f"{what}: required", sorted(found.get("required", [])), sorted(expected["required"]))
    types = {name: str(field.get("type")).lower() for name, field in found.get("properties", {}).items()}
    problems.same(f"{what}: properties", types, {name: field["type"] for name, field in expected["properties"].items()})


def _tools(problems: Problems, scenario: dict, questions: list[wire.Asked]) -> None:
    tool = scenario["tool"]
    for asked in questions:
        _schema(problems, "the tool upstream", asked.tools.get(tool["name"]), tool["parameters"])
    second = questions[1]
    calls = [(call["name"], call["arguments"]) for call in scenario["answers"][0]["response"]["toolCalls"]]
    problems.same("the calls told again upstream", second.calls, calls)
    results = [_unwrapped(item, tool["name"]) for item in second.results]
    problems.same("the tool's results upstream", results, [scenario["result"]] * len(calls))
    problems.same("the ids that the results answer", second.result_ids, second.call_ids)


def _unwrapped(item: object, tool: str) -> object:
    """What a tool gave, without the object that LangChain (`result`) and the AI SDK for Gemini (`name`, `content`) put around it."""
    if isinstance(item, dict) and set(item) == {"result"}:
        return item["result"]
    if isinstance(item, dict) and set(item) == {"name", "content"} and item["name"] == tool:
        return item["content"]
    return item


def charging(problems: Problems, scenario: dict, upstream: dict, matrix: dict, found: dict, rows: list[dict], spent: int, answers: list[Exchange]) -> None:
    """Every charge is price × reported usage, and everybody says the same."""
    problems.same("what the balance lost", spent, sum(row["cost_micros"] for row in rows))
    for row in rows:
        problems.same("the cost of the usage row", row["cost_micros"], price_micros(matrix["prices"], row))
        problems.same("the row's model", row["model"], "sdk/" + upstream["name"] + ("-embedding" if scenario.get("embedding") else ""))
    if scenario.get("refused") or scenario.get("free"):
        problems.same("what the call cost", spent, 0)
        return
    expected = 1 if scenario.get("embedding") else len(scenario["answers"])
    problems.same("the number of usage rows", len(rows), expected)
    if len(rows) != expected:
        return
    if scenario.get("canceled"):
        _canceled(problems, scenario, found, rows[0])
        return
    if scenario.get("embedding"):
        reported = json.loads(answers[0].body).get("usage", {}).get("prompt_tokens") if answers else None
        if reported is not None:
            problems.same("the tokens of the row", rows[0]["input_tokens"], reported)
        return
    for row, usage, answer in zip(rows, scripted_usages(scenario), answers):
        problems.same("the tokens of the row", [row["input_tokens"], row["output_tokens"]], [usage["input"], usage["output"]])
        problems.same("whether the row is estimated", row["estimated"], False)
        problems.same("the row's outcome", row["outcome"], "completed")
        problems.same("the row's request id", row["request_id"], answer.headers.get("x-request-id"))
        problems.same("the cost in the answer", wire.cost_micros(answer), row["cost_micros"])
        if not answer.is_stream:
            problems.same("x-pixgate-cost-micros", answer.headers.get("x-pixgate-cost-micros"), str(row["cost_micros"]))
    details = scenario["answers"][0]["response"].get("usage", {}).get("prompt_tokens_details", {})
    if upstream.get("cached"):
        problems.same("the cached tokens of the row", rows[0]["cached_tokens"], details.get("cached_tokens", 0))


def _canceled(problems: Problems, scenario: dict, found: dict, row: dict) -> None:
    problems.same("the row's outcome", row["outcome"], "client_gone")
    whole = scripted_usages(scenario)[0]["output"]
    # Every word of the script is a token; what the client saw is the least that was delivered.
    seen = len(found.get("text", "").split())
    if not seen <= row["output_tokens"] < whole:
        problems.append(f"{row['output_tokens']} output tokens are charged; the client saw {seen}, the whole answer has {whole}")
    if row["cost_micros"] <= 0:
        problems.append("what was delivered cost nothing")
