"""Seal clients whose renewals are refused, as they behave at worst: Vault 1.14 to 1.16 and OpenBao
compute how long to wait after a 400 or 403, and do not wait (transit-api.md, 1.8). After a 5xx their
HTTP library does: three tries, then the loop begins anew."""

import json
import random
import threading
import time

import load
import report
import servers

CLIENTS = 100
SECONDS = 30
# go-retryablehttp's LinearJitterBackoff as Vault's api package sets it up: between so many seconds,
# times the number of the try; two retries.
WAIT = (1.0, 1.5)
TRIES = 3
RENEW = "/v1/auth/token/renew-self"


class Client:
    """One Vault with a keep-alive connection, from when its token is gone."""

    def __init__(self, server, scheme, token):
        self.server, self.scheme, self.token = server, scheme, token
        self.connection, self.statuses = None, []

    def renew(self):
        """The status of one renewal; a connection that was closed meanwhile is made anew."""
        for _ in range(2):
            try:
                if self.connection is None:
                    self.connection = servers.connect(self.scheme, self.server.ports[self.scheme])
                headers = {"X-Vault-Token": self.token}
                self.connection.request("PUT", RENEW, '{"increment":0}', headers)
                answer = self.connection.getresponse()
                answer.read()
                if answer.will_close:
                    self.connection = None
                return answer.status
            except OSError:
                self.connection = None
        return 0

    def loop(self, end):
        while time.monotonic() < end:
            for attempt in range(1, TRIES + 1):
                status = self.renew()
                self.statuses.append(status)
                if status < 500 and status not in (0, 412, 429) or attempt == TRIES:
                    break
                wait = random.uniform(*WAIT) * attempt
                time.sleep(max(0.0, min(wait, end - time.monotonic())))


def rows():
    with servers.selkie_dev() as (server, scheme):
        clients = [Client(server, scheme, token) for token in tokens(server)]
        for client in clients:
            if (status := client.renew()) != 200:
                raise SystemExit(f"{server.name}: {status} at the first renewal")
        for client in clients:
            revoke(server, client.token)
        cpu, began = load.cpu_seconds(server.pid), time.monotonic()
        threads = [
            threading.Thread(target=client.loop, args=(began + SECONDS,)) for client in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took, cpu = time.monotonic() - began, load.cpu_seconds(server.pid) - cpu
    statuses = [status for client in clients for status in client.statuses]
    if not {403, 503} <= set(statuses):
        raise SystemExit(f"{server.name}: no storm, but {set(statuses)}")
    what = f"{CLIENTS} clients whose tokens are gone renew in a hot loop: CPU of one core"
    told = f"{len(statuses) / took:.0f} tries a second, {statuses.count(503) / took:.0f} of them told to wait"
    return [
        report.limit_row(what, 100 * cpu / took, 5, "%", "O"),
        report.Row("the same: what they do", told, command="O"),
    ]


def tokens(server):
    made = []
    for _ in range(CLIENTS):
        answer = server.ask("POST", "/v1/auth/token/create", json.dumps({"period": "1h"}))
        made.append(json.loads(answer)["auth"]["client_token"])
    return made


def revoke(server, token):
    server.ask("POST", "/v1/auth/token/revoke", json.dumps({"token": token}))


if __name__ == "__main__":
    for row in rows():
        print(f"{row.figure}\t{row.selkie}\t{row.goal}")
