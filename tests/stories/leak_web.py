# SPDX-License-Identifier: MIT
"""A slow leak in a web server: each request leaves an audit record behind, and none is ever dropped.

Beside it are a table that is large, and only old, and a handler that allocates much, and keeps
nothing. Serves 600 requests of its own client over three seconds, says `ready`, and holds until its
standard input closes.
"""
import http.client
import http.server
import json
import sys
import threading
import time

PRODUCTS = {number: bytes(2000) for number in range(10000)}  # @table
AUDIT = []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        body = json.dumps(self.page()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def page(self):
        rows = [bytearray(3000) for _ in range(100)]  # @busy
        AUDIT.append(bytearray(4000))  # @leak
        return {"path": self.path, "rows": len(rows), "of": len(PRODUCTS)}

    def log_message(self, *words):
        pass


def load(port, requests):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    begun = time.monotonic()
    for number in range(requests):
        connection.request("GET", "/item/%d" % number)
        connection.getresponse().read()
        time.sleep(max(0.0, begun + number * 0.005 - time.monotonic()))
    connection.close()


server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
load(server.server_address[1], 600)
print("ready", flush=True)
sys.stdin.read()
