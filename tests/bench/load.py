"""Load on a server that is pinned to one core, made by wrk on another."""

import os
import re
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 32
POST = Path(__file__).with_name("post.lua")
# What wrk is told; the request's body and the token come through the environment.
WRK = "taskset -c {core} wrk -t1 -c{connections} -d{seconds}s -s tests/bench/post.lua {url}"


@dataclass
class Target:
    """One operation of one server under one scheme."""

    server: str
    pid: int
    url: str
    body: Path
    token: str
    # With more than none, each request names another of so many keys: their number follows the URL.
    keys: int = 0


@dataclass
class Sample:
    """What one round came to; times in microseconds."""

    per_second: float
    p50: float
    p99: float
    cpu: float
    failed: int


@dataclass
class Figures:
    """The medians of all rounds, the range of the CPU time per request, and all failures."""

    per_second: float
    p50: float
    p99: float
    cpu: float
    cpu_range: tuple[float, float]
    failed: int

    @classmethod
    def of(cls, samples):
        median = lambda field: statistics.median(getattr(sample, field) for sample in samples)
        cpu = [sample.cpu for sample in samples]
        medians = (median(field) for field in ("per_second", "p50", "p99", "cpu"))
        return cls(*medians, (min(cpu), max(cpu)), sum(sample.failed for sample in samples))


def side_by_side(
    targets, rounds, seconds, core=LOAD_CORE, connections=CONNECTIONS, may_fail=False
):
    """Each target's figures; the targets take turns, so that all see the same machine."""
    samples = {target.server: [] for target in targets}
    for target in targets:
        measure(target, 1, core, connections, may_fail)
    for _ in range(rounds):
        for target in targets:
            samples[target.server].append(measure(target, seconds, core, connections, may_fail))
    return {server: Figures.of(taken) for server, taken in samples.items()}


def measure(target, seconds, core, connections, may_fail):
    """One round. The handshakes count too; those of 32 are less than a thousandth of it."""
    command = WRK.format(
        core=core, seconds=seconds, connections=connections, url=target.url
    ).split()
    command[command.index("-s") + 1] = str(POST)
    env = {**os.environ, "BODY": str(target.body), "TOKEN": target.token, "KEYS": str(target.keys)}
    cpu = cpu_seconds(target.pid)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    cpu = cpu_seconds(target.pid) - cpu
    line = re.search(r"^figures (.*)$", done.stdout, re.MULTILINE)
    figures = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", line[1])}
    if figures["failed"] and not may_fail:
        raise SystemExit(f"{target.server}: {figures['failed']} failures at {target.url}")
    return Sample(
        per_second=figures["requests"] / (figures["micros"] / 1e6),
        p50=figures["p50"],
        p99=figures["p99"],
        cpu=cpu * 1e6 / max(figures["requests"], 1),
        failed=figures["failed"],
    )


def cpu_seconds(pid):
    """utime + stime of all threads of a process (proc(5), /proc/PID/stat, fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
