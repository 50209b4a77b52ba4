# SPDX-License-Identifier: MIT
"""Tasks of celery, by way of files in the working folder; as a program, the client that asks for them.

celery_app.py N: N tasks that keep something, one that fails; prints [process, how many it kept] of each, and the failure.
"""
import json
import os
import sys

from celery import Celery

for folder in ("queue", "control", "results"):
    os.makedirs(folder, exist_ok=True)
app = Celery("celery_app", broker="filesystem://", backend="file://%s/results" % os.getcwd())
app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control",
                                      "polling_interval": 0.02}
app.conf.update(worker_prefetch_multiplier=1, worker_enable_remote_control=False)
kept = []


@app.task(name="visit")
def visit(number):
    kept.append(bytearray(200000))  # @kept
    return [os.getpid(), len(kept), number * number]


@app.task(name="fail")
def fail():
    raise KeyError("nothing there")


def main():
    results = [visit.delay(number) for number in range(int(sys.argv[1]))]
    said = [result.get(timeout=100, interval=0.02) for result in results]
    failed = fail.delay()
    try:
        failed.get(timeout=100, interval=0.02)
    except KeyError as error:
        said.append(repr(error))
    print(json.dumps(said))


if __name__ == "__main__":
    main()
