"""Runs the scenarios of one Python SDK: a JSON request a line on standard input, a JSON answer a line on standard output.

Argument: the adapter's module. Request: {scenario, data, url, key, model}. Answer: {outcome} or {failed}.

An adapter has `connect(url, key)`, which returns an object with one method a scenario: `method(model, data)`. What a method returns
is the outcome in neutral words, as far as the SDK shows them: `text`, `pieces` (how many parts of a stream), `finish`, `calls` (name
and arguments of tools), `object` (structured output), `usages` (one {input, output} an answer), `ids`, `vectors`, `models`
(the list's), `count` (of tokens), and `error` ({classes, status}).
"""

import importlib
import json
import os
import sys
import traceback


def refusal(error: Exception, status: object) -> dict:
    """The outcome of a call that raised: the names of the error's classes, so that a subclass counts as well."""
    return {"error": {"classes": [kind.__name__ for kind in type(error).__mro__], "status": status, "message": str(error)[:300]}}


def main() -> None:
    # Whatever a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    adapter = importlib.import_module(sys.argv[1])
    client, connected = None, None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if connected != (request["url"], request["key"]):
                connected = (request["url"], request["key"])
                client = adapter.connect(*connected)
            answer = {"outcome": getattr(client, request["scenario"])(request["model"], request["data"])}
        except Exception:  # Whatever goes wrong is the outcome of this scenario, and the next one is tried.
            answer = {"failed": traceback.format_exc()[-1500:]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    # Adapters import `refusal` from here; they must not get a second copy that runs.
    sys.modules["serve"] = sys.modules["__main__"]
    main()
