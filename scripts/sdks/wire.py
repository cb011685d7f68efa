"""Reads bodies in every dialect, independently of the gateway: what an upstream was asked, and what a client was told it cost."""

import base64
import dataclasses
import json
import re
import struct
import urllib.parse

from tee import Exchange

# Which dialect a path belongs to, ours and the upstreams' alike.
PATHS = [
    (re.compile(r"/chat/completions$"), "chat"),
    (re.compile(r"/responses$"), "responses"),
    (re.compile(r"/messages$"), "anthropic"),
    (re.compile(r":(generateContent|streamGenerateContent)$"), "gemini"),
    (re.compile(r"/(converse|converse-stream)$"), "converse"),
    (re.compile(r"/embeddings$|:embedContent$|:batchEmbedContents$"), "embeddings"),
]


def dialect_of(path: str) -> str | None:
    path = urllib.parse.unquote(path.partition("?")[0])
    return next((name for pattern, name in PATHS if pattern.search(path)), None)


@dataclasses.dataclass
class Asked:
    """A request in neutral words."""

    system: str = ""
    texts: list[str] = dataclasses.field(default_factory=list)
    images: list[bytes] = dataclasses.field(default_factory=list)
    tools: dict[str, dict] = dataclasses.field(default_factory=dict)
    calls: list[tuple[str, dict]] = dataclasses.field(default_factory=list)
    results: list[object] = dataclasses.field(default_factory=list)
    # Ids of calls, and those that the results answer; empty strings where the dialect has none.
    call_ids: list[str] = dataclasses.field(default_factory=list)
    result_ids: list[str] = dataclasses.field(default_factory=list)
    limit: int | None = None
    schema: dict | None = None
    streamed: bool = False


def read_request(exchange: Exchange) -> Asked:
    body = json.loads(exchange.request_body)
    reader = {"chat": _chat, "responses": _responses, "anthropic": _anthropic, "gemini": _gemini, "converse": _converse}
    asked = reader[dialect_of(exchange.path)](body)
    if "stream" in exchange.path.rpartition("/")[2]:
        asked.streamed = True
    return asked


def _data_url(url: str) -> bytes:
    return base64.b64decode(url.partition("base64,")[2])


def _loose(text: str) -> object:
    """A tool's result: JSON when it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _joined(content: object) -> str:
    """A text, or the texts of its parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or [])


def _chat(body: dict) -> Asked:
    asked = Asked(streamed=body.get("stream", False))
    asked.limit = body.get("max_completion_tokens", body.get("max_tokens"))
    for message in body["messages"]:
        content = message.get("content")
        match message["role"]:
            case "system" | "developer":
                asked.system += _joined(content)
            case "tool":
                asked.results.append(_loose(_joined(content)))
                asked.result_ids.append(message["tool_call_id"])
            case "user":
                parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
                asked.texts += [part["text"] for part in parts if part["type"] == "text"]
                asked.images += [_data_url(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]
            case "assistant":
                for call in message.get("tool_calls") or []:
                    asked.calls.append((call["function"]["name"], json.loads(call["function"]["arguments"])))
                    asked.call_ids.append(call["id"])
    for tool in body.get("tools") or []:
        asked.tools[tool["function"]["name"]] = tool["function"]["parameters"]
    asked.schema = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    return asked


def _responses(body: dict) -> Asked:
    asked = Asked(system=body.get("instructions") or "", limit=body.get("max_output_tokens"), streamed=body.get("stream", False))
    items = body["input"]
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        match item.get("type", "message"):
            case "function_call":
                asked.calls.append((item["name"], json.loads(item["arguments"])))
                asked.call_ids.append(item["call_id"])
            case "function_call_output":
                asked.results.append(_loose(_joined(item["output"])))
                asked.result_ids.append(item["call_id"])
            case "message" if item["role"] in ("system", "developer"):
                asked.system += _joined(item["content"])
            case "message" if item["role"] == "user":
                content = item["content"]
                parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
                asked.texts += [part["text"] for part in parts if part["type"] == "input_text"]
                asked.images += [_data_url(part["image_url"]) for part in parts if part["type"] == "input_image"]
    for tool in body.get("tools") or []:
        asked.tools[tool["name"]] = tool["parameters"]
    asked.schema = ((body.get("text") or {}).get("format") or {}).get("schema")
    return asked


def _anthropic(body: dict) -> Asked:
    asked = Asked(system=_joined(body.get("system")), limit=body["max_tokens"], streamed=body.get("stream", False))
    for message in body["messages"]:
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            match block["type"]:
                case "text" if message["role"] == "user":
                    asked.texts.append(block["text"])
                case "text" if message["role"] == "system":
                    asked.system += block["text"]
                case "image":
                    asked.images.append(base64.b64decode(block["source"]["data"]))
                case "tool_use":
                    asked.calls.append((block["name"], block["input"]))
                    asked.call_ids.append(block["id"])
                case "tool_result":
                    asked.results.append(_loose(_joined(block["content"])))
                    asked.result_ids.append(block["tool_use_id"])
    for tool in body.get("tools") or []:
        asked.tools[tool["name"]] = tool["input_schema"]
    asked.schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    return asked


def _either(body: dict, camel: str):
    """A field of protobuf's JSON, in either spelling."""
    snake = re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), camel)
    return body.get(camel, body.get(snake))


def _gemini(body: dict) -> Asked:
    config = _either(body, "generationConfig") or {}
    asked = Asked(limit=_either(config, "maxOutputTokens"))
    asked.system = _joined((_either(body, "systemInstruction") or {}).get("parts"))
    for content in body["contents"]:
        for part in content["parts"]:
            if (text := part.get("text")) and content.get("role") != "model":
                asked.texts.append(text)
            if blob := _either(part, "inlineData"):
                # Vendors' own clients write either alphabet.
                asked.images.append(base64.b64decode(blob["data"].replace("-", "+").replace("_", "/") + "=="))
            if call := _either(part, "functionCall"):
                asked.calls.append((call["name"], call.get("args") or {}))
                asked.call_ids.append(call.get("id") or "")
            if result := _either(part, "functionResponse"):
                asked.results.append(result["response"])
                asked.result_ids.append(result.get("id") or "")
    for tool in body.get("tools") or []:
        for function in _either(tool, "functionDeclarations") or []:
            asked.tools[function["name"]] = _either(function, "parametersJsonSchema") or function.get("parameters") or {}
    asked.schema = _either(config, "responseJsonSchema") or _either(config, "responseSchema")
    return asked


def _converse(body: dict) -> Asked:
    asked = Asked(system=_joined(body.get("system")), limit=(body.get("inferenceConfig") or {}).get("maxTokens"))
    for message in body["messages"]:
        for block in message["content"]:
            if "text" in block and message["role"] == "user":
                asked.texts.append(block["text"])
            if image := block.get("image"):
                asked.images.append(base64.b64decode(image["source"]["bytes"]))
            if call := block.get("toolUse"):
                asked.calls.append((call["name"], call["input"]))
                asked.call_ids.append(call["toolUseId"])
            if result := block.get("toolResult"):
                parts = result["content"]
                asked.results.append(next((part["json"] for part in parts if "json" in part), None) or _loose(_joined(parts)))
                asked.result_ids.append(result["toolUseId"])
    for tool in (body.get("toolConfig") or {}).get("tools") or []:
        spec = tool.get("toolSpec")
        if spec:
            asked.tools[spec["name"]] = spec["inputSchema"]["json"]
    text_format = ((body.get("outputConfig") or {}).get("textFormat") or {}).get("structure") or {}
    raw = (text_format.get("jsonSchema") or {}).get("schema")
    asked.schema = json.loads(raw) if isinstance(raw, str) else raw
    return asked


def events(body: bytes) -> list[tuple[str | None, object]]:
    """The events of a text/event-stream: name and JSON data; `[DONE]` stays a text."""
    found = []
    for block in re.split(rb"\r?\n\r?\n", body):
        name, data = None, []
        for line in block.splitlines():
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"event":
                name = value.decode()
            elif field == b"data":
                data.append(value)
        if data:
            text = b"\n".join(data)
            found.append((name, text.decode() if text == b"[DONE]" else json.loads(text)))
    return found


def objects(exchange: Exchange) -> list[dict]:
    """The JSON objects that an answer consists of: one, or the data of each event."""
    if not exchange.body:
        return []
    if exchange.is_stream:
        return [data for _, data in events(exchange.body) if isinstance(data, dict)]
    found = json.loads(exchange.body)
    return found if isinstance(found, list) else [found]


def cost_micros(exchange: Exchange) -> int | None:
    """What the answer says it cost; in a stream the last word counts."""
    found = None
    for value in objects(exchange):
        for holder in (value, value.get("response"), value.get("message")):
            if not isinstance(holder, dict):
                continue
            usage = holder.get("usage") or holder.get("usageMetadata") or {}
            found = usage.get("cost_micros", usage.get("costMicros", found))
    return None if found is None else int(found)


def floats(vector: list | str) -> list[float]:
    """An embedding as numbers, also when it came as base64 of little-endian floats."""
    if isinstance(vector, str):
        raw = base64.b64decode(vector)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return vector
