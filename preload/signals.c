/* SPDX-License-Identifier: MIT
 * The dump signal: see signals.h.
 *
 * Invariants: the disposition in force is the slot of a ring that `version` counts to; a new one goes to the next slot, and
 * is counted when it is whole. Whoever copies one looks whether it was overtaken meanwhile by a whole ring.
 * Context: any thread; the handler is async-signal-safe.
 */
#include "preload/signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "core/base.h"
#include "core/lock.h"
#include "core/sys.h"
#include "preload/dump.h"
#include "preload/mark.h"
#include "preload/options.h"
#include "preload/process.h"
#include "preload/real.h"

#define RING 16

static int ours; /* 0: no signal is ours */
static struct sigaction ring[RING];
static uint64_t version; /* atomic; written with the lock held */
static struct mp_lock lock;

static bool is_handler(const struct sigaction *action)
{
    return action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN;
}

static void handle(int number, siginfo_t *info, void *context);

/* What the kernel is to have while the program wants `wish`. */
static struct sigaction kernel_action(const struct sigaction *wish)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    if (is_handler(wish)) {
        const unsigned theirs = SA_RESTART | SA_ONSTACK | SA_NODEFER | SA_NOCLDSTOP | SA_NOCLDWAIT;
        action.sa_flags = (int)((unsigned)SA_SIGINFO | ((unsigned)wish->sa_flags & theirs));
        action.sa_mask = wish->sa_mask;
    }
    return action;
}

static void publish_locked(const struct sigaction *wish)
{
    uint64_t next = version + 1;
    ring[next % RING] = *wish;
    __atomic_store_n(&version, next, __ATOMIC_RELEASE);
}

/* What the program wants now, and its version. */
static uint64_t read_wish(struct sigaction *ret_wish)
{
    for (;;) {
        uint64_t seen = __atomic_load_n(&version, __ATOMIC_ACQUIRE);
        *ret_wish = ring[seen % RING];
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&version, __ATOMIC_RELAXED) - seen < RING - 1) {
            return seen;
        }
    }
}

/* Signals are blocked while the lock is held: a handler may want it, too. */
static uint64_t enter(void)
{
    uint64_t all = UINT64_MAX, mask;
    mp_sys_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&mask, sizeof all, 0, 0);
    mp_lock_take(&lock);
    return mask;
}

static void leave(uint64_t mask)
{
    mp_lock_release(&lock);
    mp_sys_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, sizeof mask, 0, 0);
}

static int set_locked(int number, const struct sigaction *wish)
{
    struct sigaction kernel = kernel_action(wish);
    int result = mp_real_sigaction(number, &kernel, NULL);
    if (result == 0) {
        publish_locked(wish);
    }
    return result;
}

/* SA_RESETHAND: one signal has the handler, and what was set after it came stays. False: it was not there any more. */
static bool reset(int number, const struct sigaction *wish, uint64_t seen)
{
    struct sigaction fallback = *wish;
    fallback.sa_handler = SIG_DFL;
    uint64_t mask = enter();
    bool there = version == seen;
    if (there) {
        set_locked(number, &fallback);
    }
    leave(mask);
    return there;
}

static struct sigaction take_wish(int number)
{
    struct sigaction wish;
    uint64_t seen;
    do {
        seen = read_wish(&wish);
    } while (is_handler(&wish) && (unsigned)wish.sa_flags & SA_RESETHAND && !reset(number, &wish, seen));
    return wish;
}

static void handle(int number, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    mp_dump_request(MP_TRIGGER_SIGNAL);
    struct sigaction wish = take_wish(number);
    errno = saved_errno;
    if (!is_handler(&wish)) {
        return;
    }
    if (wish.sa_flags & SA_SIGINFO) {
        wish.sa_sigaction(number, info, context);
    } else {
        wish.sa_handler(number);
    }
}

void mp_signals_init(int number)
{
    struct sigaction before;
    if (number == 0 || mp_real_sigaction(number, NULL, &before) != 0) {
        return;
    }
    publish_locked(&before);
    struct sigaction action = kernel_action(&before);
    if (mp_real_sigaction(number, &action, NULL) == 0) {
        __atomic_store_n(&ours, number, __ATOMIC_RELEASE);
        mp_mark_listening(number, mp_options.out);
    }
}

static int virtual_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    uint64_t mask = enter();
    if (old != NULL) {
        *old = ring[version % RING];
    }
    int result = action != NULL ? set_locked(number, action) : 0;
    leave(mask);
    return result;
}

void mp_signals_fork_child(void)
{
    mp_lock_reset(&lock); /* another thread's, which is not here */
}

MP_EXPORT int sigaction(int number, const struct sigaction *restrict action, struct sigaction *restrict old)
{
    mp_process_look();
    if (MP_LIKELY(number != __atomic_load_n(&ours, __ATOMIC_ACQUIRE) || number == 0)) {
        return mp_real_sigaction(number, action, old);
    }
    struct sigaction wish, *copy = NULL;
    if (action != NULL) { /* the caller's two may be one */
        wish = *action;
        copy = &wish;
    }
    return virtual_sigaction(number, copy, old);
}

/* As glibc's: BSD semantics, whatever siginterrupt() said. */
MP_EXPORT sighandler_t signal(int number, sighandler_t handler)
{
    struct sigaction action, old;
    if (handler == SIG_ERR) {
        errno = EINVAL;
        return SIG_ERR;
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, number);
    return sigaction(number, &action, &old) < 0 ? SIG_ERR : old.sa_handler;
}
