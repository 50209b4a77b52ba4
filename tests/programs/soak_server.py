#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A web server with forked workers that does a bit of everything: the program that tests/soak runs for half an hour.

    soak_server.py WORKERS REQUESTS COUNTS

The parent listens on a free port of 127.0.0.1, has threads of its own that work, and forks the workers under them. A worker answers each request on
a new thread. After REQUESTS of them it leaves by itself (status 7), and the parent forks another in its place; the first one stays, so that there is one that
lives long. Half of those that leave do so through the end of Python, half by os._exit. What `keep` and `keep_c` keep is written to the file COUNTS, a
slot a worker: the truth of the figures. SIGTERM ends all of it,
and so does the end of whoever started it.

On standard output, a line each: `port N`, `forked SLOT PID`, `leaving PID MS` (a worker's last act but for the end itself, and the monotonic clock),
`ended PID STATUS` (as waitpid gives it). Nothing in it knows of the profiler. Python 3.8 and later, standard library only. Its stacks are finitely
many: depths are fixed, and nothing makes code of new content.
"""
from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import json
import mmap
import os
import re
import select
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import traceback
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any, Callable, Dict, Iterator, List

OWN_STATUS = 7
KEPT_BYTES, KEPT_C_BYTES = 3000, 5000
#: Blocks a request, and where a worker stops keeping.
KEPT_AT_ONCE, KEPT_MOST = 20, 1000
SLOT = struct.Struct("=QQQ")  # pid, blocks of keep, blocks of keep_c

#: Free-threaded 3.13 never frees a code object: a module that is imported anew leaks, and what is live grows by it, and so do we.
IMMORTAL = sys.version_info[:2] == (3, 13) and "t" in getattr(sys, "abiflags", "")
KEPT: List[bytes] = []
KEPT_C: List[int] = []
RECORDS = [{"id": n, "name": "record %d" % n, "tags": ["t%d" % (n % 13), "t%d" % (n % 7)]} for n in range(300)]
TEXT = " ".join("word%d=%d" % (n % 97, n) for n in range(2000))
importing = threading.Lock()
keeping = threading.Lock()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
stopping = False


def say(words: str) -> None:
    os.write(1, words.encode() + b"\n")  # one call: lines of several processes do not mix, and no lock is left to a child


# What a request may ask for.


def do_json() -> int:
    return len(json.loads(json.dumps(RECORDS)))


def do_sqlite() -> int:
    base = sqlite3.connect(":memory:")
    try:
        base.execute("create table records (id integer primary key, name text)")
        base.executemany("insert into records values (?, ?)", [(one["id"], one["name"]) for one in RECORDS])
        return len(base.execute("select * from records where name like '%1%' order by name desc").fetchall())
    finally:
        base.close()


def do_zlib() -> int:
    return len(zlib.decompress(zlib.compress(TEXT.encode(), 1)))


def do_regex() -> int:
    re.purge()
    return len(re.findall(r"(word\d+)=(\d*7)\b", TEXT))


def do_bytearray() -> int:
    grown = bytearray()
    for n in range(200):
        grown += bytes(500 + n)
    del grown[:5000]
    return len(grown)


def do_threads() -> int:
    found: List[int] = []
    threads = [threading.Thread(target=lambda: found.append(len([bytes(n) for n in range(0, 2000, 10)]))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(found)


def do_pool() -> int:
    with ThreadPoolExecutor(3) as pool:
        return sum(pool.map(lambda n: len([n] * 3000), range(6)))


def numbers(most: int) -> Iterator[List[int]]:
    for n in range(most):
        yield [n] * 50


def do_generator() -> int:
    return sum(len(one) for one in numbers(300))


def dive(depth: int) -> int:
    kept = [depth] * 100
    if depth == 0:
        raise LookupError("nothing there", kept)
    return dive(depth - 1) + 1


def do_exception() -> int:
    try:
        return dive(25)
    except LookupError:
        return len(traceback.format_exc())


def do_subprocess() -> int:
    return subprocess.call(["/bin/true"])


def do_python() -> int:
    child = subprocess.run([sys.executable, "-c", "print(len([bytes(1000) for _ in range(1000)]))"], stdout=subprocess.PIPE, check=True)
    return int(child.stdout)


def do_collect() -> int:
    for _ in range(50):
        ring: List[Any] = [bytes(200)]
        ring.append(ring)
    return gc.collect() >= 0


def do_import() -> int:
    with importing:
        if not IMMORTAL:
            sys.modules.pop("colorsys", None)
        return len(importlib.import_module("colorsys").__all__)


async def pause(n: int) -> int:
    await asyncio.sleep(0)
    return len([n] * 500)


async def gather() -> int:
    return sum(await asyncio.gather(*(pause(n) for n in range(20))))


def do_asyncio() -> int:
    return asyncio.run(gather())


def do_ctypes() -> int:
    blocks = [libc.malloc(100 * n + 1) for n in range(100)]
    for block in blocks:
        libc.free(block)
    return len(blocks)


def do_mmap() -> int:
    with mmap.mmap(-1, 1 << 19) as mapped:
        mapped[::4096] = b"x" * (len(mapped) // 4096)
        return len(mapped)


def do_keep() -> int:
    with keeping:
        for _ in range(KEPT_AT_ONCE if len(KEPT) < KEPT_MOST else 0):
            KEPT.append(bytes(KEPT_BYTES))  # @kept
        return len(KEPT)


def do_keep_c() -> int:
    with keeping:
        for _ in range(KEPT_AT_ONCE if len(KEPT_C) < KEPT_MOST else 0):
            KEPT_C.append(libc.malloc(KEPT_C_BYTES))  # @kept_c
        return len(KEPT_C)


def do_abort() -> int:
    os.abort()  # never asked for, but by the test of tests/soak itself
    return 0


WORK: Dict[str, Callable[[], int]] = {name[3:]: work for name, work in globals().items() if name.startswith("do_")}


# The server.


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = b"%d\n" % WORK[self.path[1:]]()
        self.server.answered()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *unused: object) -> None:
        pass


class Server(ThreadingMixIn, HTTPServer):
    """One worker's: all of them accept from one socket."""

    block_on_close = False

    def __init__(self, listener: socket.socket, slot: int, most: int, counts: mmap.mmap) -> None:
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.slot, self.left, self.counts, self.count_lock = slot, most, counts, threading.Lock()
        self.threads: List[threading.Thread] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        self.threads = [thread for thread in self.threads if thread.is_alive()]
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address))
        self.threads.append(thread)
        thread.start()

    def answered(self) -> None:
        with self.count_lock:
            self.left -= 1
            SLOT.pack_into(self.counts, self.slot * SLOT.size, os.getpid(), len(KEPT), len(KEPT_C))


def work(listener: socket.socket, slot: int, most: int, counts: mmap.mmap) -> None:
    """A worker's life."""
    SLOT.pack_into(counts, slot * SLOT.size, os.getpid(), 0, 0)
    server = Server(listener, slot, most, counts)
    while not stopping and server.left > 0:
        if select.select([listener], [], [], 0.2)[0]:
            server.handle_request()  # waits for nothing, as the socket does not
    for thread in server.threads:
        thread.join()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends already: with its own status
    say("leaving %d %d" % (os.getpid(), time.monotonic() * 1000))
    if os.getpid() % 2:
        os._exit(OWN_STATUS)
    sys.exit(OWN_STATUS)


def busy(pause: float) -> None:
    """A thread of the parent: something is always going on when it forks."""
    while not stopping:
        zlib.compress(json.dumps(RECORDS[:100]).encode())
        kept = [bytes(n) for n in range(0, 3000, 50)]
        time.sleep(pause)
        del kept


def stop(*unused: object) -> None:
    global stopping
    stopping = True


def main() -> None:
    workers, most = int(sys.argv[1]), int(sys.argv[2])
    with open(sys.argv[3], "r+b") as file:
        counts = mmap.mmap(file.fileno(), workers * SLOT.size)
    warnings.simplefilter("ignore")  # of 3.12 and later: a process with threads forks
    signal.signal(signal.SIGTERM, stop)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    listener.setblocking(False)  # several workers see a connection, one gets it
    say("port %d" % listener.getsockname()[1])
    threads = [threading.Thread(target=busy, args=(pause,)) for pause in (0.05, 0.07)]
    for thread in threads:
        thread.start()
    slots: Dict[int, int] = {}
    told, starter = False, os.getppid()
    while not stopping or slots:
        for slot in sorted(set(range(workers)) - set(slots.values())) if not stopping else ():
            pid = os.fork()
            if pid == 0:
                work(listener, slot, most if slot else 1 << 60, counts)
            slots[pid] = slot
            say("forked %d %d" % (slot, pid))
        if stopping and not told:
            told = True
            for pid in slots:
                os.kill(pid, signal.SIGTERM)
        while slots:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            del slots[pid]
            say("ended %d %d" % (pid, status))
        if os.getppid() != starter:  # which was killed
            stop()
        time.sleep(0.02)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
