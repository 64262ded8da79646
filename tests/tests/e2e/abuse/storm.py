"""Clients that all connect at once, again at once when they are refused, and keep their connection
when they are answered, until all are. Prints how many were, and how many connections it took.

    storm.py {http|https} ADDRESS PORT CLIENTS SECONDS REQUEST"""

import asyncio
import json
import resource
import ssl
import sys


class Storm:
    def __init__(self, scheme, address, port, request):
        self.at, self.request, self.tls = (address, int(port)), request, None
        if scheme == "https":
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        self.answered = self.connections = 0
        self.all_answered = asyncio.Event()

    async def raged(self, clients, seconds):
        tasks = [asyncio.create_task(self.client(clients)) for _ in range(clients)]
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        return {"answered": self.answered, "connections": self.connections}

    async def client(self, clients):
        while not (writer := await self.attempt()):
            pass
        self.answered += 1
        if self.answered == clients:
            self.all_answered.set()
        await self.all_answered.wait()
        writer.transport.abort()

    async def attempt(self):
        """The connection, if it brought an answer."""
        self.connections += 1
        try:
            reader, writer = await asyncio.open_connection(*self.at, ssl=self.tls)
        except OSError:
            return None
        try:
            writer.write(self.request)
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 200 "):
                return writer
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.transport.abort()
        return None


def main(scheme, address, port, clients, seconds, request):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    async def rage():
        storm = Storm(scheme, address, port, request.encode())
        return await storm.raged(int(clients), float(seconds))

    print(json.dumps(asyncio.run(rage())))


main(*sys.argv[1:])
