"""The `anthropic` package, Messages. Serves the new major versions and the old ones, which send their key and version differently."""

import json

import anthropic
from serve import refusal


def connect(url: str, key: str) -> "Client":
    return Client(anthropic.Anthropic(base_url=url, api_key=key, max_retries=0))


def calls_of(answer) -> list:
    return [block for block in answer.content if block.type == "tool_use"]


def outcome(*answers) -> dict:
    text = "".join(block.text for block in answers[-1].content if block.type == "text")
    usages = [{"input": whole_input(answer.usage), "output": answer.usage.output_tokens} for answer in answers]
    return {"text": text, "finish": answers[-1].stop_reason, "usages": usages, "ids": [answer.id for answer in answers]}


def whole_input(usage) -> int:
    # Anthropic counts what was read from or written to a cache apart.
    return usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)


class Client:
    def __init__(self, sdk: anthropic.Anthropic) -> None:
        self.sdk = sdk

    def options(self, data: dict) -> dict:
        options = {"messages": [{"role": "user", "content": data["user"]}], "max_tokens": data["max_output_tokens"]}
        if "system" in data:
            options["system"] = data["system"]
        if "tool" in data:
            tool = data["tool"]
            options["tools"] = [{"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"]}]
        # Without a limit of its own the SDK refuses to wait for what may take long.
        return options | {"timeout": 60}

    def ask(self, model: str, data: dict, **more):
        return self.sdk.messages.create(model=model, **self.options(data) | more)

    def plain(self, model: str, data: dict) -> dict:
        return outcome(self.ask(model, data))

    usage = plain

    def streamed(self, model: str, data: dict, **more):
        with self.sdk.messages.stream(model=model, **self.options(data) | more) as stream:
            pieces = sum(1 for _ in stream.text_stream)
            return stream.get_final_message(), pieces

    def stream(self, model: str, data: dict) -> dict:
        answer, pieces = self.streamed(model, data)
        return outcome(answer) | {"pieces": pieces}

    def talk(self, data: dict, answer) -> list:
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": json.dumps(data["result"])} for call in calls_of(answer)]
        said = [
            {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
            if block.type == "tool_use"
            else {"type": "text", "text": block.text}
            for block in answer.content
        ]
        return [{"role": "user", "content": data["user"]}, {"role": "assistant", "content": said}, {"role": "user", "content": results}]

    def tools(self, model: str, data: dict) -> dict:
        first = self.ask(model, data)
        assert first.stop_reason == "tool_use", first.stop_reason
        second = self.ask(model, data, messages=self.talk(data, first))
        return outcome(first, second) | {"calls": [[call.name, call.input] for call in calls_of(first)]}

    def parallel(self, model: str, data: dict) -> dict:
        first, _ = self.streamed(model, data)
        second, _ = self.streamed(model, data, messages=self.talk(data, first))
        return outcome(first, second) | {"calls": [[call.name, call.input] for call in calls_of(first)]}

    def image(self, model: str, data: dict) -> dict:
        source = {"type": "base64", "media_type": data["image"]["mime"], "data": data["image"]["base64"]}
        parts = [{"type": "image", "source": source}, {"type": "text", "text": data["user"]}]
        return outcome(self.ask(model, data, messages=[{"role": "user", "content": parts}]))

    def schema(self, model: str, data: dict) -> dict:
        answer = self.ask(model, data, output_config={"format": {"type": "json_schema", "schema": data["schema"]["body"]}})
        result = outcome(answer)
        return result | {"object": json.loads(result["text"])}

    def model_error(self, model: str, data: dict) -> dict:
        try:
            return outcome(self.ask(model, data))
        except anthropic.AnthropicError as error:
            return refusal(error, getattr(error, "status_code", None))

    parameter_error = model_error

    def models(self, _model: str, _data: dict) -> dict:
        return {"models": [model.id for model in self.sdk.models.list()]}

    def count(self, model: str, data: dict) -> dict:
        options = self.options(data)
        answer = self.sdk.messages.count_tokens(model=model, messages=options["messages"], system=options["system"])
        return {"count": answer.input_tokens}

    def cancel(self, model: str, data: dict) -> dict:
        text, pieces = "", 0
        with self.sdk.messages.stream(model=model, **self.options(data)) as stream:
            for piece in stream.text_stream:
                pieces, text = pieces + 1, text + piece
                if pieces >= data["pieces"]:
                    break
        return {"text": text, "pieces": pieces}
