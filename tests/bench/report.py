"""The figures as a table in Markdown."""

from dataclasses import dataclass

HEAD = """# Benchmarks

Made by `make bench`, which overwrites this file. Nothing here is a test: no build fails for a figure.

{circumstances}

"""

FOOT = """
How to read it:

- The *echo* is an axum handler on Selkie's own stack (accept loop, admission, TLS, body reader, wiped reply, zeroizing
  allocator) that answers bodies of the same size and does nothing else: what Selkie's own work costs is the difference.
- Server and load have one core each; servers take turns round by round, and each figure is the median of the rounds. CPU
  time is what the kernel charged the server process (user and system), all of it, over the requests answered. It is
  compared, not the throughput, because the echo may be faster than wrk on its one core can ask.
- Static seal, {plaintext} bytes of plaintext, {connections} keep-alive connections, TLS 1.3, a declared client with a policy for its key
  alone, log at "info" (no line per request).
- The figures for OpenBao 2.6.2 were taken on a machine of the same kind, {plaintext} bytes and {connections} connections
  too, storage in memory, no audit device. With `VAULT_BIN` or `BAO_BIN` set, that program is measured in the same run.
- Start: from before the program is spawned to a 200 of `sys/health`, asked again and again by a client on the same machine
  that waits 0.2 ms after each refused connection.

The commands, after `cargo build --release` and `cargo build --release -p selkie-bench`:

{commands}
"""


@dataclass
class Row:
    """One figure of Selkie's and what it stands against."""

    figure: str
    selkie: str
    echo: str = ""
    peers: tuple[str, ...] = ()
    openbao: str = ""
    comparison: str = ""
    goal: str = ""
    command: str = ""


def table(rows, peers):
    columns = ["figure", "Selkie", "echo", *(f"{peer} here" for peer in peers)]
    columns += ["OpenBao 2.6.2", "Selkie against it", "goal", "command"]
    lines = [columns, ["---"] * len(columns)]
    for row in rows:
        measured = row.peers or ("",) * len(peers)
        cells = [row.figure, row.selkie, row.echo, *measured]
        lines.append([*cells, row.openbao, row.comparison, row.goal, row.command])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def at_least(value, goal):
    return f">= {goal:g}: {'reached' if value >= goal else 'missed'}"


def at_most(value, goal, unit):
    return f"<= {goal} {unit}: {'reached' if value <= goal else 'missed'}"


def load_rows(operation, scheme, figures, openbao, goals, command):
    """CPU time, throughput and latency of one operation under one scheme."""
    ours, echo = figures["Selkie"], figures["echo"]
    peers = [figures[name] for name in figures if name not in ("Selkie", "echo")]
    cpu, throughput = echo.cpu / ours.cpu, ours.per_second / openbao[0]
    is_goal = scheme == "https"
    what = f"{operation}, {'TLS' if is_goal else 'plain'}"
    latency = lambda each: f"{each.p50 / 1e3:.2f} / {each.p99 / 1e3:.2f} ms"
    return [
        Row(
            f"{what}: CPU per request",
            cpu_text(ours),
            cpu_text(echo),
            tuple(map(cpu_text, peers)),
            comparison=f"{cpu:.2f}x of the echo",
            goal=at_least(cpu, goals[0]) if is_goal else "",
            command=command,
        ),
        Row(
            f"{what}: requests per second",
            f"{ours.per_second:,.0f}",
            f"{echo.per_second:,.0f}",
            tuple(f"{each.per_second:,.0f}" for each in peers),
            f"{openbao[0]:,}",
            f"{throughput:.1f}x of OpenBao",
            at_least(throughput, goals[1]) if is_goal else "",
            command,
        ),
        Row(
            f"{what}: p50 / p99",
            latency(ours),
            latency(echo),
            tuple(map(latency, peers)),
            openbao[1],
            command=command,
        ),
    ]


def cpu_text(figures):
    low, high = figures.cpu_range
    return f"{figures.cpu:.1f} us ({low:.1f} - {high:.1f})"


def limit_row(figure, value, goal, unit, command, openbao=""):
    """A figure that must stay under its goal."""
    text = f"{value:.1f} {unit}"
    return Row(figure, text, openbao=openbao, goal=at_most(value, goal, unit), command=command)
