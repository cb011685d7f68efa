"""The `openai` package, Responses."""

import json

import openai
from serve import refusal


def connect(url: str, key: str) -> "Client":
    return Client(openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0))


def outcome(*answers) -> dict:
    usages = [{"input": answer.usage.input_tokens, "output": answer.usage.output_tokens} for answer in answers]
    return {"text": answers[-1].output_text, "finish": answers[-1].status, "usages": usages, "ids": [answer.id for answer in answers]}


def calls_of(answer) -> list:
    return [item for item in answer.output if item.type == "function_call"]


def read(calls) -> list:
    return [[call.name, json.loads(call.arguments)] for call in calls]


class Client:
    def __init__(self, sdk: openai.OpenAI) -> None:
        self.sdk = sdk

    def options(self, data: dict) -> dict:
        options = {"input": data["user"], "max_output_tokens": data["max_output_tokens"]}
        if "system" in data:
            options["instructions"] = data["system"]
        if "tool" in data:
            options["tools"] = [{"type": "function", "strict": False, **data["tool"]}]
        return options

    def ask(self, model: str, data: dict, **more):
        return self.sdk.responses.create(model=model, **self.options(data) | more)

    def plain(self, model: str, data: dict) -> dict:
        return outcome(self.ask(model, data))

    usage = plain

    def streamed(self, model: str, data: dict, **more):
        """The final response, and how many pieces of text came before it."""
        pieces = 0
        with self.sdk.responses.stream(model=model, **self.options(data) | more) as stream:
            for event in stream:
                pieces += event.type == "response.output_text.delta"
            return stream.get_final_response(), pieces

    def stream(self, model: str, data: dict) -> dict:
        answer, pieces = self.streamed(model, data)
        return outcome(answer) | {"pieces": pieces}

    def talk(self, data: dict, answer) -> list:
        items = [item.model_dump(exclude_none=True, exclude={"parsed_arguments", "status"}) for item in answer.output]
        results = [{"type": "function_call_output", "call_id": call.call_id, "output": json.dumps(data["result"])} for call in calls_of(answer)]
        return [{"role": "user", "content": data["user"]}, *items, *results]

    def tools(self, model: str, data: dict) -> dict:
        first = self.ask(model, data)
        return outcome(first, self.ask(model, data, input=self.talk(data, first))) | {"calls": read(calls_of(first))}

    def parallel(self, model: str, data: dict) -> dict:
        first, _ = self.streamed(model, data)
        second, _ = self.streamed(model, data, input=self.talk(data, first))
        return outcome(first, second) | {"calls": read(calls_of(first))}

    def image(self, model: str, data: dict) -> dict:
        image = data["image"]
        parts = [
            {"type": "input_text", "text": data["user"]},
            {"type": "input_image", "detail": "auto", "image_url": f"data:{image['mime']};base64,{image['base64']}"},
        ]
        return outcome(self.ask(model, data, input=[{"role": "user", "content": parts}]))

    def schema(self, model: str, data: dict) -> dict:
        schema = {"type": "json_schema", "name": data["schema"]["name"], "strict": True, "schema": data["schema"]["body"]}
        answer = self.ask(model, data, text={"format": schema})
        return outcome(answer) | {"object": json.loads(answer.output_text)}

    def model_error(self, model: str, data: dict) -> dict:
        try:
            return outcome(self.ask(model, data))
        except openai.OpenAIError as error:
            return refusal(error, getattr(error, "status_code", None))

    parameter_error = model_error

    def cancel(self, model: str, data: dict) -> dict:
        text, pieces = "", 0
        with self.ask(model, data, stream=True) as stream:
            for event in stream:
                if event.type == "response.output_text.delta":
                    pieces += 1
                    text += event.delta
                if pieces >= data["pieces"]:
                    break
        return {"text": text, "pieces": pieces}
