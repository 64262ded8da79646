"""The figures as a table in Markdown."""

from dataclasses import dataclass

HEAD = """# Benchmarks

Made by `make bench`, which overwrites this file. Nothing here is a test: no build fails for a
figure.

{circumstances}

"""

FOOT = """
How to read it:

- The *echo* is an axum handler on Selkie's own stack (accept loop, admission, TLS, body reader,
  wiped reply, zeroizing allocator) that answers bodies of the same size and does nothing else: the
  difference is what Selkie's own work costs.
- Server and load have one core each. The servers take turns round by round, and each figure is the
  median of the rounds, with the range of the CPU time behind it. CPU time is all that the kernel
  charged the server process (user and system) over the requests answered. It is compared, not the
  throughput, because the echo may answer faster than wrk on its one core can ask.
- For that same reason the echo rarely has to wake wrk, and Selkie has to for most replies, which on
  a virtual machine costs the *sender* up to several microseconds, the more the busier the other
  core is. "Same core" is without that: wrk runs on the server's core, which it need not wake. The
  throughput of that says nothing and is not shown.
- Static seal, {plaintext} bytes of plaintext, {connections} keep-alive connections, TLS 1.3, a declared client with
  a policy for its key alone, log at "info" (no line per request).
- The figures for OpenBao 2.6.2 are from another day, on a machine of the same kind: {plaintext} bytes and
  {connections} connections too, storage in memory, no audit device. With `VAULT_BIN` or `BAO_BIN` set, that
  program is measured in the same run.
- Start: from before the program is spawned to a 200 of `sys/health`, asked again and again by a
  client on the same machine that waits 0.2 ms after each refused connection.
- Key Vault is `selkie-emulator` on the same machine. F asks it alternately through the same provider
  directly and through the server, one at a time. H plays Vaults that all want their root key at
  once, each with its seal client's three tries and the unseal loop's pause of 5 s; the limit's own
  time is until the window begins in which the last unwrap fits. The emulator, the Vaults and the
  replicas share the two cores.
- Token and policy check: the server's own `Auth::authenticate` and the permit, without HTTP and TLS, the
  best of 5 rounds over 200,000 lookups. All tokens are held in memory, whatever the store: with sled
  they were read from there before. "All in turn" finds no client remembered when there are more than
  16,384; "at work" is what a server sees whose other tokens sleep.
- O plays Vault 1.14 to 1.16 and OpenBao: no pause after a 400 or 403; after a 503 the 1 to 1.5 s, then 2 to
  3 s, of their HTTP library, and then at once again.
- Q has one thread and 64 connections. It counts from when a request was due, also where all
  connections were busy then, so that a server that stalls hides nothing. It says how much of its
  core it worked itself, and how late it was with requests that a connection was free for: both
  are in the latencies too. Above 80 % the figure is not the server's, and the goal is not judged.
  The echo answers at the same rate beside it: what it waits for as well, mostly other programs on
  the two cores, is the machine's.
- Thousands of connections: their handshakes are a part of the figure, and so of its p99.
- crypto core: the best of 7 rounds, on one thread that does nothing else.

The commands, after `cargo build --release` and `cargo build --release -p selkie-bench`:

{commands}
"""


STORES = """
## Stores

{circumstances}

{table}
How to read it:

- Nothing here has a goal, but for the last row: at most one request lost, which a seal client asks
  again by itself. The client here decrypts through a round robin of three replicas, one connection
  per request, and one replica is killed (SIGKILL). The balancer asks for health every 200 ms.
- Each write is a commit of its own, acknowledged after it is on the disk: sled's after three syncs
  (journal, database, witness). Sealed commits stand in one line, because each replaces the root.
- A record is that of a managed key, of some 300 bytes. etcd is Debian's, one member, on the same
  disk. Sizes are filled 100 records to a commit, and opened by a process of their own: "opened" is
  the raw store (etcd: its first page), "verified" is every record read, opened and added up,
  "loaded" is every record read as a key again and held; "resident" has the keys in it.
- A backup holds at most 192 MiB of state.

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


def plain_table(rows):
    """Figures that stand for themselves."""
    lines = [("figure", "Selkie", "command"), ("---", "---", "---")]
    lines += [(row.figure, row.selkie, row.command) for row in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def at_least(value, goal):
    return f">= {goal:g}: {'reached' if value >= goal else 'missed'}"


def at_most(value, goal, unit):
    return f"<= {goal} {unit}: {'reached' if value <= goal else 'missed'}"


def cpu_row(what, figures, goal, command):
    """The CPU time that one request takes of the server, against the echo's."""
    ours, echo, *peers = figures.values()
    ratio = echo.cpu / ours.cpu
    return Row(
        f"{what}: CPU per request",
        cpu_text(ours),
        cpu_text(echo),
        tuple(map(cpu_text, peers)),
        comparison=f"{ratio:.2f}x of the echo",
        goal=at_least(ratio, goal) if goal else "",
        command=command,
    )


def throughput_rows(what, figures, openbao, goal, command):
    """Requests per second and latency, against OpenBao's."""
    ours, echo, *peers = figures.values()
    per_second, latency = openbao
    ratio = ours.per_second / per_second
    return [
        Row(
            f"{what}: requests per second",
            f"{ours.per_second:,.0f}",
            f"{echo.per_second:,.0f}",
            tuple(f"{each.per_second:,.0f}" for each in peers),
            f"{per_second:,}",
            f"{ratio:.1f}x of OpenBao",
            at_least(ratio, goal) if goal else "",
            command,
        ),
        Row(
            f"{what}: p50 / p99",
            latency_text(ours),
            latency_text(echo),
            tuple(map(latency_text, peers)),
            latency,
            command=command,
        ),
    ]


def audit_rows(operation, figures, openbao, goal):
    """With a file audit device, against OpenBao's with one; what a synced line adds at p99."""
    plain, flushed, synced = figures.values()
    ratio = flushed.per_second / openbao
    per_second = f"{operation}, TLS, file audit: requests per second"
    added = lambda recorded: f"{(recorded.p99 - plain.p99) / 1e3:+.2f} ms"
    return [
        Row(
            per_second,
            f"{flushed.per_second:,.0f}",
            openbao=f"{openbao:,}",
            comparison=f"{ratio:.1f}x of OpenBao",
            goal=at_least(ratio, goal),
            command="A",
        ),
        Row(f"{operation}, TLS, file audit: CPU per request", cpu_text(flushed), command="A"),
        Row(f"{operation}, TLS, file audit: p50 / p99", latency_text(flushed), command="A"),
        Row(f"{operation}, TLS, file audit: p99 added", added(flushed), command="A"),
        Row(
            f"{operation}, TLS, file audit with fsync: requests per second; p50 / p99; p99 added",
            f"{synced.per_second:,.0f}; {latency_text(synced)}; {added(synced)}",
            command="A",
        ),
    ]


def latency_text(figures):
    return f"{figures.p50 / 1e3:.2f} / {figures.p99 / 1e3:.2f} ms"


def cpu_text(figures):
    low, high = figures.cpu_range
    return f"{figures.cpu:.1f} us ({low:.1f} - {high:.1f})"


def limit_row(figure, value, goal, unit, command, openbao=""):
    """A figure that must stay under its goal."""
    text = f"{value:.1f} {unit}"
    return Row(figure, text, openbao=openbao, goal=at_most(value, goal, unit), command=command)
