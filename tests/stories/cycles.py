# SPDX-License-Identifier: MIT
"""Reference cycles that wait for the collector: garbage that nobody holds, and that is not freed yet.

Sessions know their owner and the owner knows them, so only the collector can free them; it runs now
and then, as a program with a high threshold has it. For three seconds; then says `ready` with the
garbage of the last half second alive, and holds until its standard input closes.
"""
import gc
import sys
import time


class Owner(object):
    def __init__(self):
        self.session = Session(self)


class Session(object):
    def __init__(self, owner):
        self.owner = owner
        self.buffer = bytearray(4000)  # @cycle


gc.disable()
begun = time.monotonic()
for number in range(600):
    Owner()
    if number in (150, 300, 450):
        gc.collect()
    time.sleep(max(0.0, begun + number * 0.005 - time.monotonic()))
print("ready", flush=True)
sys.stdin.read()
