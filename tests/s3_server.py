"""A store that speaks S3 on the loopback: moto's server in a process of its own, with what names it to every tool."""

import os
import select
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from thalweg import bucket

KEY, SECRET = "AKIATHALWEGTEST", "a-secret-that-must-be-nowhere"


@contextmanager
def serving(**settings: str) -> Iterator[str]:
    """The address of a store without any bucket; `settings` are the server's own, of its environment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    words = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | settings
    server = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(server, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@contextmanager
def counting(address: str) -> Iterator[tuple[str, list[int]]]:
    """An address that leads to the server, and the sizes of what it answered there so far."""
    to = address.removeprefix("http://").split(":")
    sizes: list[int] = []

    class Through(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((to[0], int(to[1]))) as server:
                while True:
                    ready, _, _ = select.select([self.request, server], [], [])
                    data = ready[0].recv(1 << 16)
                    if not data:
                        return
                    (server if ready[0] is self.request else self.request).sendall(data)
                    sizes.extend([len(data)] if ready[0] is server else [])

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Through) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", sizes
        server.shutdown()


def environment(address: str, home: str) -> dict[str, str]:
    """What a person sets; nothing else of this machine's is looked at."""
    return {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": f"{home}/config",
            "AWS_SHARED_CREDENTIALS_FILE": f"{home}/credentials", "AWS_REGION": "us-east-1"}  # fmt: skip


def make_bucket(name: str) -> None:
    """Makes one in the store that the environment names."""
    bucket._store().mkdir(name)


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise RuntimeError("moto's server did not start")
