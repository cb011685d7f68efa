#!/usr/bin/env python3
"""Our costs against an independent price library (genai-prices), on a sample of the bundled catalogue.

Asks `pixgate models price --bundled` what calls would cost, asks the library the same, and lists every answer that differs. Both sides
have their own sources, so some differ by data; those are named in EXPLAINED with the reason, after a look at both. Anything else that
differs fails, and so does an explanation that is not needed any more.

Usage: prices.py PIXGATE
"""

import json
import math
import pathlib
import random
import subprocess
import sys
import warnings
from datetime import UTC, datetime

from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot

CATALOG = pathlib.Path(__file__).parents[2] / "assets/catalog.json"
SAMPLED = 200
SEED = 20261122
# Prices of the library depend on the day, and some on the hour; the catalogue has those of busy hours.
AS_OF = datetime(2026, 11, 22, 2, tzinfo=UTC)

# Names of providers: the catalogue's, the library's.
PROVIDERS = {
    "openai": "openai", "anthropic": "anthropic", "gemini": "google", "bedrock": "aws", "bedrock_converse": "aws", "azure": "azure",
    "mistral": "mistral", "groq": "groq", "deepseek": "deepseek", "xai": "x-ai", "together_ai": "together", "fireworks_ai": "fireworks",
    "cohere": "cohere", "cohere_chat": "cohere", "perplexity": "perplexity", "moonshot": "moonshotai", "minimax": "minimax", "zai": "zai",
    "cerebras": "cerebras", "voyage": "voyageai",
}  # fmt: skip

# What is used: our disjoint quantities, and the library's, whose input_tokens include the others.
USAGES = {
    "plain": ({"input_tokens": 1000, "output_tokens": 500}, {"input_tokens": 1000, "output_tokens": 500}),
    "cached": (
        {"input_tokens": 600, "cached_input_tokens": 400, "output_tokens": 500},
        {"input_tokens": 1000, "cache_read_tokens": 400, "output_tokens": 500},
    ),
    "cache write": (
        {"input_tokens": 700, "cache_write_tokens": 300, "output_tokens": 500},
        {"input_tokens": 1000, "cache_write_tokens": 300, "output_tokens": 500},
    ),
    "hour cache write": (
        {"input_tokens": 700, "cache_write_1h_tokens": 300, "output_tokens": 500},
        {"input_tokens": 1000, "cache_write_tokens": 300, "cache_write_1h_tokens": 300, "output_tokens": 500},
    ),
    "above tier": ({"input_tokens": 300_000, "output_tokens": 500}, {"input_tokens": 300_000, "output_tokens": 500}),
    "above tier, cached": (
        {"input_tokens": 200_000, "cached_input_tokens": 100_000, "output_tokens": 500},
        {"input_tokens": 300_000, "cache_read_tokens": 100_000, "output_tokens": 500},
    ),
}

ALL = tuple(USAGES)
LONG = ("above tier", "above tier, cached")
CACHED = ("cached", "above tier, cached")

# Model: the usages that differ, and how the two sources differ. Numbers are dollars for a million tokens.
EXPLAINED = {
    "azure/ada": (ALL, "data: Azure's list has 0.11, the library OpenAI's 0.1"),
    "azure/gpt-4-turbo": (ALL, "data: Azure's list has 11 and 33, the library OpenAI's 10 and 30"),
    "azure/gpt-5.5-pro": (CACHED, "data: the library has no price for cached input"),
    "azure/text-embedding-3-small": (ALL, "data: Azure's list has 0.022, the library OpenAI's 0.02"),
    "claude-sonnet-4-5": (LONG, "data: the library keeps the tier of the long-context beta, which ended on 2026-04-30"),
    "deepseek-reasoner": (ALL, "data: the library has the prices of V3 and R1, the catalogue those that replaced them"),
    "deepseek/deepseek-chat": (ALL, "data: the library has the prices of V3, the catalogue those that replaced them"),
    "deepseek/deepseek-v3.2": (ALL, "data: the library has a reseller's 0.2288 and 0.3432 and no cached price, the catalogue 0.28 and 0.4"),
    "global.anthropic.claude-sonnet-4-5-20250929-v1:0": (LONG, "data: the library has no tier for it"),
    "gpt-5.6-cyber": (LONG, "data: the library has no tier for it"),
    "groq/openai/gpt-oss-safeguard-20b": (("above tier, cached",), "data: cached input is 0.0375 in the library, 0.037 in the catalogue"),
    "mistral/mistral-large-4": (ALL, "data: the library knows the cut of 2026-10-29, the catalogue still has the price before it"),
    "perplexity/sonar-reasoning": (ALL, "data: a deep search costs 0.014 in the catalogue, 0.012 in the library"),
    "together_ai/Qwen/Qwen3.7-Max": (ALL, "data: 1.5 and 4.5 in the catalogue, 2.5 and 7.5 in the library"),
    "together_ai/Qwen/Qwen3.8-2.4T-A95B": (CACHED, "data: cached input is 0.25 in the catalogue, 0.5 in the library"),
    "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo": (ALL, "data: 1.04 in the catalogue, 0.88 in the library"),
    "together_ai/mistralai/Mixtral-8x7B-Instruct-v0.1": (ALL, "data: 0.6 in the catalogue, 0.9 in the library"),
    "xai/grok-code-fast-1": (ALL, "data: the catalogue has the model that the name leads to now, the library the old one"),
    "zai/glm-4.5-air": (CACHED, "data: the catalogue has no price for cached input"),
    "zai/glm-4.5-x": (CACHED, "data: the catalogue has no price for cached input"),
}


def candidates():
    """Priced models that both sides know under the same name: our name, the library's provider, and the library's name."""
    snapshot = get_snapshot()
    providers = {provider.id: provider for provider in snapshot.providers}
    for key, entry in json.loads(CATALOG.read_text()).items():
        provider = PROVIDERS.get(entry.get("litellm_provider"))
        if not provider or entry["mode"] not in ("chat", "responses", "embedding") or not entry.get("input_cost_per_token"):
            continue
        name = key.removeprefix(entry["litellm_provider"] + "/")
        try:
            _, model = snapshot.find_provider_model(name, providers[provider], provider, None)
        except LookupError:
            continue
        # The library also matches by parts of names; those are guesses.
        if model.id.lower() == name.lower():
            yield key, provider, name, entry["mode"]


def questions():
    chosen = random.Random(SEED).sample(sorted(candidates()), SAMPLED)
    for key, provider, name, mode in chosen:
        for case, (ours, theirs) in USAGES.items():
            without_output = {"output_tokens": 0} if mode == "embedding" else {}
            # A call of these is one search, but for deep research; the library has that fee by the request.
            search = {"searches": 1} if provider == "perplexity" and "deep" not in name else {}
            yield key, provider, name, case, ours | without_output | search, theirs | without_output


def our_costs(program, asked):
    lines = "".join(json.dumps({"model": key, "quantities": ours}) + "\n" for key, _, _, _, ours, _ in asked)
    command = [program, "models", "price", "--bundled"]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, timeout=300)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(asked):
        sys.exit(f"asked {len(asked)} questions, got {len(answers)} answers: {done.stderr}")
    return answers


def their_cost(provider, name, theirs):
    price = calc_price(Usage(**theirs), name, provider_id=provider, genai_request_timestamp=AS_OF).total_price
    return math.ceil(price * 1_000_000)


def main():
    warnings.simplefilter("ignore")
    asked = list(questions())
    needed, unexplained, explained = set(), [], 0
    for (key, provider, name, case, _, theirs), answer in zip(asked, our_costs(sys.argv[1], asked), strict=True):
        expected = their_cost(provider, name, theirs)
        if answer.get("cost_micros") == expected:
            continue
        cases, reason = EXPLAINED.get(key, ((), ""))
        line = f"{key} ({case}): ours {answer.get('cost_micros', answer.get('error'))}, theirs {expected}"
        if case in cases:
            needed.add((key, case))
            explained += 1
            print(f"explained  {line}: {reason}")
        else:
            unexplained.append(line)
    stale = {(key, case) for key, (cases, _) in EXPLAINED.items() for case in cases} - needed
    for line in unexplained:
        print(f"DIFFERENT  {line}")
    for key, case in sorted(stale):
        print(f"NOT NEEDED  {key} ({case}) does not differ; take it out of EXPLAINED")
    equal = len(asked) - explained - len(unexplained)
    print(f"{SAMPLED} models, {len(asked)} costs: {equal} equal to the micro, {explained} explained")
    print(f"{len(asked) - len(unexplained)} passed, {len(unexplained) + len(stale)} failed")
    sys.exit(1 if unexplained or stale else 0)


if __name__ == "__main__":
    main()
