#!/usr/bin/env python3
"""Receives Selkie's alerts, checks their signature, and prints them: a start for one of your own.

Put TLS before it (nginx, Caddy) unless it is on the same machine.
"""

import argparse
import hashlib
import hmac
import http.server
import json
import sys
from datetime import datetime, timedelta, timezone

MOST_BYTES = 1 << 20
OLDEST = timedelta(minutes=10)


class Receiver(http.server.BaseHTTPRequestHandler):
    key: bytes
    known: dict = {}  # ids of posts, in the order they came

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        if length > MOST_BYTES:
            return self.answer(413)
        body = self.rfile.read(length)
        expected = "sha256=" + hmac.new(self.key, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, self.headers.get("X-Selkie-Signature", "")):
            return self.answer(403)
        post = json.loads(body)
        sent = datetime.fromisoformat(post["sent"].replace("Z", "+00:00"))
        if abs(datetime.now(timezone.utc) - sent) > OLDEST:
            return self.answer(403)
        if post["id"] not in self.known:
            self.known[post["id"]] = True
            if len(self.known) > 10_000:
                del self.known[next(iter(self.known))]
            for alert in post["alerts"]:
                print(self.line(post, alert), flush=True)
        self.answer(204)

    @staticmethod
    def line(post, alert):
        names = ("client", "key", "address", "network", "decrypts", "request_id", "repeated")
        told = " ".join(f"{name}={alert[name]}" for name in names if alert.get(name))
        return f"{alert['time']} {alert['severity']} {post['host']} {alert['kind']} {told}"

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=9093)
    options.add_argument("--key", required=True, help="file of hmac_key, 32 raw bytes")
    given = options.parse_args()
    with open(given.key, "rb") as file:
        Receiver.key = file.read()
    if len(Receiver.key) != 32:
        sys.exit("the key must be 32 raw bytes")
    http.server.ThreadingHTTPServer(("127.0.0.1", given.port), Receiver).serve_forever()


if __name__ == "__main__":
    main()
