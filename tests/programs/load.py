#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Visitors for leaky_server.py: a bounded number of requests to a server on this machine.

    load.py [--requests 3000] PORT      one in three logs in; prints what was done as JSON
"""
from __future__ import annotations

import argparse
import http.client
import json
import sys
import threading

WORKERS = 4


def visit(port: int, numbers: range, failed: list) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for number in numbers:
        path = ["/login?user=u%d" % number, "/product/%d" % number, "/search?q=%d" % (number % 100)][number % 3]
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200 or not body:
                failed.append(path)
        except (OSError, http.client.HTTPException):
            failed.append(path)
            connection.close()
    connection.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("port", type=int)
    args = parser.parse_args()
    failed: list = []
    workers = [threading.Thread(target=visit, args=(args.port, range(first, args.requests, WORKERS), failed))
               for first in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(json.dumps({"requests": args.requests, "failed": len(failed)}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
