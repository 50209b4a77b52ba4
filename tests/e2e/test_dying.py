# SPDX-License-Identifier: MIT
"""Threads that allocate and free while they die, and the last moments of the process.

Destructors of keys and of thread_locals run when Python is done with a thread; atexit functions and destructors after ours.
"""
from __future__ import annotations

from pathlib import Path
from typing import Dict, List

import cc
import pytest
from harness import LIBRARY, RawFile, Running

EXACT = {"MPROFILERATE": "1"}


def preload(*libraries: Path) -> Dict[str, str]:
    return {**EXACT, "LD_PRELOAD": ":".join(map(str, libraries))}


def lost(raw: RawFile) -> List[str]:
    return sorted(key for key in raw.head if key.startswith("lost."))


def ended_well(program: Running, status: int = 0) -> None:
    assert program.finish() == status, program.stderr
    assert program.stderr == ""


#: Each dying thread: a key whose destructor sets itself again until the loader gives up, a C11 one, and (in C++) thread_locals.
DYING = r"""
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

static pthread_key_t key;
static tss_t tss;
int rounds, tss_rounds;
static __thread int own_rounds;

static void again(void *block)
{
    free(block);
    own_rounds++;
    __atomic_fetch_add(&rounds, 1, __ATOMIC_RELAXED);
    void *grown = realloc(malloc(300), 7001); /* kept by nobody after the last round */
    pthread_setspecific(key, grown);
}

static void again_tss(void *block)
{
    __atomic_fetch_add(&tss_rounds, 1, __ATOMIC_RELAXED);
    free(block);
    free(calloc(1, 900));
    if (own_rounds < 3) {
        tss_set(tss, malloc(8009));
    }
}

int iterations(void)
{
    pthread_key_create(&key, again);
    tss_create(&tss, again_tss);
    return PTHREAD_DESTRUCTOR_ITERATIONS;
}

int arm(void)
{
    pthread_setspecific(key, malloc(9001));
    return tss_set(tss, malloc(9007)) == thrd_success ? 0 : 1;
}

static void *thread(void *unused)
{
    arm();
    return unused;
}

static int thread_c11(void *unused)
{
    (void)unused;
    return arm();
}

int start(int count)
{
    int failed = 0;
    for (int i = 0; i < count; i++) {
        pthread_t one;
        thrd_t other;
        failed += pthread_create(&one, NULL, thread, NULL) || pthread_join(one, NULL);
        int said = 1;
        failed += thrd_create(&other, thread_c11, NULL) != thrd_success || thrd_join(other, &said) != thrd_success || said;
    }
    return failed;
}
"""


@pytest.mark.few
@pytest.mark.parametrize("native", ["0", "1"])
def test_threads_that_allocate_while_dying(python, run, tmp_path, native):
    """Destructors of keys, in all rounds: nothing is lost, and what the last round left behind is there, once each."""
    cc.library(DYING, tmp_path / "dying.so")
    program = run(python, """
        import ctypes, os, sys, threading
        dying = ctypes.CDLL("./dying.so")
        print(dying.iterations())
        assert dying.start(40) == 0
        for _ in range(5):
            threads = [threading.Thread(target=dying.arm) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        while len(os.listdir("/proc/self/task")) > 1:
            pass  # a thread is joined when Python is done with it: its last destructor may not have run
        print(*(ctypes.c_int.in_dll(dying, name).value for name in ("rounds", "tss_rounds")), flush=True)
        print('ready', flush=True)
        sys.stdin.read()
        """, env={**EXACT, "MPROFILENATIVE": native})
    iterations = int(program.line())
    rounds, tss_rounds = map(int, program.line().split())
    raw = RawFile(program.ready().dump())
    assert iterations == 4 and rounds == 120 * iterations and tss_rounds >= 120
    left = raw.samples(7001)
    assert len(left) == 120 and {one.domain for one in left} == {3}
    for size in (300, 900, 8009, 9001, 9007):
        assert not [one for one in raw.samples(size) if one.domain == 3 and one.stack[0].name in (
            "[no Python thread]", "again", "again_tss", "arm")], size
    assert lost(raw) == []
    ended_well(program)


DYING_CPP = r"""
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>
#include <pthread.h>

struct Late {
    std::vector<std::string> words;
    Late() : words(50, std::string(333, 'a')) {}
    ~Late();
};
static thread_local Late one;
static thread_local std::unique_ptr<Late> two;

int ended;
Late::~Late()
{
    std::vector<std::string> copy(words);
    copy.resize(200, std::string(555, 'b'));
    __atomic_fetch_add(&ended, 1, __ATOMIC_RELAXED);
}

static void *thread(void *)
{
    two.reset(new Late);
    return reinterpret_cast<void *>(one.words.size() == 50 ? 0 : 1);
}

extern "C" int use(void) { return thread(nullptr) != nullptr; }
extern "C" int dead(void) { return ended; }
extern "C" int start(int count)
{
    int failed = 0;
    for (int i = 0; i < count; i++) {
        pthread_t one;
        void *said = nullptr;
        failed += pthread_create(&one, nullptr, thread, nullptr) || pthread_join(one, &said) || said != nullptr;
    }
    return failed;
}
"""


@pytest.mark.few
def test_thread_locals_of_cpp(python, run, tmp_path):
    """Their destructors allocate and free; those of the main thread run at the very end of the process."""
    cc.library(DYING_CPP, tmp_path / "dying.so", compiler="c++")
    program = run(python, """
        import ctypes, sys
        dying = ctypes.CDLL("./dying.so")
        assert dying.start(100) == 0 and dying.dead() == 200
        print('ready', flush=True)
        sys.stdin.read()
        assert dying.use() == 0
        """, env={**EXACT, "MPROFILEEXIT": "1"}).ready()
    raw = RawFile(program.dump())
    assert not [one for size in (334, 556) for one in raw.samples(size) if one.domain == 3] and not lost(raw)
    ended_well(program)
    assert len([one for one in RawFile(program.path(2)).samples(334) if one.domain == 3]) == 100


#: All of the last moments, in order. Preloaded behind us its destructor runs after ours.
LAST = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *early[64];

static void say(const char *word)
{
    for (int i = 1; i < 200; i++) {
        char *block = malloc((size_t)i * 997);
        block = realloc(block, (size_t)i * 1499);
        memset(block, 1, 10);
        free(block);
    }
    void *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(map, 1 << 20);
    if (write(1, word, strlen(word)) < 0) {
        _exit(96);
    }
}

static void at_exit(void) { say("atexit "); }
static void on_exit_too(int status, void *unused) { (void)unused; say(status == 7 ? "on_exit " : "?"); }

/* Goes on until the process is gone. */
static void *endless(void *unused)
{
    for (size_t i = 0;; i++) {
        free(malloc(i % 3000));
    }
    return unused;
}

void arm(int threads)
{
    atexit(at_exit);
    on_exit(on_exit_too, NULL);
    for (int i = 0; i < threads; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, endless, NULL);
    }
}

static __attribute__((constructor)) void come(void)
{
    for (int i = 0; i < 64; i++) {
        early[i] = malloc(100 + (size_t)i * 1000);
    }
}

static __attribute__((destructor)) void go(void)
{
    for (int i = 0; i < 64; i++) {
        free(early[i]);
    }
    say("destructor\n");
}
"""


@pytest.mark.few
@pytest.mark.parametrize("order", ["before", "after", "loaded"])
@pytest.mark.parametrize("threads", [0, 2])
def test_the_end_of_the_process(python, run, tmp_path, threads, order):
    last = cc.library(LAST, tmp_path / "last.so")
    libraries = {"before": (last, LIBRARY), "after": (LIBRARY, last), "loaded": (LIBRARY,)}[order]
    program = run(python, """
        import ctypes, sys
        ctypes.CDLL("./last.so").arm(int(sys.argv[1]))
        kept = bytes(1000001)
        print('ready', flush=True)
        sys.stdin.read()
        sys.exit(7)
        """, args=[str(threads)], env={**preload(*libraries), "MPROFILEEXIT": "1"}).ready()
    ended_well(program, 7)
    assert program.stdout == "on_exit atexit destructor\n"
    assert len(RawFile(program.path(1)).samples(python.bytes_size(1000001))) == 1
    assert sorted(path.name for path in tmp_path.glob("mprofile*")) == [program.path(1).name]
