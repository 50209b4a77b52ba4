# SPDX-License-Identifier: MIT
"""greenlet: stacks that are copied away and back, an exception thrown into one, a profile function of the program's."""
import sys

import greenlet
from hold import hold

calls = 0


def profile(frame, event, argument):
    global calls
    calls += 1


def deep(number, left):
    if left:
        return deep(number, left - 1) + 1
    mine = bytearray(20000 + number)  # @kept
    try:
        main.switch(len(mine))
    except KeyError as error:
        return str(error)
    return len(mine)


main = greenlet.getcurrent()
sys.setprofile(profile)
kept = [greenlet.greenlet(deep) for _ in range(200)]
print(sum(one.switch(number, number % 40) for number, one in enumerate(kept)))
print(sys.getprofile() is profile, calls > 4000)
sys.setprofile(None)
print(greenlet.greenlet(deep).switch(1, 1), kept[0].throw(KeyError, "thrown"), kept[1].switch())
size = sum(20000 + number for number in range(2, 200))
hold(size, size + 200 * 100)
