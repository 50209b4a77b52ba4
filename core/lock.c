/* SPDX-License-Identifier: MIT
 * A futex lock in three states: see lock.h. The algorithm is "mutex2" of U. Drepper, "Futexes Are
 * Tricky" (2011), with a short spin before the first sleep. The spin reads and does not try: a try takes the
 * cache line away from the holder, who needs it to release.
 *
 * Context: hook, writer.
 */
#include "core/lock.h"

#include "core/sys.h"

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

void mp_lock_take(struct mp_lock *lock)
{
    for (int spins = 0; spins < 100; spins++) {
        uint32_t seen = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);
        if (seen == 0 &&
            __atomic_compare_exchange_n(&lock->word, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            return;
        }
        relax();
    }
    while (__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE) != 0) {
        mp_sys_futex_wait(&lock->word, 2, -1);
    }
}

void mp_lock_release(struct mp_lock *lock)
{
    if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) == 2) {
        mp_sys_futex_wake(&lock->word, 1);
    }
}

void mp_lock_reset(struct mp_lock *lock)
{
    __atomic_store_n(&lock->word, 0, __ATOMIC_RELEASE);
}
