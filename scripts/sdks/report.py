"""What the bench prints: one line a client, then why things were skipped or failed, then the specifications."""

import collections
import json
import pathlib
import re

# Ids differ from call to call.
IDS = re.compile(r"\b(req|call|msg|resp|toolu|chatcmpl|fc)([_-])[A-Za-z0-9_-]{8,}")
WIDTH = 30
COLUMN = 12


def versions(cache: pathlib.Path, client: dict) -> str:
    if "venv" not in client:
        return json.loads((cache / "node/node_modules" / client["package"] / "package.json").read_text())["version"]
    found = next((cache / f"venv-{client['venv']}").glob(f"lib/*/site-packages/{client['package'].replace('-', '_')}-*.dist-info"))
    return found.name.removesuffix(".dist-info").rpartition("-")[2]


def head(upstreams: list[dict]) -> None:
    print(f"{'':{WIDTH}} {'':8} " + " ".join(f"{upstream['name']:>{COLUMN}}" for upstream in upstreams), flush=True)


def row(client: dict, version: str, upstreams: list[dict], cells: dict) -> None:
    """`8/8` scenarios passed, `-2` were skipped."""
    texts = []
    for upstream in upstreams:
        cell = cells.get((client["name"], upstream["name"]))
        if cell is None:
            texts.append("skipped")
            continue
        ran = len(cell.passed) + len(cell.failed)
        text = f"{len(cell.passed)}/{ran}" if ran else "skipped"
        texts.append(("FAIL " if cell.failed else "") + text + (f" -{len(cell.skipped)}" if ran and cell.skipped else ""))
    print(f"{client['name']:{WIDTH}} {version:8} " + " ".join(f"{text:>{COLUMN}}" for text in texts), flush=True)


def details(cells: dict) -> int:
    """Every skip with its reason and every failure with its problems; returns the number of failures."""
    for kind in ("skipped", "waived"):
        reasons = collections.defaultdict(list)
        for (client, upstream), cell in cells.items():
            for scenario, reason in vars(cell)[kind].items():
                reasons[reason].append(f"{client} × {upstream}: {scenario}")
        if reasons:
            print(f"\n{kind}")
        for reason, places in sorted(reasons.items()):
            shown = places if len(places) <= 3 else [*places[:2], f"and {len(places) - 2} more"]
            print(f"  {reason}\n      {'; '.join(shown)}")
    # What fails alike is told of once.
    failures = collections.defaultdict(list)
    for (client, upstream), cell in cells.items():
        for scenario, problems in cell.failed.items():
            failures[tuple(IDS.sub(r"\1\2…", problem) for problem in problems)].append(f"{client} × {upstream}: {scenario}")
    if failures:
        print("\nfailed")
    for problems, places in failures.items():
        print(f"  {'; '.join(places)}")
        for problem in problems:
            print(f"      {problem}")
    return sum(len(cell.failed) for cell in cells.values())


def specifications(validator) -> int:
    """How many answers were held against the vendors' specifications; returns the number of different violations."""
    print("\nanswers against the vendors' specifications")
    for kind, count in sorted(validator.checked.items()):
        found = validator.violations.get(kind, {})
        print(f"  {'FAIL' if found else 'ok  '}  {' '.join(kind):<28} {count} checked, {len(found)} violations")
        for violation, place in found.items():
            print(f"          {violation}\n              {place}")
    for reason in sorted(validator.accepted):
        print(f"  accepted: {reason}")
    return sum(len(found) for found in validator.violations.values())
