# SPDX-License-Identifier: MIT
"""gevent: the standard library patched, greenlets by the hundred, a server and its clients in one thread, real threads too."""
from gevent import monkey

monkey.patch_all()

import socket  # noqa: E402
import threading  # noqa: E402

import gevent  # noqa: E402
from gevent.server import StreamServer  # noqa: E402
from hold import hold  # noqa: E402

kept = []


def answer(connection, address):
    number = int(connection.makefile().readline())
    kept.append(bytearray(20000))  # @kept
    gevent.sleep(0.001 * (number % 5))
    connection.sendall(b"%d\n" % (number * number))
    connection.close()


def ask(number):
    with socket.create_connection(server.address) as connection:
        connection.sendall(b"%d\n" % number)
        return int(connection.makefile().readline())


server = StreamServer(("127.0.0.1", 0), answer)
server.start()
print(sum(job.get() for job in [gevent.spawn(ask, number) for number in range(200)]))
print(gevent.get_hub().threadpool.apply(lambda: threading.get_ident() != 0))
server.stop()
hold(200 * 20000, 200 * 20100)
