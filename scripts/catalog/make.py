#!/usr/bin/env python3
"""Makes assets/catalog.json out of the price list inside a downloaded litellm package, without installing or running any of it.

    pip download --no-deps litellm==1.109.1
    unzip -p litellm-1.109.1-*.whl litellm/model_prices_and_context_window_backup.json > prices.json
    scripts/catalog/make.py prices.json > assets/catalog.json

Kept are the providers and the fields that `pixgate models import` reads, a model a line; numbers keep the digits they are written with.
"""

import decimal
import hashlib
import json
import re
import sys

SOURCE = "PyPI litellm 1.109.1, litellm/model_prices_and_context_window_backup.json"
LICENCE = (
    "MIT License. Copyright (c) 2023 Berri AI. Permission is hereby granted, free of charge, to any person obtaining a copy of this "
    'software and associated documentation files (the "Software"), to deal in the Software without restriction, including without '
    "limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to "
    "permit persons to whom the Software is furnished to do so, subject to the following conditions: The above copyright notice and "
    "this permission notice shall be included in all copies or substantial portions of the Software. THE SOFTWARE IS PROVIDED "
    '"AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, '
    "FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, "
    "DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE "
    "SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."
)
PROVIDERS = re.compile(
    r"openai|anthropic|gemini|vertex_ai|vertex_ai-.*|bedrock|bedrock_converse|azure|azure_ai|azure_text|mistral|codestral|groq|deepseek"
    r"|xai|openrouter|together_ai|fireworks_ai|fireworks_ai-.*|cohere|cohere_chat|ollama|perplexity|cerebras|sambanova|moonshot|minimax"
    r"|zai|dashscope|voyage|jina_ai|deepgram|elevenlabs|assemblyai|black_forest_labs|stability|recraft|runwayml|fal_ai|replicate"
    r"|meta_llama|ai21|nvidia_nim|deepinfra|hyperbolic|nebius|text-completion-openai|text-completion-codestral"
)
MODES = {
    "chat", "responses", "completion", "embedding", "image_generation", "image_edit", "audio_speech", "audio_transcription",
    "moderation", "rerank", "video_generation",
}  # fmt: skip
TIERS = r"(_above_\d+k_tokens)?"
SIZES = r"(_\d[0-9A-Za-z.]*)?"
FIELDS = re.compile(
    rf"litellm_provider|mode|max_input_tokens|max_output_tokens|deprecation_date|tiered_pricing|search_context_cost_per_query"
    rf"|(input|output)_cost_per_(audio_|image_)?token{TIERS}|output_cost_per_reasoning_token{TIERS}"
    rf"|cache_(read_input|creation_input)_token_cost{TIERS}|cache_creation_input_token_cost_above_1hr{TIERS}|input_cost_per_token_cache_hit"
    rf"|(input|output)_cost_per_(image|second){SIZES}|output_cost_per_video_per_second{SIZES}|input_cost_per_(character|request|query)"
    r"|supports_(vision|pdf_input|audio_input|audio_output|function_calling|parallel_function_calling|response_schema|reasoning"
    r"|sampling_params|native_streaming)"
)


def number(text):
    """A number as short as its digits allow, never through a float."""
    # Beyond 15 digits is the noise of a binary float; the importer drops it, too.
    return decimal.Context(prec=15).create_decimal(text).normalize()


def written(value):
    if isinstance(value, decimal.Decimal):
        return str(value).replace("E", "e").replace("e+", "e")
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def main():
    raw = open(sys.argv[1], "rb").read()
    entries = json.loads(raw, parse_float=number)
    about = {"source": SOURCE, "source_sha256": hashlib.sha256(raw).hexdigest(), "licence": LICENCE}
    lines = [f'"_about":{written(about)}']
    for key in sorted(entries):
        entry = entries[key]
        if key == "sample_spec" or entry.get("mode") not in MODES or not PROVIDERS.fullmatch(entry.get("litellm_provider") or ""):
            continue
        kept = {field: entry[field] for field in sorted(entry) if FIELDS.fullmatch(field) and entry[field] is not None}
        lines.append(f"{json.dumps(key)}:{written(kept)}")
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
