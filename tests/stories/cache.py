# SPDX-License-Identifier: MIT
"""A cache without bound: each new question leaves its answer behind, and no question comes twice.

Says `ready` after 3,000 questions, and after 3,000 more for each line of standard input; ends when
that closes.
"""
import functools
import sys


class Answer(object):
    def __init__(self, text):
        self.text = text


@functools.lru_cache(maxsize=None)
def answer(question):
    return Answer("%d " % question * 400)  # @cache


def questions(first):
    for question in range(first, first + 3000):
        answer(question)


questions(0)
print("ready", flush=True)
for count, _ in enumerate(sys.stdin, 1):
    questions(3000 * count)
    print("ready", flush=True)
