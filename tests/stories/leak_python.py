# SPDX-License-Identifier: MIT
"""A program that leaks Python objects: a service that remembers each request, and forgets none.

Says `ready` when about 90 MB are live, and holds until its standard input closes.
"""
import sys

HISTORY = []
SESSIONS = {}


class Request(object):
    def __init__(self, number):
        self.number = number  # @number
        self.path = "/item/%d" % number  # @path


def handle(number):
    request = Request(number)  # @request
    HISTORY.append({"request": request, "headers": ["host", "agent-%d" % number]})  # @history
    if number % 50 == 0:
        SESSIONS[number] = bytes(2000)  # @session
    return len(HISTORY)


def main():
    for number in range(150 * 1000):
        handle(number)


main()
print("ready", flush=True)
sys.stdin.read()
