# SPDX-License-Identifier: MIT
"""A web server with a slow leak, beside a cache that is only old and a path that is only busy.

It asks itself for as many pages as are named on its command line, evenly over about four seconds.
Each request leaves a session behind. Says `ready`, and again after each line of standard input,
behind which it has served as many more; ends when standard input closes.
"""
import http.client
import http.server
import sys
import threading
import time

CATALOGUE = {}
SESSIONS = []
SECONDS = 4.0


def fill():
    for number in range(2000):
        CATALOGUE[number] = bytearray(15000)  # @cache


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece

    def log_message(self, *words):
        pass

    def do_GET(self):
        SESSIONS.append(bytearray(5000))  # @leak
        page = self.render(int(self.path[1:]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def render(self, number):
        lines = [b"%d" % line * 100 for line in range(1000)]  # @busy
        return b"".join(lines[:10])


def ask(port, times):
    client = http.client.HTTPConnection("127.0.0.1", port)
    begin = time.monotonic()
    for number in range(times):
        client.request("GET", "/%d" % number)
        client.getresponse().read()
        time.sleep(max(0.0, begin + SECONDS * number / times - time.monotonic()))
    client.close()


fill()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
ask(server.server_address[1], int(sys.argv[1]))
print("ready", flush=True)
for _ in sys.stdin:
    ask(server.server_address[1], int(sys.argv[1]))
    print("ready", flush=True)
