"""The `google-genai` package, generateContent."""

import base64
import json

from google import genai
from google.genai import errors, types
from serve import refusal


def connect(url: str, key: str) -> "Client":
    return Client(genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url, timeout=60_000)))


def usage_of(answer) -> dict:
    usage = answer.usage_metadata
    return {"input": usage.prompt_token_count, "output": usage.candidates_token_count + (usage.thoughts_token_count or 0)}


def outcome(*answers) -> dict:
    last = answers[-1].candidates[0]
    text = "".join(part.text or "" for part in last.content.parts)
    ids = [answer.response_id for answer in answers]
    return {"text": text, "finish": last.finish_reason.value, "usages": [usage_of(answer) for answer in answers], "ids": ids}


def calls_of(parts) -> list:
    return [part.function_call for part in parts if part.function_call]


class Client:
    def __init__(self, sdk: genai.Client) -> None:
        self.sdk = sdk

    def options(self, data: dict, **more) -> dict:
        config = {"max_output_tokens": data["max_output_tokens"], "automatic_function_calling": {"disable": True}} | more
        if "system" in data:
            config["system_instruction"] = data["system"]
        if "tool" in data:
            tool = data["tool"]
            declared = {"name": tool["name"], "description": tool["description"], "parameters_json_schema": tool["parameters"]}
            config["tools"] = [{"function_declarations": [declared]}]
        return {"config": types.GenerateContentConfig(**config)}

    def ask(self, model: str, data: dict, contents=None, **more):
        return self.sdk.models.generate_content(model=model, contents=contents or data["user"], **self.options(data, **more))

    def plain(self, model: str, data: dict) -> dict:
        return outcome(self.ask(model, data))

    usage = plain

    def chunks(self, model: str, data: dict, contents=None):
        return self.sdk.models.generate_content_stream(model=model, contents=contents or data["user"], **self.options(data))

    def streamed(self, model: str, data: dict, contents=None) -> tuple[list, dict]:
        """All parts of a stream, and its outcome."""
        parts, pieces, finish, usage, ids = [], 0, None, None, set()
        for chunk in self.chunks(model, data, contents):
            ids.add(chunk.response_id)
            usage = usage_of(chunk) if chunk.usage_metadata and chunk.usage_metadata.candidates_token_count else usage
            for candidate in chunk.candidates or []:
                found = (candidate.content and candidate.content.parts) or []
                pieces += any(part.text for part in found)
                parts += found
                finish = candidate.finish_reason.value if candidate.finish_reason else finish
        assert len(ids) == 1, f"the chunks of one answer have the ids {ids}"
        text = "".join(part.text or "" for part in parts)
        return parts, {"text": text, "pieces": pieces, "finish": finish, "usages": [usage], "ids": list(ids)}

    def stream(self, model: str, data: dict) -> dict:
        return self.streamed(model, data)[1]

    def talk(self, data: dict, parts: list) -> list:
        results = [
            types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response=data["result"])) for call in calls_of(parts)
        ]
        said = [part for part in parts if part.function_call or part.text]
        question = types.Part(text=data["user"])
        return [types.Content(role=role, parts=turn) for role, turn in (("user", [question]), ("model", said), ("user", results))]

    def tools(self, model: str, data: dict) -> dict:
        first = self.ask(model, data)
        parts = first.candidates[0].content.parts
        second = self.ask(model, data, self.talk(data, parts))
        return outcome(first, second) | {"calls": [[call.name, call.args] for call in calls_of(parts)]}

    def parallel(self, model: str, data: dict) -> dict:
        parts, first = self.streamed(model, data)
        _, second = self.streamed(model, data, self.talk(data, parts))
        calls = [[call.name, call.args] for call in calls_of(parts)]
        return second | {"calls": calls, "usages": first["usages"] + second["usages"], "ids": first["ids"] + second["ids"]}

    def image(self, model: str, data: dict) -> dict:
        picture = types.Part.from_bytes(data=base64.b64decode(data["image"]["base64"]), mime_type=data["image"]["mime"])
        return outcome(self.ask(model, data, [types.Part(text=data["user"]), picture]))

    def schema(self, model: str, data: dict) -> dict:
        answer = self.ask(model, data, response_mime_type="application/json", response_json_schema=data["schema"]["body"])
        return outcome(answer) | {"object": json.loads(answer.text)}

    def model_error(self, model: str, data: dict) -> dict:
        try:
            return outcome(self.ask(model, data))
        except errors.APIError as error:
            return refusal(error, error.code)

    parameter_error = model_error

    def cancel(self, model: str, data: dict) -> dict:
        text, pieces = "", 0
        chunks = self.chunks(model, data)
        for chunk in chunks:
            pieces += bool(chunk.text)
            text += chunk.text or ""
            if pieces >= data["pieces"]:
                break
        chunks.close()
        return {"text": text, "pieces": pieces}

    def models(self, _model: str, _data: dict) -> dict:
        return {"models": [model.name.removeprefix("models/") for model in self.sdk.models.list()]}

    def count(self, model: str, data: dict) -> dict:
        return {"count": self.sdk.models.count_tokens(model=model, contents=data["user"]).total_tokens}

    def embeddings(self, model: str, data: dict) -> dict:
        answer = self.sdk.models.embed_content(model=model, contents=data["inputs"])
        return {"vectors": [item.values for item in answer.embeddings]}
