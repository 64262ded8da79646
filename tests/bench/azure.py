"""Selkie over Key Vault, which `selkie-emulator` plays: what its own part costs, what it does when
Key Vault is away, and how fast very many Vaults come back."""

import hashlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import load
import report
import servers
from servers import BENCH, ROOT, SELKIE, Server, first_answer, free_port

EMULATOR = ROOT / "target/release/selkie-emulator"
PAIRS = 1000
VAULTS = 10_000
LIMIT, WINDOW_SECONDS = 2000, 10
STARTS = 10

CONFIG = """
realm = "bench"
data_dir = "{dir}/data-{port}"
listener "tcp" {{
  address     = "127.0.0.1:{port}"
  tls_disable = true
}}
seal "azurekeyvault" {{
  vault_name    = "kv1"
  key_name      = "{key}"
  endpoint      = "https://localhost:{https}"
  ca_file       = "{ca}"
  imds_endpoint = "http://127.0.0.1:{http}"
  {pin}
}}
key "autounseal" {{}}
policy "seal" {{
  path "transit/encrypt/autounseal" {{ capabilities = ["update"] }}
  path "transit/decrypt/autounseal" {{ capabilities = ["update"] }}
}}
client "vault" {{
  token_sha256 = "{token_sha256}"
  policies     = ["seal"]
}}
"""


class Emulator:
    """A running emulator."""

    def __init__(self, directory):
        self.https, self.http = free_port(), free_port()
        command = [EMULATOR, "--quiet", f"--ca-dir={directory}"]
        command += [f"--listen=127.0.0.1:{self.https}", f"--identity-listen=127.0.0.1:{self.http}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        if not ready.startswith("READY "):
            raise SystemExit(f"the emulator said {ready!r}")
        self.ca = ready.rstrip("\n").partition(" ca=")[2]

    def control(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=30)
        content = None if body is None else json.dumps(body)
        connection.request(method, f"/control/{path}", content)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"emulator, {path}: {answer.status} {text!r}")
        return json.loads(text) if text else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


@contextmanager
def selkie(directory, emulator, key, pin="", pinned=True, token=None):
    """A server whose master key is `key` in the emulator's vault."""
    token, port = token or new_token(), free_port()
    config = directory / f"azure-{port}.hcl"
    config.write_text(
        CONFIG.format(
            dir=directory, port=port, key=key, https=emulator.https, http=emulator.http, pin=pin,
            ca=emulator.ca, token_sha256=hashlib.sha256(token.encode()).hexdigest(),
        )
    )
    (directory / f"data-{port}").mkdir(mode=0o700, exist_ok=True)
    command = [*(servers.PINNED if pinned else []), SELKIE, "server", "--config", config]
    with Server("Selkie", command, token, http=port) as server:
        first_answer("http", port)
        yield server


def new_token():
    return "hvs." + os.urandom(24).hex()


def usable(server):
    """Waits until the master key is confirmed: from then on encrypts are answered."""
    end = time.monotonic() + servers.PATIENCE
    while time.monotonic() < end:
        connection = servers.connect("http", server.ports["http"])
        connection.request(
            "POST", servers.KEY.format("encrypt"), '{"plaintext":"c2Vsa2ll"}',
            {"X-Vault-Token": server.token},
        )
        if connection.getresponse().status == 200:
            return
        time.sleep(0.05)
    raise SystemExit("the emulator's key was not confirmed")


def rows(arguments, directory):
    """All figures of this file."""
    with Emulator(directory) as emulator:
        yield from decrypt_rows(directory, emulator)
        yield from encrypt_rows(arguments, directory, emulator)
        yield from start_rows(directory, emulator)
        for replicas in (1, 3):
            yield drain_row(directory, emulator, replicas)


def decrypt_rows(directory, emulator):
    """Beside each other: the provider asked directly, and through the server."""
    emulator.control("PATCH", "vaults/kv1", {"throttle": {"enabled": False}})
    with selkie(directory, emulator, "selkie", pinned=False) as server:
        usable(server)
        for delay in (0, 20):
            say(f"decrypt, Key Vault takes {delay} ms more")
            emulator.control("DELETE", "faults")
            rule = {"match": {"operation": "unwrap"}, "how": {"latency_ms": delay}}
            emulator.control("POST", "faults", rule)
            command = [BENCH, "unwrap", f"--server=127.0.0.1:{server.ports['http']}"]
            command += [f"--token={server.token}", f"--endpoint=https://localhost:{emulator.https}"]
            command += [f"--ca-file={emulator.ca}", f"--imds-endpoint=http://127.0.0.1:{emulator.http}"]
            command += [f"--pairs={PAIRS}"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            figures = json.loads(done.stdout)
            for part, goal in (("p50", 0.15), ("p99", 1.0)):
                direct, through = figures["direct"][part], figures["through"][part]
                yield report.Row(
                    f"decrypt, Key Vault + {delay} ms: {part}",
                    f"{through / 1e3:.2f} ms",
                    comparison=f"{direct / 1e3:.2f} ms directly",
                    goal="+ " + report.at_most(round((through - direct) / 1e3, 3), goal, "ms"),
                    command="F",
                )
        emulator.control("DELETE", "faults")


def encrypt_rows(arguments, directory, emulator):
    """A local wrap under each size of key."""
    for bits in (2048, 3072, 4096):
        key = f"rsa-{bits}"
        emulator.control("POST", "vaults/kv1/keys", {"name": key, "kty": "RSA", "key_size": bits})
        say(f"encrypt under RSA-{bits}")
        with selkie(directory, emulator, key) as server:
            usable(server)
            body = directory / "azure-encrypt.json"
            body.write_text(json.dumps({"plaintext": "A" * 64}))
            url = server.url("http", "encrypt")
            target = load.Target(server.name, server.pid, url, body, server.token)
            figures = load.side_by_side([target], arguments.rounds, arguments.seconds)["Selkie"]
            yield report.Row(
                f"encrypt under RSA-{bits}, plain: requests per second; CPU; p50 / p99",
                f"{figures.per_second:,.0f}; {report.cpu_text(figures)}; "
                f"{report.latency_text(figures)}",
                command="A",
            )


def start_rows(directory, emulator):
    """With a declared fingerprint, and nobody at Key Vault's address."""
    say("start with Key Vault away")
    pin = f'public_key_sha256 = "{fingerprint(emulator, "selkie")}"'
    emulator.control("POST", "listen", {"https": "closed"})
    times = []
    for _ in range(STARTS):
        began = time.perf_counter()
        with selkie(directory, emulator, "selkie", pin, pinned=False):
            times.append((time.perf_counter() - began) * 1e3)
    emulator.control("POST", "listen", {"https": "open"})
    what = "start to first answer, Key Vault away, plain"
    yield report.limit_row(what, statistics.median(times), 100, "ms", "G")


def fingerprint(emulator, key):
    """As `selkie doctor` prints it; here any 32 bytes do, because nothing is encrypted."""
    return hashlib.sha256(f"{emulator.ca}{key}".encode()).hexdigest()


def drain_row(directory, emulator, replicas):
    """Against a vault's real limit. The ideal is the begin of the window in which the last unwrap
    fits, from the moment that the Vaults start."""
    say(f"{VAULTS:,} Vaults, {replicas} replicas")
    token = new_token()
    throttle = {"enabled": True, "limit": LIMIT, "window_ms": WINDOW_SECONDS * 1000}
    with ExitStack() as stack:
        group = [
            stack.enter_context(selkie(directory, emulator, "selkie", pinned=False, token=token))
            for _ in range(replicas)
        ]
        for one in group:
            usable(one)
        phase = int.from_bytes(os.urandom(2)) % (WINDOW_SECONDS * 1000)
        emulator.control("PATCH", "vaults/kv1", {"throttle": {**throttle, "phase_ms": phase}})
        command = [BENCH, "drain", f"--token={token}", f"--vaults={VAULTS}"]
        command += [f"--server=127.0.0.1:{one.ports['http']}" for one in group]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)
    begin = (figures["began_at_ms"] - phase) % (WINDOW_SECONDS * 1000) / 1e3
    ideal = (VAULTS / LIMIT - 1) * WINDOW_SECONDS - begin
    ratio = figures["last_seconds"] / ideal
    return report.Row(
        f"{VAULTS:,} Vaults unseal at once, {replicas} replica{'s' if replicas > 1 else ''}, "
        f"{LIMIT:,} unwraps per {WINDOW_SECONDS} s: last one",
        f"{figures['last_seconds']:.1f} s ({figures['refused_tries']:,} tries refused)",
        comparison=f"{ratio:.2f}x of the limit's own {ideal:.1f} s",
        goal=report.at_most(round(ratio, 2), 1.2, "x"),
        command="H",
    )


def say(what):
    print(f"=== {what}", file=sys.stderr, flush=True)
