"""How the cost of a request changes: with its plaintext, with the items of a batch, with the
connections it comes over, with how many keys there are, and its latency at half of what one core
can bear."""

import base64
import json
import os
import subprocess
import sys

import load
import report
import servers

PAYLOADS = [1, 48, 1024, 16 * 1024, 64 * 1024, 256 * 1024, 1024 * 1024]
BATCHES = [1, 10, 100, 1000, 10_000]
CONNECTIONS = [1, 32, 1000, 8000]
# Making more takes too long: each costs in proportion to those there are.
KEYS = [10, 1000, 10_000]
ROUNDS, SECONDS = 3, 2
P99_GOAL_MS = 1


def rows(directory, server):
    """`server` is a Selkie on the core of servers."""
    cases = [
        ("plaintext", f"{size:,} B", plaintext(size), 32) for size in PAYLOADS
    ] + [
        ("batch", f"{items:,} items of 48 B", batch(items), 32 if items < 1000 else 4)
        for items in BATCHES
    ] + [
        ("connections", f"{count:,} connections", plaintext(48), count) for count in CONNECTIONS
    ]
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
    seconds = SECONDS if connections <= 1000 else 10
    figures = load.side_by_side([target], ROUNDS, seconds, connections=connections)[server.name]
    text = f"{figures.per_second:,.0f}; {report.cpu_text(figures)}; {report.latency_text(figures)}"
    if kind == "batch":
        items = len(json.loads(body)["batch_input"])
        text += f"; {figures.cpu / items:.2f} us an item"
    return report.Row(f"{operation}, TLS, {what}: requests per second; CPU; p50 / p99", text, command="A")


def key_rows(directory):
    """One server in memory whose keys grow in number; each request names another of them."""
    found, made = [], 0
    with servers.selkie_dev(more=servers.PINNED) as (server, scheme):
        for count in KEYS:
            create(server, made, count)
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
    return found


def create(server, made, count):
    connection = servers.connect("http", server.ports["http"])
    headers = {"X-Vault-Token": server.token}
    for number in range(made, count):
        connection.request("POST", f"/v1/transit/keys/k{number}", "{}", headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status >= 300:
            raise SystemExit(f"key {number}: {answer.status}")


def paced_rows(directory, server, halves):
    """`halves` gives for each operation half of the requests per second that it came to."""
    found = []
    for operation, rate in halves.items():
        body = directory / f"paced-{operation}.json"
        body.write_bytes(servers.bodies(server, 48)[operation][0])
        command = ["taskset", "-c", str(load.LOAD_CORE), servers.BENCH, "paced"]
        command += [f"--server=127.0.0.1:{server.ports['https']}", f"--rate={rate:.0f}"]
        command += [f"--certificate={directory}/cert.pem", f"--token={server.token}"]
        command += [f"--path=transit/{operation}/autounseal", f"--body={body}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        p50, p99, p999, reached = (int(figure) for figure in done.stdout.split())
        text = f"{p50 / 1e3:.2f} / {p99 / 1e3:.2f} / {p999 / 1e3:.2f} ms ({reached:,} per second)"
        what = f"{operation}, TLS, at half load: p50 / p99 / p99.9"
        goal = f"p99 {report.at_most(p99 / 1e3, P99_GOAL_MS, 'ms')}"
        found.append(report.Row(what, text, goal=goal, command="Q"))
    return found
