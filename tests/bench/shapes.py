"""How the cost of a request changes: with its plaintext, with the items of a batch, with the
connections it comes over, with how many keys there are, and its latency at half of what one core
can bear."""

import base64
import json
import os
import socket
import subprocess
import sys
import time

import load
import report
import servers

PAYLOADS = [1, 48, 1024, 16 * 1024, 64 * 1024, 256 * 1024, 1024 * 1024]
BATCHES = [1, 10, 100, 1000, 10_000]
CONNECTIONS = [1, 32, 1000, 10_000]
KEYS = [10, 1000, 10_000, 100_000, 1_000_000]
# So many keys are asked for in one go, so that the server need not wait for this program: one read
# takes them all, and a request that comes in pieces is the last of its connection.
KEYS_AT_ONCE = 32
ROUNDS, SECONDS = 3, 2
P99_GOAL_MS = 1
# A generator of load that works for more of its time than this measures itself.
BUSY_PERCENT = 80


def rows(directory, server):
    """`server` is a Selkie on the core of servers."""
    cases = [
        ("plaintext", f"{size:,} B", plaintext(size), 32) for size in PAYLOADS
    ] + [
        ("batch", f"{items:,} items of 48 B", batch(items), 32 if items < 1000 else 4)
        for items in BATCHES
    ]
    found = several(directory, server, cases)
    crowds = [
        ("connections", f"{count:,} connections", plaintext(48), count) for count in CONNECTIONS
    ]
    with servers.selkie(directory, plain=False) as alone:
        return found + several(directory, alone, crowds)


def several(directory, server, cases):
    found = []
    for kind, what, encrypt, connections in cases:
        for operation, body in both(server, encrypt):
            print(f"=== {operation}, {what}", file=sys.stderr, flush=True)
            found.append(one(directory, server, kind, what, operation, body, connections))
    return found


def plaintext(size):
    return {"plaintext": base64.b64encode(os.urandom(size)).decode()}


def batch(items):
    return {"batch_input": [plaintext(48) for _ in range(items)]}


def both(server, encrypt):
    """The two operations with their bodies; what is decrypted is what was encrypted."""
    body = json.dumps(encrypt).encode()
    data = json.loads(server.ask("POST", servers.KEY.format("encrypt"), body))["data"]
    if "batch_input" in encrypt:
        items = [{"ciphertext": item["ciphertext"]} for item in data["batch_results"]]
        decrypt = {"batch_input": items}
    else:
        decrypt = {"ciphertext": data["ciphertext"]}
    return [("encrypt", body), ("decrypt", json.dumps(decrypt).encode())]


def one(directory, server, kind, what, operation, body, connections):
    path = directory / "shape.json"
    path.write_bytes(body)
    url = server.url("https", operation)
    target = load.Target(server.name, server.pid, url, path, server.token)
    # Thousands of handshakes come first.
    is_crowd = connections > 1000
    seconds = 15 if is_crowd else SECONDS
    figures = load.side_by_side(
        [target], ROUNDS, seconds, connections=connections, may_fail=is_crowd
    )[server.name]
    text = f"{figures.per_second:,.0f}; {report.cpu_text(figures)}; {report.latency_text(figures)}"
    if is_crowd:
        text += f"; {figures.failed:,} failed"
    if kind == "batch":
        items = len(json.loads(body)["batch_input"])
        text += f"; {figures.cpu / items:.2f} us an item"
    return report.Row(f"{operation}, TLS, {what}: requests per second; CPU; p50 / p99", text, command="A")


def key_rows(directory):
    """One server in memory whose keys grow in number; each request names another of them."""
    found, made = [], 0
    with servers.selkie_dev(more=servers.PINNED) as (server, scheme):
        for count in KEYS:
            print(f"=== {count:,} keys", file=sys.stderr, flush=True)
            found.append(made_row(server, made, count))
            made = count
            body = directory / "keys.json"
            body.write_text(json.dumps(plaintext(48)))
            url = f"{scheme}://127.0.0.1:{server.ports[scheme]}/v1/transit/encrypt/k"
            target = load.Target(server.name, server.pid, url, body, server.token, keys=count)
            figures = load.side_by_side([target], ROUNDS, SECONDS)[server.name]
            text = f"{figures.per_second:,.0f}; {report.cpu_text(figures)}; {report.latency_text(figures)}"
            what = f"encrypt, plain, {count:,} keys in turn: requests per second; CPU; p50 / p99"
            found.append(report.Row(what, text, command="P"))
            resident = f"{server.resident_megabytes():,.0f} MB"
            found.append(report.Row(f"resident with {count:,} keys in memory", resident, command="P"))
        began = time.perf_counter()
        server.ask("LIST", "/v1/transit/keys")
        text = f"{(time.perf_counter() - began) * 1e3:,.0f} ms"
        found.append(report.Row(f"{count:,} keys listed", text, command="P"))
    return found


def made_row(server, made, count):
    """Makes the keys from number `made` to `count`; what each took."""
    cpu, began = load.cpu_seconds(server.pid), time.perf_counter()
    create(server, made, count)
    took, cpu = time.perf_counter() - began, load.cpu_seconds(server.pid) - cpu
    each = cpu * 1e6 / (count - made)
    text = f"{(count - made) / took:,.0f} per second; {each:.0f} us of CPU each"
    return report.Row(f"keys made, from {made:,} to {count:,} in memory", text, command="P")


def create(server, made, count):
    """Over two connections by turns: one is answered while the other is asked."""
    address = ("127.0.0.1", server.ports["http"])
    with socket.create_connection(address) as one, socket.create_connection(address) as other:
        turns, waiting = [(link, link.makefile("rb")) for link in (one, other)], []
        for first in range(made, count, KEYS_AT_ONCE):
            link, replies = turns[0]
            numbers = range(first, min(first + KEYS_AT_ONCE, count))
            link.sendall(b"".join(key_request(server, number) for number in numbers))
            waiting.append((replies, len(numbers)))
            turns.reverse()
            if len(waiting) == len(turns):
                read_replies(*waiting.pop(0))
        for replies, number in waiting:
            read_replies(replies, number)


def key_request(server, number):
    return (
        f"POST /v1/transit/keys/k{number} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"X-Vault-Token: {server.token}\r\nContent-Length: 2\r\n\r\n{{}}"
    ).encode()


def read_replies(replies, number):
    for _ in range(number):
        status = replies.readline().split()[1:2]
        if status != [b"200"]:
            raise SystemExit(f"a key was not made: {status}")
        while (line := replies.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        replies.read(length)


def paced_rows(directory, server, halves):
    """`halves` gives for each operation half of the requests per second that it came to. The echo at
    the same rate says how much of a latency is the machine's: both wait for the same core."""
    found = []
    for operation, rate in halves.items():
        asked, reply = servers.bodies(server, 48)[operation]
        body = directory / f"paced-{operation}.json"
        body.write_bytes(asked)
        with servers.echo(directory, "https", len(reply)) as echo:
            measured = [paced(directory, one, operation, body, rate) for one in (server, echo)]
        found.append(paced_row(operation, rate, *measured))
    return found


def paced(directory, server, operation, body, rate):
    """The figures of `selkie-bench paced`, in its order."""
    command = ["taskset", "-c", str(load.LOAD_CORE), servers.BENCH, "paced"]
    command += [f"--server=127.0.0.1:{server.ports['https']}", f"--rate={rate:.0f}"]
    command += [f"--certificate={directory}/cert.pem", f"--token={server.token}"]
    command += [f"--path=transit/{operation}/autounseal", f"--body={body}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(figure) for figure in done.stdout.split()]


def paced_row(operation, rate, selkie, echo):
    _, p99, _, reached, busy, late, latest = selkie
    text = (
        f"{in_ms(selkie)} ({reached:,} of {rate:,.0f} per second;"
        f" the load's core {busy} % busy, its sends late by {late / 1e3:.2f} ms at p99, {latest / 1e3:.2f} at most)"
    )
    goal = f"p99 {report.at_most(p99 / 1e3, P99_GOAL_MS, 'ms')}"
    if busy > BUSY_PERCENT:
        goal = "the load's core was too busy to tell"
    what = f"{operation}, TLS, at half load: p50 / p99 / p99.9"
    return report.Row(what, text, in_ms(echo), goal=goal, command="Q")


def in_ms(paced):
    return f"{' / '.join(f'{micros / 1e3:.2f}' for micros in paced[:3])} ms"

