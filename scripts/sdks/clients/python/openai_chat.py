"""The `openai` package, Chat Completions."""

import json

import openai
from serve import refusal


def connect(url: str, key: str) -> "Client":
    return Client(openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0))


def messages(data: dict) -> list:
    system = [{"role": "system", "content": data["system"]}] if "system" in data else []
    return [*system, {"role": "user", "content": data["user"]}]


def outcome(*answers) -> dict:
    last = answers[-1].choices[0]
    usages = [{"input": answer.usage.prompt_tokens, "output": answer.usage.completion_tokens} for answer in answers]
    return {"text": last.message.content, "finish": last.finish_reason, "usages": usages, "ids": [answer.id for answer in answers]}


def read(calls) -> list:
    return [[call.function.name, json.loads(call.function.arguments)] for call in calls]


class Client:
    def __init__(self, sdk: openai.OpenAI) -> None:
        self.sdk = sdk

    def ask(self, model: str, data: dict, **more):
        more.setdefault("messages", messages(data))
        return self.sdk.chat.completions.create(model=model, max_completion_tokens=data["max_output_tokens"], **more)

    def plain(self, model: str, data: dict) -> dict:
        return outcome(self.ask(model, data))

    usage = plain

    def stream(self, model: str, data: dict) -> dict:
        text, pieces, finish, usage, ids = "", 0, None, None, set()
        for chunk in self.ask(model, data, stream=True, stream_options={"include_usage": True}):
            ids.add(chunk.id)
            usage = chunk.usage or usage
            for choice in chunk.choices:
                pieces += bool(choice.delta.content)
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
        assert len(ids) == 1, f"the chunks of one answer have the ids {ids}"
        usages = [{"input": usage.prompt_tokens, "output": usage.completion_tokens}]
        return {"text": text, "pieces": pieces, "finish": finish, "usages": usages, "ids": list(ids)}

    def tools(self, model: str, data: dict) -> dict:
        tools = [{"type": "function", "function": data["tool"]}]
        first = self.ask(model, data, tools=tools)
        assert first.choices[0].finish_reason == "tool_calls", first.choices[0].finish_reason
        talk = self.with_results(data, first.choices[0].message)
        return outcome(first, self.ask(model, data, tools=tools, messages=talk)) | {"calls": read(first.choices[0].message.tool_calls)}

    def with_results(self, data: dict, answer) -> list:
        results = [{"role": "tool", "tool_call_id": call.id, "content": json.dumps(data["result"])} for call in answer.tool_calls]
        # As an application would keep it: the fields the SDK shows, without those that are empty.
        return [*messages(data), answer.model_dump(exclude_none=True), *results]

    def parallel(self, model: str, data: dict) -> dict:
        tools = [{"type": "function", "function": data["tool"]}]

        def streamed(talk: list):
            options = {"messages": talk, "tools": tools, "max_completion_tokens": data["max_output_tokens"]}
            with self.sdk.chat.completions.stream(model=model, stream_options={"include_usage": True}, **options) as stream:
                return stream.get_final_completion()

        first = streamed(messages(data))
        talk = [*messages(data), self.plain_message(first.choices[0].message)]
        talk += [{"role": "tool", "tool_call_id": call.id, "content": json.dumps(data["result"])} for call in first.choices[0].message.tool_calls]
        return outcome(first, streamed(talk)) | {"calls": read(first.choices[0].message.tool_calls)}

    @staticmethod
    def plain_message(message) -> dict:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": call.function.arguments}}
            for call in message.tool_calls
        ]
        return {"role": "assistant", "tool_calls": calls}

    def image(self, model: str, data: dict) -> dict:
        image = data["image"]
        parts = [
            {"type": "text", "text": data["user"]},
            {"type": "image_url", "image_url": {"url": f"data:{image['mime']};base64,{image['base64']}"}},
        ]
        return outcome(self.ask(model, data, messages=[{"role": "user", "content": parts}]))

    def schema(self, model: str, data: dict) -> dict:
        schema = {"name": data["schema"]["name"], "strict": True, "schema": data["schema"]["body"]}
        answer = self.ask(model, data, response_format={"type": "json_schema", "json_schema": schema})
        return outcome(answer) | {"object": json.loads(answer.choices[0].message.content)}

    def model_error(self, model: str, data: dict) -> dict:
        try:
            return outcome(self.ask(model, data))
        except openai.OpenAIError as error:
            return refusal(error, getattr(error, "status_code", None))

    parameter_error = model_error

    def cancel(self, model: str, data: dict) -> dict:
        text, pieces = "", 0
        with self.ask(model, data, stream=True) as stream:
            for chunk in stream:
                for choice in chunk.choices:
                    pieces += bool(choice.delta.content)
                    text += choice.delta.content or ""
                if pieces >= data["pieces"]:
                    break
        return {"text": text, "pieces": pieces}

    def models(self, _model: str, _data: dict) -> dict:
        return {"models": [model.id for model in self.sdk.models.list()]}

    def embeddings(self, model: str, data: dict) -> dict:
        answer = self.sdk.embeddings.create(model=model, input=data["inputs"])
        return {"vectors": [item.embedding for item in answer.data], "usages": [{"input": answer.usage.prompt_tokens, "output": 0}]}
