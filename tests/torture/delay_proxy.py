#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that delays what passes, both ways: delay_proxy.py PORT ADDRESS:PORT

Says "ready" when it listens on the loopback's PORT. Each line on standard input is a command:
"delay MS" from now on, "reset" ends all connections. Ends with its standard input.
"""
import asyncio
import socket
import sys

PIECE_BYTES = 65536
WAITING_MAX = 256  # pieces of one direction that are held back
TCP_RTO_MAX_MS = 44  # not in the socket module yet


def be_quick(writer):
    """As the engine's own sockets: cuts are noticed, and what was lost is sent again soon."""
    wire = writer.get_extra_info("socket")
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10000)
    try:
        wire.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, 1000)
    except OSError:
        pass  # a kernel before 6.15


class Proxy:
    """All connections, on one event loop."""

    def __init__(self, target):
        self.host, port = target.rsplit(":", 1)
        self.port = int(port)
        self.delay = 0.0
        self.writers = set()

    async def read_pieces(self, reader, pieces):
        loop = asyncio.get_running_loop()
        try:
            while True:
                piece = await reader.read(PIECE_BYTES)
                await pieces.put((loop.time() + self.delay, piece))
                if not piece:
                    return
        except OSError:
            await pieces.put((loop.time(), b""))

    async def write_pieces(self, writer, pieces):
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, piece = await pieces.get()
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                if not piece:
                    break
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def serve(self, reader, writer):
        try:
            there = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.close()
            return
        be_quick(there[1])
        self.writers |= {writer, there[1]}
        ways = [asyncio.Queue(WAITING_MAX), asyncio.Queue(WAITING_MAX)]
        tasks = [asyncio.ensure_future(task) for task in (
            self.read_pieces(reader, ways[0]), self.write_pieces(there[1], ways[0]),
            self.read_pieces(there[0], ways[1]), self.write_pieces(writer, ways[1]))]
        # whichever way ends first ends both: a half that stays open is no connection
        await asyncio.wait((tasks[1], tasks[3]), return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        writer.close()
        there[1].close()
        self.writers -= {writer, there[1]}

    def command(self, words):
        if words[:1] == ["delay"]:
            self.delay = float(words[1]) / 1000
        elif words[:1] == ["reset"]:
            for writer in self.writers:
                writer.transport.abort()


async def main():
    proxy = Proxy(sys.argv[2])
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", int(sys.argv[1]))
    print("ready", flush=True)
    while True:
        line = await commands.readline()
        if not line:
            break
        proxy.command(line.decode().split())
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
