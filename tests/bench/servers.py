"""The servers that are measured: Selkie, the echo, and a Vault or OpenBao if there is one."""

import base64
import hashlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from load import SERVER_CORE

ROOT = Path(__file__).resolve().parents[2]
SELKIE = ROOT / "target/release/selkie"
# What users get, if `make release` has left it: smaller than the build that is measured otherwise.
RELEASED = ROOT / "target/dist/selkie"
BENCH = ROOT / "target/release/selkie-bench"
KEY = "/v1/transit/{}/autounseal"
PINNED = ["taskset", "-c", str(SERVER_CORE)]
PATIENCE = 30

CONFIG = """
realm = "bench"
listener "tcp" {{
  address         = "127.0.0.1:{https}"
  tls_cert_file   = "{dir}/cert.pem"
  tls_key_file    = "{dir}/key.pem"
  tls_min_version = "tls13"
  max_connections = 12000
}}
seal "static" {{
  current_key_id = "k1"
  current_key    = "file://{dir}/kek"
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

# Added to CONFIG but for a crowd: the listeners share the descriptors.
PLAIN = """
listener "tcp" {{
  address         = "127.0.0.1:{http}"
  tls_disable     = true
  max_connections = 1000
}}
"""

PEER_CONFIG = """
disable_mlock = true
listener "tcp" {{
  address         = "127.0.0.1:{https}"
  tls_cert_file   = "{dir}/cert.pem"
  tls_key_file    = "{dir}/key.pem"
  tls_min_version = "tls13"
}}
"""


# Added to CONFIG for a server that records each request.
AUDIT = """
audit_key = "file://{dir}/kek"
audit "file" {{
  file_path = "{log}"
  fsync     = {fsync}
}}
"""


class Server:
    """A running server, by name, and how to reach it."""

    def __init__(self, name, command, token, **ports):
        self.name, self.token, self.ports = name, token, ports
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.pid = self.process.pid

    def url(self, scheme, operation):
        return f"{scheme}://127.0.0.1:{self.ports[scheme]}{KEY.format(operation)}"

    def ask(self, method, path, body=None):
        """The body of the answer, which must be a success."""
        scheme = "http" if "http" in self.ports else "https"
        connection = connect(scheme, self.ports[scheme])
        connection.request(method, path, body, {"X-Vault-Token": self.token})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{self.name}: {answer.status} at {path}: {content!r}")
        return content

    def resident_megabytes(self):
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def connect(scheme, port):
    """A connection to a server of ours, whose certificate is taken as it is."""
    if scheme == "http":
        return http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)


def first_answer(scheme, port, path="/v1/sys/health?sealedcode=200"):
    """Waits until the server answers 200; asks again at once as long as nothing listens."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        connection = connect(scheme, port)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except (ConnectionError, ssl.SSLError, http.client.HTTPException):
            time.sleep(0.0002)
        finally:
            connection.close()
    raise SystemExit(f"no server at port {port}")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def selkie(directory, audit=None, more="", plain=True):
    """A configured server: static seal, one declared key, one declared client, no database.
    `audit` is None, "flush" or "fsync": what each audit line waits for; `more` is configuration;
    without `plain` there is the listener for TLS alone."""
    token = "hvs." + os.urandom(24).hex()
    schemes = ["https", "http"] if plain else ["https"]
    ports = {scheme: free_port() for scheme in schemes}
    kek = directory / "kek"
    kek.write_bytes(os.urandom(32))
    kek.chmod(0o600)
    sha256 = hashlib.sha256(token.encode()).hexdigest()
    config = directory / "selkie.hcl"
    text = CONFIG + (PLAIN if plain else "")
    text = text.format(dir=directory, token_sha256=sha256, **ports) + more
    if audit:
        log = directory / f"audit-{audit}.log"
        text += AUDIT.format(dir=directory, log=log, fsync=str(audit == "fsync").lower())
    config.write_text(text)
    command = [*PINNED, SELKIE, "server", "--config", config]
    server = Server(f"Selkie ({audit})" if audit else "Selkie", command, token, **ports)
    first_answer(schemes[-1], ports[schemes[-1]])
    return server


@contextmanager
def selkie_dev(tls=False, more=()):
    """A dev server, not pinned but by `more`; gives the server and its scheme."""
    scheme = "https" if tls else "http"
    port = free_port()
    command = [*more, SELKIE, "server", "--dev", "--dev-root-token-id=root"]
    command += [f"--dev-listen-address=127.0.0.1:{port}", *(["--dev-tls"] if tls else [])]
    with Server("Selkie", command, "root", **{scheme: port}) as server:
        first_answer(scheme, port)
        yield server, scheme


def echo(directory, scheme, reply_bytes):
    """An echo whose every reply has as many bytes as Selkie's."""
    port = free_port()
    command = [*PINNED, BENCH, "echo", f"--address=127.0.0.1:{port}"]
    command += [f"--reply-bytes={reply_bytes}"]
    command += [f"--tls={directory}"] if scheme == "https" else []
    server = Server("echo", command, "hvs." + "0" * 48, **{scheme: port})
    first_answer(scheme, port)
    return server


def peer(name, program, directory):
    """A Vault or OpenBao with storage in memory and its own transit engine."""
    ports = {"http": free_port(), "https": free_port()}
    config = directory / f"{name}.hcl"
    config.write_text(PEER_CONFIG.format(dir=directory, **ports))
    command = [*PINNED, program, "server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token"]
    command += [f"-dev-listen-address=127.0.0.1:{ports['http']}", f"-config={config}"]
    server = Server(name, command, "root", **ports)
    first_answer("http", ports["http"])
    server.ask("POST", "/v1/sys/mounts/transit", json.dumps({"type": "transit"}))
    server.ask("POST", KEY.format("keys"), "{}")
    return server


def bodies(server, plaintext_bytes):
    """The bodies of an encrypt request and reply, then of the decrypt request and reply."""
    plaintext = base64.b64encode(os.urandom(plaintext_bytes)).decode()
    encrypt = json.dumps({"plaintext": plaintext}).encode()
    encrypted = server.ask("POST", KEY.format("encrypt"), encrypt)
    ciphertext = json.loads(encrypted)["data"]["ciphertext"]
    decrypt = json.dumps({"ciphertext": ciphertext}).encode()
    decrypted = server.ask("POST", KEY.format("decrypt"), decrypt)
    assert json.loads(decrypted)["data"]["plaintext"] == plaintext
    return {"encrypt": (encrypt, encrypted), "decrypt": (decrypt, decrypted)}
