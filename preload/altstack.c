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

static void remember_own(uintptr_t sp)
{
    struct mp_tls *tls = &mp_tls;
    uintptr_t low = sp & ~(PAGE - 1), high = low + PAGE;
    bool below = low < tls->own_low;
    uintptr_t gap_low = below ? low : tls->own_low, gap_high = below ? tls->own_high : high;
    bool apart = gap_high - gap_low > NEAR || (tls->alt_low < gap_high && tls->alt_high > gap_low);
    tls->own_low = apart ? low : gap_low;
    tls->own_high = apart ? high : gap_high;
}

/* Off the alternate stack that it had when the kernel was asked last, and where it was seen then. */
static bool is_known(uintptr_t sp)
{
    return sp >= mp_tls.own_low && sp < mp_tls.own_high && (sp < mp_tls.alt_low || sp >= mp_tls.alt_high);
}

__attribute__((noinline)) size_t mp_altstack_room(void)
{
    uintptr_t sp = (uintptr_t)__builtin_frame_address(0);
    if (MP_LIKELY(is_known(sp))) {
        return SIZE_MAX;
    }
    stack_t now = {.ss_flags = SS_DISABLE};
    mp_sys_call(SYS_sigaltstack, 0, (long)&now, 0, 0, 0, 0);
    bool none = (now.ss_flags & SS_DISABLE) != 0;
    mp_tls.alt_low = none ? 0 : (uintptr_t)now.ss_sp;
    mp_tls.alt_high = none ? 0 : (uintptr_t)now.ss_sp + now.ss_size;
    if (sp >= mp_tls.alt_low && sp < mp_tls.alt_high) {
        return sp - mp_tls.alt_low;
    }
    remember_own(sp);
    return SIZE_MAX;
}
