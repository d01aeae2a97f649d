"""Redis and memcached, under a load of our own, as servers that hits.py can measure."""

import contextlib
import shutil
import socket

import system

EXTSTORE = "memcached-extstore"
PROGRAMS = {"redis": "redis-server", "memcached": "memcached", EXTSTORE: "memcached"}


def start(name, size, key, cores, stack, **load):
    """A server with a value of `size` bytes under `key`, as something to `run` with this load; `stack` ends it."""
    server = stack.enter_context(Peer(name, cores))
    if name != EXTSTORE:
        return Lines(name, server, size, key, **load)
    moved = InFile("memcached", server, size, key, **load)
    moved.wait_until_moved(size)
    return moved


class Lines:
    """A server of lines, Redis or memcached, under our own load."""

    def __init__(self, name, server, size, key, load_cores, run_s):
        self.server, self.load_cores, self.run_s = server, load_cores, run_s
        value = b"v" * size
        if name == "redis":
            words = b"SET", key.encode(), value
            put = b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
            get, end_of_get = f"GET {key}\r\n".encode(), b"v\r\n"
        else:
            put = b"set %s 0 0 %d\r\n%s\r\n" % (key.encode(), size, value)
            get, end_of_get = f"get {key}\r\n".encode(), b"END\r\n"
        self.connection = server.connect()
        stored, found = ask(self.connection, put, b"\r\n"), ask(self.connection, get, end_of_get)
        if len(found) < size:
            raise SystemExit(f"{name} does not take a value of {size} bytes: {stored}")
        self.request, self.answer_bytes = get, len(found)

    def run(self, connections, depth):
        """As `Grpc.run`."""
        before = self.server.cpu_s()
        said = system.output(
            str(system.ECHO / "release/lines"), self.server.address, str(connections), str(depth), str(self.run_s),
            str(self.answer_bytes), self.request.decode(), cores=self.load_cores,
        )
        requests, rate = (float(part) for part in said.split())
        return rate, [(self.server.cpu_s() - before) * 1e6 / requests]


class InFile(Lines):
    """memcached, which has moved the value to a file whose pages are in memory."""

    # Several times what it collects before it writes, and less than its memory, so that it need not drop anything.
    FILLING_BYTES = 32 << 20
    # It moves nothing smaller, unless it is told to.
    SIZE_MIN = 512

    def wait_until_moved(self, size):
        """Puts other values until the first, which was not asked for since, must have been moved."""
        if size < self.SIZE_MIN:
            raise SystemExit(f"{EXTSTORE} keeps values of less than {self.SIZE_MIN} bytes in memory: leave out {size}")
        value = b"v" * size
        for number in range(self.FILLING_BYTES // size):
            self.connection.sendall(b"set filling-%08d 0 0 %d noreply\r\n%s\r\n" % (number, size, value))
        system.wait_until(
            lambda: self.stats("extstore_bytes_written")[0] >= self.FILLING_BYTES / 2,
            f"{EXTSTORE} has not moved half of {self.FILLING_BYTES} bytes to its file",
        )

    def stats(self, *names):
        """What it has counted under these names."""
        lines = ask(self.connection, b"stats\r\n", b"END\r\n").decode().splitlines()
        counted = dict(line.split()[1:3] for line in lines if line.startswith("STAT "))
        return [int(counted[name]) for name in names]

    def run(self, connections, depth):
        """As `Grpc.run`."""
        before = self.stats("cmd_get", "get_extstore")
        result = super().run(connections, depth)
        asked, read = (now - then for now, then in zip(self.stats("cmd_get", "get_extstore"), before))
        if read < asked:
            raise SystemExit(f"{EXTSTORE}: {read} of {asked} gets were answered from the file")
        return result


def ask(connection, request, end):
    """Sends `request` and gives the answer, which ends so."""
    connection.sendall(request)
    received = b""
    while not received.endswith(end):
        if not (more := connection.recv(1 << 20)):
            raise SystemExit(f"the server has ended the connection instead of answering {request[:40]}")
        received += more
    return received


class Peer(system.Program):
    """Redis or memcached, in memory only, or memcached with a file for what memory does not hold."""

    def __init__(self, name, cores):
        self.address = system.free_address()
        host, port = self.address.split(":")
        memcached = ["-l", host, "-p", port, "-t", "1"]
        arguments = {
            "redis": ["--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--daemonize", "no"],
            "memcached": [*memcached, "-m", "256", "-u", "nobody"],
            # What is read from the file does not come back to memory.
            EXTSTORE: [
                *memcached, "-m", "64", "-u", "root",
                "-o", "ext_path=extstore:512m,ext_recache_rate=0,ext_item_age=0",
            ],
        }[name]
        super().__init__(shutil.which(PROGRAMS[name]), arguments, cores=cores, ready=None)
        system.wait_until(self.listens, f"{name} does not listen on {self.address}")

    def listens(self):
        with contextlib.suppress(OSError), self.connect():
            return True
        return False

    def connect(self):
        host, port = self.address.split(":")
        return socket.create_connection((host, int(port)), timeout=system.START_TIMEOUT_S)
