# SPDX-License-Identifier: MIT
"""sqlite3: a database in memory, functions and aggregates called back from C, a file that is locked."""
import sqlite3
import tempfile

from hold import hold


class Longest:
    def __init__(self):
        self.word = ""

    def step(self, word):
        self.word = max(self.word, word, key=len)

    def finalize(self):
        return self.word


base = sqlite3.connect(":memory:")
base.create_function("backwards", 1, lambda word: word[::-1])
base.create_aggregate("longest", 1, Longest)
base.execute("CREATE TABLE words (number INTEGER PRIMARY KEY, word TEXT)")
base.executemany("INSERT INTO words VALUES (?, ?)", ((n, "word %d" % n * 20) for n in range(30000)))  # @kept
base.commit()
print(base.execute("SELECT backwards(word), longest(word), count(*) FROM words WHERE number % 7 = 3").fetchall())
print(len("\n".join(base.iterdump())))
with tempfile.NamedTemporaryFile() as file:
    first, second = sqlite3.connect(file.name), sqlite3.connect(file.name, timeout=0.05)
    first.execute("CREATE TABLE one (a)")
    first.execute("BEGIN EXCLUSIVE")
    try:
        second.execute("INSERT INTO one VALUES (1)")
    except sqlite3.OperationalError as error:
        print(error)
    first.close()
    second.close()
size = base.execute("PRAGMA page_count").fetchone()[0] * base.execute("PRAGMA page_size").fetchone()[0]
hold(size, int(size * 1.3))
