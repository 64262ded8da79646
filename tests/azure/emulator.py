"""Where the emulator is, and how a client that insists on Azure's names and ports reaches it."""

import json
import urllib.request

import urllib3.util.connection as connection


class Emulator:
    """A running `selkie-emulator`, asked for its addresses over its control API."""

    def __init__(self, url):
        self.url = url
        about = self.ask("GET", "")
        self.host, port = about["https"].rsplit(":", 1)
        self.port = int(port)
        self.ca_file = about["ca"]
        self.tenant = about["tenant"]

    def send_all_names_here(self):
        """Only the way from a name to a socket is ours: the clients verify TLS and the challenge's
        resource as they would in Azure."""
        connect = connection.create_connection

        def reach(address, *rest, **options):
            ours = (self.host, self.port)
            return connect(ours if address[1] == 443 else address, *rest, **options)

        connection.create_connection = reach

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/control/{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        return json.loads(text) if text else None
