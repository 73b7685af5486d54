#!/usr/bin/env python3
"""The service beside peers: one fresh token a request, each target in turn, round after round, as a Markdown table.

usage: compare.py BASE_URL TOKENS [--rounds 5] [--seconds 5] [--connections 32]

TOKENS holds one subject token a line. Every target is sent the same slice of it in a round, so each slice has to last
for the fastest one. Peers are taken from the environment, as base URLs; those that are not given are left out:

  FLOOR          the same answer without a store, at /oauth/token
  OIDC_PROVIDER  the program in peers/oidc-provider.mjs
  FASTAPI        the program in peers/fastapi_peer.py
  OPENBAO        a server that peers/openbao set up

PROJECT is the project to ask for (acme/widgets). PIDS="countersign=1 fastapi=2" adds processor time and memory.
wrk is needed. Only loopback addresses are accepted.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote, urlsplit

SCRIPT = Path(__file__).resolve().parent.parent / "load" / "post.lua"
FORM = "&".join(
    f"{name}={quote(value, safe='')}" if value != "{T}" else f"{name}={{T}}"
    for name, value in {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "audience": os.environ.get("PROJECT", "acme/widgets"),
        "subject_token": "{T}",
    }.items()
)
EXCHANGE = {"TARGET": "/oauth/token", "FORM": FORM}
# Name, variable, what is sent. Those that keep no spent tokens may be sent a token again at the end of a slice.
PEERS = [
    ("floor", "FLOOR", {**EXCHANGE, "AGAIN": "1"}),
    ("oidc-provider", "OIDC_PROVIDER", {"TARGET": "/token", "FORM": f"client_id=ci&{FORM}"}),
    ("FastAPI", "FASTAPI", EXCHANGE),
    (
        "OpenBao",
        "OPENBAO",
        {"TARGET": "/v1/auth/jwt/login", "FORM": '{"role":"ci","jwt":"{T}"}', "TYPE": "application/json"},
    ),
]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base_url")
    parser.add_argument("tokens", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    return parser.parse_args()


def measure(base, sent, lines, args):
    """One run of wrk; what it printed, as numbers."""
    command = ["wrk", "-t1", f"-c{args.connections}", f"-d{args.seconds}s", "--timeout", "10s", "--latency"]
    command += ["-s", str(SCRIPT), base]
    environment = {"PATH": os.environ["PATH"], **sent, "LINES": str(lines)}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    line = next(line for line in said.splitlines() if line.startswith("RESULT "))
    found = {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", line)}
    found["rate"] = (found["requests"] - found["refused"]) / (found["micros"] / 1e6)
    return found


def children(pid):
    """A process and everything that it started."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        below = []
    return [pid, *(one for child in below for one in children(child))]


def cpu(pid):
    """Processor time of a process and its children, in microseconds."""
    ticks = 0
    for one in children(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rsplit(") ", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") * 1e6


def memory(pid):
    """Resident memory of a process and its children, in MiB."""
    kib = 0
    for one in children(pid):
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{one}/status").read_text())
        kib += int(found.group(1)) if found else 0
    return kib / 1024


def spread(values, digits):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def table(names, found, pids):
    ours = found["countersign"]

    def middle(runs, figure):
        return statistics.median(run[figure] for run in runs)

    print("| target | exchanges/s | p50 ms | p99 ms | CPU µs each | memory MiB | errors | ours ÷ this: rate | p99 |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name in names:
        runs = found[name]
        each = f"{middle(runs, 'cpu'):.0f}" if name in pids else "–"
        held = f"{memory(pids[name]):.0f}" if name in pids else "–"
        ratio = middle(ours, "rate") / max(middle(runs, "rate"), 1e-9)
        print(
            f"| {name} | {spread([run['rate'] for run in runs], 0)} | {middle(runs, 'p50') / 1e3:.2f} "
            f"| {spread([run['p99'] / 1e3 for run in runs], 2)} | {each} | {held} "
            f"| {sum(run['refused'] + run['broken'] for run in runs):.0f} "
            f"| {ratio:.2f} | {middle(ours, 'p99') / middle(runs, 'p99'):.2f} |"
        )
    for name in names:
        if any(run["ran_out"] for run in found[name]) and name != "floor":
            print(f"\n`{name}` ran out of tokens: its figures mean nothing.")


def main():
    args = arguments()
    targets = [("countersign", args.base_url, EXCHANGE)]
    targets += [(name, os.environ[variable], sent) for name, variable, sent in PEERS if os.environ.get(variable)]
    for name, base, _ in targets:
        if urlsplit(base).hostname not in ("127.0.0.1", "localhost"):
            sys.exit(f"{name}: only loopback addresses are measured, not {base}")
    pids = dict(pair.split("=") for pair in os.environ.get("PIDS", "").split())
    tokens = args.tokens.read_text().splitlines()
    share = len(tokens) // args.rounds
    if share == 0:
        sys.exit("fewer tokens than rounds")
    found = {name: [] for name, _, _ in targets}
    with tempfile.NamedTemporaryFile("w", suffix=".lines") as lines:
        for number in range(args.rounds):
            lines.seek(0)
            lines.truncate()
            lines.write("\n".join(tokens[number * share : (number + 1) * share]) + "\n")
            lines.flush()
            for name, base, sent in targets:
                before = cpu(pids[name]) if name in pids else 0
                run = measure(base, sent, lines.name, args)
                run["cpu"] = (cpu(pids[name]) - before) / max(run["requests"], 1) if name in pids else 0
                print(f"{name}: {run['rate']:.0f}/s, p99 {run['p99'] / 1e3:.2f} ms", file=sys.stderr)
                found[name].append(run)
    table([name for name, _, _ in targets], found, pids)


main()
