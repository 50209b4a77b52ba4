/* SPDX-License-Identifier: MIT
 * What benchmarks need inside the process that is measured, in C: a mark, an empty hook, a loop of malloc.
 *
 * The mark: under cachegrind a process's instructions are told when it ends. mark() makes a child that ends at once, by bare
 * system calls, so that nothing of a profiler's runs; its count, and the parent's at the end, are those of the two ends of
 * what is measured, from one run.
 *
 * Preloaded (process.py does so when it counts): the library asks malloc what it holds, ten times a second at most. Under cachegrind a second is
 * some fifty times longer than it is, and such a question of 9,000 instructions would be counted fifty times too often; so it is
 * answered with nothing.
 *
 * The threads: C threads that allocate at the same time, without Python's lock if the caller gave it up.
 *
 * The hook: the three domains of Python's allocators wrapped by functions that only pass on: what any profiler that wraps
 * them pays at least. Needs no header of CPython's; its symbols are found when this is loaded into it.
 *
 * Compiled by process.py with cc -shared.
 */
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    void *ctx;
    void *(*malloc)(void *, size_t);
    void *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *);
} allocator;

extern void PyMem_GetAllocator(int domain, allocator *allocator) __attribute__((weak));
extern void PyMem_SetAllocator(int domain, allocator *allocator) __attribute__((weak));

void mark(void)
{
    long pid = syscall(SYS_fork);
    if (pid == 0) {
        syscall(SYS_exit_group, 0);
    }
    int status;
    syscall(SYS_wait4, pid, &status, 0, NULL);
}

void end(void)
{
    syscall(SYS_exit_group, 0);
}

struct mallinfo2 mallinfo2(void)
{
    return (struct mallinfo2){0};
}

static allocator below[3];

static void *pass_malloc(void *ctx, size_t size)
{
    allocator *to = ctx;
    return to->malloc(to->ctx, size);
}

static void *pass_calloc(void *ctx, size_t count, size_t size)
{
    allocator *to = ctx;
    return to->calloc(to->ctx, count, size);
}

static void *pass_realloc(void *ctx, void *block, size_t size)
{
    allocator *to = ctx;
    return to->realloc(to->ctx, block, size);
}

static void pass_free(void *ctx, void *block)
{
    allocator *to = ctx;
    to->free(to->ctx, block);
}

void hook(void)
{
    for (int domain = 0; domain < 3; domain++) {
        PyMem_GetAllocator(domain, &below[domain]);
        allocator pass = {&below[domain], pass_malloc, pass_calloc, pass_realloc, pass_free};
        PyMem_SetAllocator(domain, &pass);
    }
}

/* 16 to 512 bytes, 64 of them kept; all are freed at the end. */
void malloc_loop(long steps)
{
    void *kept[64] = {NULL};
    unsigned random = 12345;
    for (long i = 0; i < steps; i++) {
        random = random * 1103515245u + 12345u;
        free(kept[i & 63]);
        kept[i & 63] = malloc(16 + (random >> 16) % 497);
    }
    for (int i = 0; i < 64; i++) {
        free(kept[i]);
    }
}

static void *one_thread(void *steps)
{
    malloc_loop(*(long *)steps);
    return NULL;
}

void malloc_threads(long steps, int count)
{
    pthread_t threads[64];
    long each = steps / count;
    for (int i = 0; i < count && i < 64; i++) {
        pthread_create(&threads[i], NULL, one_thread, &each);
    }
    for (int i = 0; i < count && i < 64; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* Blocks that stay, of known sizes, for truth.py. Nobody keeps their addresses: that would be memory too. */
extern void *PyMem_RawMalloc(size_t) __attribute__((weak));
extern void *PyMem_Malloc(size_t) __attribute__((weak));
extern void *PyMem_Realloc(void *, size_t) __attribute__((weak));
extern void PyMem_Free(void *) __attribute__((weak));
extern void *PyObject_Malloc(size_t) __attribute__((weak));

static void *volatile gone;

static void *ask(int domain, size_t size)
{
    switch (domain) {
    case 0: return PyMem_RawMalloc(size);
    case 1: return PyMem_Malloc(size);
    case 2: return PyObject_Malloc(size);
    default: return malloc(size);
    }
}

void keep(int domain, long count, size_t size)
{
    for (long i = 0; i < count; i++) {
        gone = ask(domain, size);
    }
}

/* Sizes from 1 byte to 128 KiB, small ones more often. Returns their sum. */
long keep_mixed(int domain, long count)
{
    unsigned long random = 12345;
    long total = 0;
    for (long i = 0; i < count; i++) {
        random = random * 6364136223846793005ul + 1442695040888963407ul;
        long size = 1 + (long)((random >> 33) % (1ul << (1 + (random >> 20) % 17)));
        gone = ask(domain, (size_t)size);
        total += size;
    }
    return total;
}

/* Each grows from 100 bytes by half to so many. Returns what was asked for in all. */
long keep_grown(long count, size_t last)
{
    long total = 0;
    for (long i = 0; i < count; i++) {
        size_t size = 100;
        void *block = PyMem_Malloc(size);
        total += (long)size;
        while (size < last) {
            size = size + size / 2 < last ? size + size / 2 : last;
            block = PyMem_Realloc(block, size);
            total += (long)size;
        }
        gone = block;
    }
    return total;
}

/* One of ten stays. */
void keep_few(long count, size_t size)
{
    for (long i = 0; i < count; i++) {
        void *block = PyMem_Malloc(size);
        if (i % 10 != 0) {
            PyMem_Free(block);
        }
        gone = block;
    }
}
