/* SPDX-License-Identifier: MIT
 * Starts the writer: see dump.h.
 *
 * The writer's thread comes from a raw clone: libc does not know it, so it may not use anything of
 * libc that needs a thread. It shares memory, not descriptors: it closes its copies of the program's, so that it keeps no
 * pipe of the program open, and nothing that the program opens can come under a number it writes to.
 *
 * Invariants: `tid` is 0 when there is no writer and its stack is free: the kernel clears it when the thread is gone, not
 * when it is about to go (CLONE_CHILD_CLEARTID). A request sets `wanted` before it looks at `phase`; the writer sets
 * `phase` before it looks at `wanted` a last time: one of them sees the other.
 * Context: signal handler, writer, fork handlers.
 */
#include "preload/dump.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#include "core/sys.h"
#include "core/tls.h"

#define STACK_SIZE (64 * 1024)
#define CLAIMED UINT32_MAX
#define FORK_WAIT_MS 10000
#define EXIT_WAIT_MS 10000
/* CPython counts threads just after a fork returns; until then a request is served on its own thread. */
#define AFTER_FORK_MS 20

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum phase { PHASE_RUNNING, PHASE_CLOSING };

static uint32_t tid;    /* futex word; see above */
static uint32_t phase;  /* enum phase of the writer */
static uint32_t wanted; /* bits: 1 << enum mp_trigger */
static uint32_t wanted_newborn; /* the same, of a child that fork has not returned to yet */
static int thread;      /* the last writer's thread; it may be gone */
static uint32_t forks;  /* in progress: several threads may fork at once */
static uint32_t ends;   /* of the process, in progress */
static bool closed;     /* the process ends */
static int pid;
static uint64_t forked_ms;

static char stack[STACK_SIZE] __attribute__((aligned(64)));
/* The thread pointer of the writer points into this: stray reads find zeros. */
static char thread_block[8192] __attribute__((aligned(64)));

static uint32_t load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static bool is_held(void)
{
    return load(&forks) != 0 || load(&ends) != 0;
}

static void add(uint32_t *word, int change)
{
    __atomic_fetch_add(word, (uint32_t)change, __ATOMIC_SEQ_CST);
}

void mp_dump_init(void)
{
    pid = mp_sys_getpid();
    char *pointer = thread_block + sizeof thread_block / 2;
    *(char **)(void *)pointer = pointer; /* x86-64: the block begins with its own address */
    ((char **)(void *)pointer)[2] = pointer;
}

bool mp_dump_is_our_process(void)
{
    return mp_sys_getpid() == pid;
}

static void serve_once(void)
{
    __atomic_store_n(&phase, PHASE_RUNNING, __ATOMIC_SEQ_CST);
    uint32_t triggers = __atomic_exchange_n(&wanted, 0, __ATOMIC_SEQ_CST);
    for (int trigger = 0; triggers >> trigger != 0; trigger++) {
        if (triggers >> trigger & 1) {
            mp_writer_write((enum mp_trigger)trigger);
        }
    }
    __atomic_store_n(&phase, PHASE_CLOSING, __ATOMIC_SEQ_CST);
}

/* Writes what is wanted until nothing is, or a fork or the process's end waits for us. */
static void serve(void)
{
    do {
        serve_once();
    } while (load(&wanted) != 0 && !is_held());
}

/* Before Linux 5.9: one by one, as far as the limit goes. */
static void close_each(void)
{
    struct rlimit limit = {1024, 1024};
    mp_sys_call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit, 0, 0);
    int end = limit.rlim_cur < 65536 ? (int)limit.rlim_cur : 65536;
    for (int fd = 0; fd < end; fd++) {
        if (fd != 2) {
            mp_sys_close(fd);
        }
    }
}

static __attribute__((noreturn, used)) void writer_main(void)
{
    if (mp_sys_call(SYS_close_range, 3, UINT32_MAX, 0, 0, 0, 0) == 0) {
        mp_sys_call(SYS_close_range, 0, 1, 0, 0, 0, 0);
    } else {
        close_each();
    }
    mp_sys_call(SYS_prctl, PR_SET_NAME, (long)"mprofile-writer", 0, 0, 0, 0);
    serve();
    for (;;) {
        mp_sys_call(SYS_exit, 0, 0, 0, 0, 0, 0);
    }
}

/* A thread on our stack that runs writer_main: its id, or negative errno. */
static long spawn(void)
{
    const unsigned long flags = CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                                CLONE_SETTLS | CLONE_CHILD_CLEARTID;
    char *top = stack + sizeof stack;
    char *pointer = thread_block + sizeof thread_block / 2;
    long result;
#if defined(__x86_64__)
    register long r10 __asm__("r10") = (long)&tid;
    register long r8 __asm__("r8") = (long)pointer;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "call *%[entry]\n\t"
                     "1:"
                     : "=a"(result)
                     : "a"(SYS_clone), "D"(flags), "S"(top), "d"(0), "r"(r10), "r"(r8),
                       [entry] "r"(writer_main)
                     : "rcx", "r11", "memory");
#else
    register long x8 __asm__("x8") = SYS_clone;
    register long x0 __asm__("x0") = (long)flags;
    register long x1 __asm__("x1") = (long)top;
    register long x2 __asm__("x2") = 0;
    register long x3 __asm__("x3") = (long)pointer;
    register long x4 __asm__("x4") = (long)&tid;
    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "blr %[entry]\n\t"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), [entry] "r"(writer_main)
                     : "x30", "memory");
    result = x0;
#endif
    if (result > 0) {
        thread = (int)result;
    }
    return result;
}

/* The kernel clears `tid` a moment before it takes the thread out of the process's count, which CPython reads. */
static void wait_until_uncounted(void)
{
    for (int tries = 0; tries < 1000 && thread != 0; tries++) {
        if (mp_sys_call(SYS_tgkill, pid, thread, 0, 0, 0, 0) != 0) {
            thread = 0;
        } else {
            uint32_t never = 0;
            mp_sys_futex_wait(&never, 0, tries < 20 ? 0 : 1);
        }
    }
}

static void block_signals(uint64_t *ret_old)
{
    uint64_t all = UINT64_MAX;
    mp_sys_call(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, (long)&all, (long)ret_old, sizeof all, 0, 0);
}

static void restore_signals(uint64_t old)
{
    mp_sys_call(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, (long)&old, 0, sizeof old, 0, 0);
}

static void release_claim(void)
{
    __atomic_store_n(&tid, 0, __ATOMIC_SEQ_CST);
    mp_sys_futex_wake(&tid, INT32_MAX);
}

/* The stack of the writer is free while the claim is ours; the calling thread's may be a signal's, of three kilobytes. */
static void serve_once_on_own_stack(void)
{
    char *top = stack + sizeof stack;
#if defined(__x86_64__)
    __asm__ volatile("movq %%rsp, %%rbx\n\t"
                     "movq %[top], %%rsp\n\t"
                     "call *%[entry]\n\t"
                     "movq %%rbx, %%rsp"
                     :
                     : [top] "r"(top), [entry] "r"(serve_once)
                     : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3",
                       "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                       "xmm15", "cc", "memory");
#else
    __asm__ volatile("mov x19, sp\n\t"
                     "mov sp, %[top]\n\t"
                     "blr %[entry]\n\t"
                     "mov sp, x19"
                     :
                     : [top] "r"(top), [entry] "r"(serve_once)
                     : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
                       "x15", "x16", "x17", "x18", "x19", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16",
                       "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30",
                       "v31", "cc", "memory");
#endif
}

/* On the calling thread. The profile's lock may be this thread's own if it was interrupted inside: then on the way out. */
static void serve_here(void)
{
    if (mp_tls.inside) {
        mp_tls.dump_after = true;
    } else {
        serve_once_on_own_stack(); /* the program waits: what is wanted meanwhile is served after the next sample (mp_dump_pending) */
        /* A file that met RLIMIT_FSIZE left the signal of it pending here: it was meant for us. */
        const uint64_t too_large = (uint64_t)1 << (SIGXFSZ - 1);
        const struct timespec at_once = {0, 0};
        mp_sys_call(SYS_rt_sigtimedwait, (long)&too_large, 0, (long)&at_once, sizeof too_large, 0, 0);
    }
    release_claim();
}

/* True: the claim is ours. False: somebody else serves what is wanted. A fork first counts itself and then waits for who has
 * the claim; here it is the other way round, so that no writer waits for the lock that a fork holds. */
static bool claim(bool at_end)
{
    for (;;) {
        uint32_t seen = 0;
        if (__atomic_compare_exchange_n(&tid, &seen, CLAIMED, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            if (load(&forks) == 0 && (at_end || load(&ends) == 0)) {
                return true;
            }
            release_claim();
            return false;
        }
        if (load(&phase) == PHASE_RUNNING || load(&wanted) == 0 || is_held()) {
            return false;
        }
        mp_sys_futex_wait(&tid, seen, 10); /* it is on its way out */
    }
}

enum place { ON_A_THREAD, HERE, HERE_AT_END };

static void start(enum place place)
{
    uint64_t old;
    block_signals(&old);
    if (claim(place == HERE_AT_END)) {
        __atomic_store_n(&phase, PHASE_RUNNING, __ATOMIC_SEQ_CST);
        if (place != ON_A_THREAD || mp_sys_monotonic_ms() - forked_ms < AFTER_FORK_MS || spawn() < 0) {
            serve_here();
        }
    }
    restore_signals(old);
}

void mp_dump_request(enum mp_trigger trigger)
{
    if (closed) {
        return;
    }
    if (!mp_dump_is_our_process()) {
        if (is_held()) { /* a signal met the child before its fork handlers have run */
            __atomic_fetch_or(&wanted_newborn, 1u << trigger, __ATOMIC_SEQ_CST);
        }
        return;
    }
    __atomic_fetch_or(&wanted, 1u << trigger, __ATOMIC_SEQ_CST);
    if (!is_held()) {
        start(ON_A_THREAD);
    }
}

void mp_dump_now(enum mp_trigger trigger)
{
    if (closed || !mp_dump_is_our_process()) {
        return;
    }
    const uint32_t bit = 1u << trigger;
    add(&ends, 1); /* else signals that keep coming would keep it going */
    mp_dump_wait(EXIT_WAIT_MS);
    __atomic_fetch_or(&wanted, bit, __ATOMIC_SEQ_CST);
    start(HERE_AT_END);
    for (int tries = 0; tries < EXIT_WAIT_MS && (load(&wanted) & bit) != 0; tries++) { /* another thread forks */
        uint32_t never = 0;
        mp_sys_futex_wait(&never, 0, 1); /* a millisecond */
        start(HERE_AT_END);
    }
    add(&ends, -1);
}

static bool claim_at_rest(void)
{
    uint32_t seen = 0;
    if (is_held() || !__atomic_compare_exchange_n(&tid, &seen, CLAIMED, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        return false;
    }
    if (is_held()) {
        release_claim();
        return false;
    }
    return true;
}

int mp_dump_by(int (*write)(void *what), void *what)
{
    uint64_t old;
    if (closed || !mp_dump_is_our_process()) {
        return ECANCELED;
    }
    block_signals(&old); /* a handler that forks would wait for us */
    while (!claim_at_rest()) {
        if (closed) {
            restore_signals(old);
            return ECANCELED;
        }
        uint32_t never = 0;
        mp_sys_futex_wait(&never, 0, 1); /* a millisecond */
    }
    int result = write(what);
    __atomic_store_n(&phase, PHASE_CLOSING, __ATOMIC_SEQ_CST);
    release_claim();
    restore_signals(old);
    mp_dump_pending(); /* what was asked for meanwhile */
    return result;
}

void mp_dump_pending(void)
{
    if (MP_UNLIKELY(load(&wanted) != 0) && !closed && !is_held()) {
        start(ON_A_THREAD);
    }
}

void mp_dump_wait(int timeout_ms)
{
    uint64_t end = mp_sys_monotonic_ms() + (uint64_t)timeout_ms;
    for (;;) {
        uint32_t seen = load(&tid);
        uint64_t now = mp_sys_monotonic_ms();
        if (seen == 0 || now >= end) {
            return;
        }
        mp_sys_futex_wait(&tid, seen, end - now < 5 ? (int)(end - now) : 5); /* at a thread's end the kernel wakes one of us */
    }
}

void mp_dump_close(void)
{
    if (!mp_dump_is_our_process()) {
        return;
    }
    closed = true;
    add(&ends, 1);
    mp_dump_wait(EXIT_WAIT_MS);
}

void mp_dump_fork_prepare(void)
{
    add(&forks, 1);
    mp_dump_wait(FORK_WAIT_MS);
    wait_until_uncounted();
}

void mp_dump_fork_parent(void)
{
    forked_ms = mp_sys_monotonic_ms();
    add(&forks, -1);
    if (load(&wanted) != 0 && !is_held()) { /* another thread that forks starts it when it is done */
        start(HERE);
    }
}

void mp_dump_fork_child(void)
{
    pid = mp_sys_getpid();
    wanted = wanted_newborn; /* what the parent wants, the parent gets */
    wanted_newborn = 0;
    tid = 0;
    forked_ms = mp_sys_monotonic_ms();
    mp_writer_forked();
    __atomic_store_n(&forks, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&ends, 0, __ATOMIC_SEQ_CST); /* it is the parent that ends, on another thread */
    closed = false;
    if (wanted != 0) {
        start(HERE);
    }
}
