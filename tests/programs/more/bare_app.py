# SPDX-License-Identifier: MIT
"""The same shop without a framework: `app` for WSGI servers, `asgi` for the others. No import but the standard library's."""
import json
import os
import time

kept = []


def answer(path):
    if path == "/count":
        time.sleep(0.005)  # so that the others have to answer, too
        return json.dumps([os.getpid(), len(kept)]).encode()
    kept.append(bytearray(20000))  # @kept
    return b"".join(b"<li>%d</li>" % n for n in range(20))


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    return [answer(environ["PATH_INFO"])]


application = app  # uwsgi's name for it


async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": answer(scope["path"])})
