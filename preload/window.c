/* SPDX-License-Identifier: MIT
 * What of a thread's stack can be read: see window.h.
 *
 * Context: hook.
 */
#include "preload/window.h"

#include <errno.h>
#include <sys/syscall.h>

#include "core/sys.h"
#include "core/tls.h"

#define PAGE ((uintptr_t)4096)
#define PROBED 16
#define PROOFS_MAX 64 /* 4 MB */

/* How many pages from this one on can be read, at most PROBED. */
static uintptr_t probe(uintptr_t page, bool *ret_refused)
{
    struct {
        uintptr_t base, size;
    } remote[PROBED], local;
    char bytes[PROBED];
    for (uintptr_t i = 0; i < PROBED; i++) {
        remote[i].base = page + i * PAGE;
        remote[i].size = 1;
    }
    local.base = (uintptr_t)bytes;
    local.size = sizeof bytes;
    long got = mp_sys_call(SYS_process_vm_readv, mp_sys_getpid(), (long)&local, 1, (long)remote, PROBED, 0);
    if (got == -ENOSYS || got == -EPERM) { /* forbidden by a container: the slow way, page by page */
        int result = mp_sys_peek((const void *)page, bytes, 1);
        *ret_refused = *ret_refused || result == -EPERM;
        got = result == 0;
    }
    return got > 0 ? (uintptr_t)got : 0;
}

/* Behind the last page of the calling thread's own stack: libc has the thread's variables there, the kernel the first thread's
 * arguments. */
static uintptr_t stack_end(uintptr_t sp)
{
    extern void *__libc_stack_end __attribute__((weak));
    uintptr_t variables = ((uintptr_t)&mp_tls & ~(PAGE - 1)) + PAGE;
    uintptr_t arguments = &__libc_stack_end != NULL ? ((uintptr_t)__libc_stack_end & ~(PAGE - 1)) + PAGE : 0;
    bool by_variables = variables > sp && (arguments <= sp || variables < arguments);
    return by_variables ? variables : arguments > sp ? arguments : 0;
}

/* A thread's own stack stays where it is as long as the thread lives, so what was proven of it once is remembered: that
 * there is no gap from here to the stack's end, which tells it from the stacks that programs make for coroutines. */
struct mp_window mp_window_begin(uintptr_t sp)
{
    uintptr_t page = sp & ~(PAGE - 1);
    uintptr_t proven_low = mp_pages_low(mp_tls.proven), proven_high = mp_pages_high(mp_tls.proven);
    if (MP_LIKELY(sp >= proven_low && sp < proven_high)) {
        return (struct mp_window){page, proven_high, false};
    }
    uintptr_t end = stack_end(sp), reached = page + PAGE;
    bool refused = false;
    /* Deeper than before: the rest is known. */
    uintptr_t goal = sp < proven_low ? proven_low : end;
    for (int i = 0; i < PROOFS_MAX && end != 0 && reached < goal; i++) {
        uintptr_t pages = probe(reached, &refused);
        reached += pages * PAGE;
        if (pages < PROBED && reached < goal) {
            break;
        }
    }
    if (end != 0 && reached >= goal) {
        mp_tls.proven = mp_pages_of(page, end);
        reached = reached > end ? reached : end;
    }
    return (struct mp_window){page, reached, refused};
}

bool mp_window_reaches(struct mp_window *window, uintptr_t address)
{
    if (MP_LIKELY(address >= window->low && address + 8 <= window->high)) {
        return true;
    }
    if (address < window->low || address - window->high >= PROBED * PAGE) { /* another stack */
        window->low = window->high = address & ~(PAGE - 1);
    }
    window->high += probe(window->high, &window->refused) * PAGE;
    return address >= window->low && address + 8 <= window->high;
}
