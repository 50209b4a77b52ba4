#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A small web shop in tornado, with a leak in one handler: the program of the README's example.

It looks up products, renders pages, answers searches with JSON; its login handler keeps a session for
each visitor in a dictionary and never takes one out. Nothing in it knows of the profiler.

    leaky_server.py [--port 8888]      port 0: any; prints `listening on 127.0.0.1:PORT`
"""
from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
import uuid

import tornado.httpserver
import tornado.netutil
import tornado.template
import tornado.web

SESSIONS: dict = {}
PRODUCTS = [{"id": n, "name": "product %d" % n, "price": 100 + n * 7 % 900, "tags": ["t%d" % (n % 13), "t%d" % (n % 7)]}
            for n in range(2000)]
PAGE = tornado.template.Template("""\
<html><title>{{ product["name"] }}</title><h1>{{ product["name"] }}</h1>
<p>{{ product["price"] }}</p><ul>{% for tag in product["tags"] %}<li>{{ tag }}</li>{% end %}</ul></html>
""")


class Session:
    """What the shop remembers of a visitor."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.token = uuid.uuid4().hex
        self.since = time.time()
        self.basket: list = []
        self.history = bytearray(20000)  # the leak: nobody ever ends a session


class Login(tornado.web.RequestHandler):
    def get(self) -> None:
        session = Session(self.get_argument("user"))
        SESSIONS[session.token] = session
        self.write({"token": session.token})


class Product(tornado.web.RequestHandler):
    async def get(self, number: str) -> None:
        await asyncio.sleep(0)
        self.write(PAGE.generate(product=PRODUCTS[int(number) % len(PRODUCTS)]))


class Search(tornado.web.RequestHandler):
    def get(self) -> None:
        wanted = self.get_argument("q")
        found = [product for product in PRODUCTS if wanted in product["name"]]
        self.write(json.dumps({"found": found[:50]}))


class Count(tornado.web.RequestHandler):
    def get(self) -> None:
        self.write(str(len(SESSIONS)))


async def serve(port: int) -> None:
    application = tornado.web.Application([("/login", Login), (r"/product/(\d+)", Product), ("/search", Search),
                                           ("/sessions", Count)], log_function=lambda handler: None)
    sockets = tornado.netutil.bind_sockets(port, "127.0.0.1")
    server = tornado.httpserver.HTTPServer(application)
    server.add_sockets(sockets)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    print("listening on 127.0.0.1:%d" % sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    server.stop()
    await server.close_all_connections()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--port", type=int, default=8888)
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
