/* SPDX-License-Identifier: MIT
 * How much room a signal handler's own stack has left: see altstack.h.
 *
 * The kernel is asked where the thread was not seen before; from then on it is known that it runs on no alternate stack between
 * the places where it was seen. What a program makes of an array on that very stack, after a sample deeper than it, is not noticed.
 *
 * Invariants: what is remembered is the thread's own (tls.h), and survives a fork as its stacks do.
 * Context: hook.
 */
#include "preload/altstack.h"

#include <signal.h>
#include <sys/syscall.h>

#include "core/sys.h"
#include "core/tls.h"

#define PAGE ((uintptr_t)4096)
#define NEAR ((uintptr_t)1 << 20) /* two places so close are on one stack, if no alternate one lies between */

static bool overlap(uintptr_t low, uintptr_t high, const stack_t *alternate)
{
    uintptr_t start = (uintptr_t)alternate->ss_sp;
    return (alternate->ss_flags & SS_DISABLE) == 0 && start < high && start + alternate->ss_size > low;
}

static void remember_own(uintptr_t sp, const stack_t *alternate)
{
    uintptr_t low = sp & ~(PAGE - 1), high = low + PAGE;
    if (overlap(low, high, alternate)) {
        return;
    }
    uintptr_t known_low = mp_pages_low(mp_tls.own), known_high = mp_pages_high(mp_tls.own);
    uintptr_t both_low = low < known_low ? low : known_low, both_high = high > known_high ? high : known_high;
    bool apart = both_high - both_low > NEAR || overlap(both_low, both_high, alternate);
    mp_tls.own = apart ? mp_pages_of(low, high) : mp_pages_of(both_low, both_high);
}

__attribute__((noinline)) size_t mp_altstack_room(void)
{
    uintptr_t sp = (uintptr_t)__builtin_frame_address(0);
    if (MP_LIKELY(sp >= mp_pages_low(mp_tls.own) && sp < mp_pages_high(mp_tls.own))) {
        return SIZE_MAX;
    }
    stack_t alternate = {.ss_flags = SS_DISABLE};
    mp_sys_call(SYS_sigaltstack, 0, (long)&alternate, 0, 0, 0, 0);
    if (overlap(sp, sp + 1, &alternate)) {
        return sp - (uintptr_t)alternate.ss_sp;
    }
    remember_own(sp, &alternate);
    return SIZE_MAX;
}
