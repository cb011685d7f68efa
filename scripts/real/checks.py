"""What the official Python SDK must find in a Pixgate that sells a real model."""

import json
import math
import time
import urllib.error
import urllib.request
from decimal import Decimal

import openai

# Micros of a credit for a million tokens. None of them divides a million, so that rounding shows.
PRICES = {"input_token": 150_001, "cached_input_token": 37_507, "output_token": 600_011}
PER = 1_000_000
QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one short sentence."}]


def price_micros(prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> int:
    """The exact sum over disjoint buckets, rounded up once."""
    fresh = (prompt_tokens - cached_tokens) * PRICES["input_token"]
    total = fresh + cached_tokens * PRICES["cached_input_token"] + completion_tokens * PRICES["output_token"]
    return math.ceil(Decimal(total) / PER)


def price_of(usage) -> int:
    details = usage.prompt_tokens_details
    return price_micros(usage.prompt_tokens, (details and details.cached_tokens) or 0, usage.completion_tokens)


def same(what: str, found, expected) -> None:
    assert found == expected, f"{what} is {found!r} instead of {expected!r}"


class Checks:
    """One method a check; each returns a line for the report, or raises."""

    def __init__(self, url: str, key: str, poor_key: str, spent_micros) -> None:
        self.url, self.key = url, key
        self.client = openai.OpenAI(base_url=url + "/v1", api_key=key)
        self.stranger = openai.OpenAI(base_url=url + "/v1", api_key=key[:-1] + ("a" if key[-1] != "a" else "b"))
        self.poor = openai.OpenAI(base_url=url + "/v1", api_key=poor_key)
        # What the account has spent, by the admin API.
        self.spent_micros = spent_micros

    def get(self, path: str) -> dict:
        request = urllib.request.Request(self.url + path, headers={"authorization": "Bearer " + self.key})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def charged(self, before: int, answer_id: str, expected: int) -> None:
        """The balance has moved by exactly this much, and the generation says so, too."""
        same("what the balance lost", self.spent_micros() - before, expected)
        generation = self.generation(answer_id)
        same("total_cost of the generation", round(Decimal(str(generation["total_cost"])) * 1_000_000), expected)

    def generation(self, answer_id: str) -> dict:
        # Usage becomes visible within a second.
        deadline = time.monotonic() + 2
        while True:
            try:
                return self.get("/v1/generation?id=" + answer_id)["data"]
            except urllib.error.HTTPError as error:
                if error.code != 404 or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def models(self) -> str:
        names = {model.id for model in self.client.models.list()}
        for name in ("smollm2", "pixgate/echo", "pixgate/echo-embedding"):
            assert name in names, f"{name} is not listed"
        same("the model's id", self.client.models.retrieve("smollm2").id, "smollm2")
        return f"{len(names)} models"

    def chat(self) -> str:
        before = self.spent_micros()
        answer = self.client.chat.completions.create(model="smollm2", messages=QUESTION, max_tokens=40, temperature=0)
        text = answer.choices[0].message.content
        assert text and text.strip(), "the answer is empty"
        expected = price_of(answer.usage)
        same("usage.cost_micros", answer.usage.cost_micros, expected)
        same("usage.cost", round(Decimal(str(answer.usage.cost)) * 1_000_000), expected)
        self.charged(before, answer.id, expected)
        return self.line(answer.usage, text)

    def chat_streamed(self) -> str:
        before = self.spent_micros()
        stream = self.client.chat.completions.create(
            model="smollm2", messages=QUESTION, max_tokens=40, temperature=0, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert text.strip(), "the answer is empty"
        last = chunks[-1]
        same("the choices of the last chunk", last.choices, [])
        assert not any(chunk.usage for chunk in chunks[:-1]), "usage comes before the last chunk"
        expected = price_of(last.usage)
        same("usage.cost_micros", last.usage.cost_micros, expected)
        self.charged(before, last.id, expected)
        return self.line(last.usage, text, f"{len(chunks)} chunks")

    def chat_streamed_without_usage(self) -> str:
        before = self.spent_micros()
        chunks = list(self.client.chat.completions.create(model="smollm2", messages=QUESTION, max_tokens=40, stream=True))
        # Clients that did not ask may stumble over a chunk without choices; the cost comes with the end of the answer instead.
        assert all(chunk.choices for chunk in chunks), "a chunk without choices is shown though nobody asked"
        # The gateway has asked the model server all the same, so the price is exact and not an estimate.
        row = self.usage_row(chunks[0].id)
        same("estimated", row["estimated"], False)
        expected = price_micros(row["input_tokens"], row["cached_tokens"], row["output_tokens"])
        same("cost_micros of the usage row", row["cost_micros"], expected)
        same("cost_micros of the last chunk", chunks[-1].usage.cost_micros, expected)
        self.charged(before, chunks[0].id, expected)
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        return self.line(chunks[-1].usage, text, f"{len(chunks)} chunks")

    def usage_row(self, answer_id: str) -> dict:
        cost = self.generation(answer_id)
        rows = self.get("/v1/usage?limit=1")["data"]
        same("cost of the newest usage row", rows[0]["cost_micros"], round(Decimal(str(cost["total_cost"])) * 1_000_000))
        return rows[0]

    def structured_output(self) -> str:
        before = self.spent_micros()
        schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"], "additionalProperties": False}
        answer = self.client.chat.completions.create(
            model="smollm2",
            messages=QUESTION,
            max_tokens=60,
            response_format={"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": schema}},
        )
        place = json.loads(answer.choices[0].message.content)
        same("the keys of the answer", list(place), ["city"])
        self.charged(before, answer.id, price_of(answer.usage))
        return self.line(answer.usage, json.dumps(place))

    def echo(self) -> str:
        before = self.spent_micros()
        text = "Bonjour, ça va? 🙂"
        answer = self.client.chat.completions.create(model="pixgate/echo", messages=[{"role": "user", "content": text}])
        same("the echo", answer.choices[0].message.content, text)
        self.charged(before, answer.id, answer.usage.cost_micros)
        return self.line(answer.usage, text)

    def embeddings(self) -> str:
        before = self.spent_micros()
        answer = self.client.embeddings.create(model="pixgate/echo-embedding", input=["one text", "another text"])
        same("the number of embeddings", len(answer.data), 2)
        vector = answer.data[0].embedding
        assert vector and all(isinstance(number, float) for number in vector), "not a list of numbers"
        same("what the balance lost", self.spent_micros() - before, answer.usage.cost_micros)
        return f"2 vectors of {len(vector)} numbers, {answer.usage.cost_micros} micros"

    def wrong_key(self) -> str:
        return self.refused(self.stranger, "smollm2", openai.AuthenticationError, 401, "invalid_api_key")

    def unknown_model(self) -> str:
        return self.refused(self.client, "no/such-model", openai.NotFoundError, 404, "model_not_found")

    def no_credit(self) -> str:
        return self.refused(self.poor, "smollm2", openai.APIStatusError, 402, "insufficient_credits")

    def refused(self, client: openai.OpenAI, model: str, kind: type, status: int, code: str) -> str:
        before = self.spent_micros()
        try:
            client.chat.completions.create(model=model, messages=QUESTION, max_tokens=40)
        except kind as error:
            same("the status", error.status_code, status)
            same("the code", error.code, code)
            assert error.request_id, "the error has no request id"
            same("the SDK's retries", error.response.request.headers.get("x-stainless-retry-count"), "0")
            same("what the balance lost", self.spent_micros() - before, 0)
            return f"{type(error).__name__} {status} {code}, not retried"
        raise AssertionError("the call was not refused")

    @staticmethod
    def line(usage, text: str, extra: str = "") -> str:
        details = usage.prompt_tokens_details
        cached = (details and details.cached_tokens) or 0
        text = " ".join(text.split())
        text = text if len(text) <= 40 else text[:39] + "…"
        parts = [f"in {usage.prompt_tokens} (cached {cached}), out {usage.completion_tokens}: {usage.cost_micros} micros", extra, f"«{text}»"]
        return ", ".join(part for part in parts if part)

    def all(self):
        """The checks by the name that the report shows."""
        return {
            "list of models": self.models,
            "chat": self.chat,
            "chat, streamed": self.chat_streamed,
            "… without include_usage": self.chat_streamed_without_usage,
            "chat, JSON schema": self.structured_output,
            "chat with pixgate/echo": self.echo,
            "embeddings (echo)": self.embeddings,
            "wrong key": self.wrong_key,
            "unknown model": self.unknown_model,
            "no credit": self.no_credit,
        }
