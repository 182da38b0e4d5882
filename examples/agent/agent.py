#!/usr/bin/env python3
"""Tells a load balancer how this machine is: an agent for `agent-check`.

    examples/agent/agent.py                       listens on port 8700 of all addresses
    examples/agent/agent.py --port 0 --once       one answer to standard output

Whoever connects gets one line, such as

    up ready 80% cpu:17% memory:41% load:0.20

and the connection ends. The weight is what the processors have left; the last three words are for
`balance usage` (HAProxy does not know them and shows them as unknown). An operator takes the machine
out by writing a word (`drain`, `maint`, `down # why`) into the state file, and back by removing it.
Nothing but Python's standard library and /proc is used.
"""

import argparse
import os
import pathlib
import socketserver
import sys

PROC = pathlib.Path("/proc")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=8700)
    parser.add_argument("--address", default="")
    parser.add_argument("--state", type=pathlib.Path, default="/run/agent-state", help="what an operator wants said")
    parser.add_argument("--once", action="store_true", help="one answer to standard output")
    args = parser.parse_args()
    report = Report(args.state)
    if args.once:
        sys.stdout.write(report.line())
        return 0

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(report.line().encode())

    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with socketserver.ThreadingTCPServer((args.address, args.port), Handler) as server:
        print(f"agent listens on port {server.server_address[1]}", flush=True)
        server.serve_forever()
    return 0


class Report:
    """What is said; processors are measured from one answer to the next."""

    def __init__(self, state: pathlib.Path):
        self.state = state
        self.before = cpu_ticks()

    def line(self) -> str:
        try:
            asked = self.state.read_text().strip() or "up ready"
        except OSError:
            asked = "up ready"
        busy = self.cpu()
        # One percent at the least: 0% would take the machine out for as long as it is busy.
        weight = max(1, round(100 * (1 - busy)))
        words = f"{weight}% cpu:{busy:.0%} memory:{memory():.0%} load:{load():.2f}"
        # What stands behind a `#` is a description: the words come first.
        return f"{words} {asked}\n"

    def cpu(self) -> float:
        before, self.before = self.before, cpu_ticks()
        whole = self.before[1] - before[1]
        return (self.before[0] - before[0]) / whole if whole else load_share()


def cpu_ticks() -> tuple[int, int]:
    """Busy and all ticks of the processors since the start."""
    fields = [int(field) for field in (PROC / "stat").read_text().split("\n")[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def memory() -> float:
    sizes = dict(line.split(":") for line in (PROC / "meminfo").read_text().splitlines())
    total, left = (int(sizes[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    return 1 - left / total


def load() -> float:
    """Processes that run or wait to, in the last minute, per processor."""
    return float((PROC / "loadavg").read_text().split()[0]) / (os.cpu_count() or 1)


def load_share() -> float:
    return min(load(), 1.0)


if __name__ == "__main__":
    sys.exit(main())
