"""The chat models of LangChain. The environment's `SDK` names the one: openai, openai-responses, anthropic or google."""

import json
import os

import anthropic
import langchain_google_genai.chat_models as google_models
import openai
from google.genai import errors as google_errors
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from serve import refusal

SDK = os.environ["SDK"]
REFUSALS = (openai.OpenAIError, anthropic.AnthropicError, google_errors.APIError, google_models.ChatGoogleGenerativeAIError)


def connect(url: str, key: str) -> "Client":
    return Client(url, key)


def outcome(*answers) -> dict:
    last = answers[-1]
    text = last.text if isinstance(last.text, str) else last.text()
    facts = last.response_metadata
    finish = next((facts[name] for name in ("finish_reason", "stop_reason", "status") if facts.get(name)), None)
    usages = [{"input": answer.usage_metadata["input_tokens"], "output": answer.usage_metadata["output_tokens"]} for answer in answers]
    return {"text": str(text), "finish": finish, "usages": usages, "ids": [answer_id(answer) for answer in answers]}


def answer_id(answer) -> str | None:
    # LangChain makes up ids of its own where the vendor's has no place.
    found = answer.response_metadata.get("id") or answer.id or ""
    return None if found.startswith(("run-", "lc_")) else found


class Client:
    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key

    def model(self, name: str, data: dict):
        common = {"model": name, "max_retries": 0, "timeout": 60}
        limit = data["max_output_tokens"]
        if SDK == "anthropic":
            return ChatAnthropic(base_url=self.url, api_key=self.key, max_tokens=limit, **common)
        if SDK == "google":
            # One attempt in this SDK's way of counting.
            common["max_retries"] = 1
            return ChatGoogleGenerativeAI(base_url=self.url, google_api_key=self.key, max_output_tokens=limit, vertexai=False, **common)
        responses = SDK == "openai-responses"
        return ChatOpenAI(
            base_url=self.url + "/v1", api_key=self.key, max_completion_tokens=limit, stream_usage=True, use_responses_api=responses, **common
        )

    def messages(self, data: dict) -> list:
        system = [SystemMessage(data["system"])] if "system" in data else []
        return [*system, HumanMessage(data["user"])]

    def plain(self, model: str, data: dict) -> dict:
        return outcome(self.model(model, data).invoke(self.messages(data)))

    usage = plain

    @staticmethod
    def collect(stream) -> tuple[AIMessageChunk, int]:
        whole, pieces = None, 0
        for chunk in stream:
            pieces += bool(str(chunk.text))
            whole = chunk if whole is None else whole + chunk
        return whole, pieces

    def stream(self, model: str, data: dict) -> dict:
        whole, pieces = self.collect(self.model(model, data).stream(self.messages(data)))
        return outcome(whole) | {"pieces": pieces}

    def bound(self, model: str, data: dict):
        tool = data["tool"]
        function = {"name": tool["name"], "description": tool["description"], "parameters": tool["parameters"]}
        return self.model(model, data).bind_tools([{"type": "function", "function": function}])

    def results(self, data: dict, answer) -> list:
        content = json.dumps(data["result"])
        return [ToolMessage(content, tool_call_id=call["id"], name=call["name"]) for call in answer.tool_calls]

    def tools(self, model: str, data: dict) -> dict:
        bound = self.bound(model, data)
        first = bound.invoke(self.messages(data))
        second = bound.invoke([*self.messages(data), first, *self.results(data, first)])
        return outcome(first, second) | {"calls": [[call["name"], call["args"]] for call in first.tool_calls]}

    def parallel(self, model: str, data: dict) -> dict:
        bound = self.bound(model, data)
        first, _ = self.collect(bound.stream(self.messages(data)))
        second, _ = self.collect(bound.stream([*self.messages(data), first, *self.results(data, first)]))
        return outcome(first, second) | {"calls": [[call["name"], call["args"]] for call in first.tool_calls]}

    def image(self, model: str, data: dict) -> dict:
        picture = {"type": "image", "base64": data["image"]["base64"], "mime_type": data["image"]["mime"]}
        message = HumanMessage(content=[{"type": "text", "text": data["user"]}, picture])
        return outcome(self.model(model, data).invoke([message]))

    def schema(self, model: str, data: dict) -> dict:
        schema = data["schema"]["body"] | {"title": data["schema"]["name"]}
        bound = self.model(model, data).with_structured_output(schema, method="json_schema", include_raw=True)
        answer = bound.invoke(self.messages(data))
        return outcome(answer["raw"]) | {"object": answer["parsed"]}

    def model_error(self, model: str, data: dict) -> dict:
        try:
            return self.plain(model, data)
        except REFUSALS as error:
            cause = error.__cause__ or error
            return refusal(error, getattr(cause, "status_code", None) or getattr(cause, "code", None))

    parameter_error = model_error

    def cancel(self, model: str, data: dict) -> dict:
        text, pieces = "", 0
        stream = self.model(model, data).stream(self.messages(data))
        for chunk in stream:
            pieces += bool(str(chunk.text))
            text += str(chunk.text)
            if pieces >= data["pieces"]:
                break
        stream.close()
        return {"text": text, "pieces": pieces}

    def embeddings(self, model: str, data: dict) -> dict:
        sdk = OpenAIEmbeddings(model=model, base_url=self.url + "/v1", api_key=self.key, check_embedding_ctx_length=False, max_retries=0)
        return {"vectors": sdk.embed_documents(data["inputs"])}
