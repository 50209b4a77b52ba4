/* SPDX-License-Identifier: MIT
 * The hot path, whole: what an allocation and a watched free cost that are not sampled.
 *
 * An allocation: one subtraction in thread-local memory and one branch on its borrow. A free: the
 * filter's pointer, its mask, one byte, one branch. Anything that loops, locks or formats is elsewhere.
 *
 * Context: hook, any thread, any moment.
 */
#ifndef MP_CORE_HOT_H
#define MP_CORE_HOT_H

#include "core/live.h"
#include "core/tls.h"

/* Counts size bytes (0 as 1). True: the countdown ran out, call mp_sample_due(size). */
MP_INLINE bool mp_hot_count(size_t size)
{
#if defined(__x86_64__)
    /* The carry of "size < 1" is the byte that 0 counts as: two instructions, where C has none for it. */
    bool ran_out;
    __asm__("cmpq $1, %[size]\n\t"
            "sbbq %[size], %[left]"
            : [left] "+m"(mp_tls.left), "=@ccc"(ran_out)
            : [size] "r"(size));
    return MP_UNLIKELY(ran_out);
#else
    uint64_t bytes = (uint64_t)size + (size == 0);
    return MP_UNLIKELY(__builtin_sub_overflow(mp_tls.left, bytes, &mp_tls.left));
#endif
}

/* The same for a size that is known not to be 0. */
MP_INLINE bool mp_hot_count_some(size_t size)
{
#if defined(__x86_64__)
    bool ran_out;
    __asm__("subq %[size], %[left]"
            : [left] "+m"(mp_tls.left), "=@ccc"(ran_out)
            : [size] "r"(size));
    return MP_UNLIKELY(ran_out);
#else
    return MP_UNLIKELY(__builtin_sub_overflow(mp_tls.left, (uint64_t)size, &mp_tls.left));
#endif
}

/* False: surely no live sample. True: ask mp_sample_forget. */
MP_INLINE bool mp_hot_maybe_sampled(const void *block)
{
    const struct mp_filter *filter = __atomic_load_n(&mp_live_filter, __ATOMIC_ACQUIRE);
    uint64_t slot = mp_filter_slot((uintptr_t)block) & filter->mask;
#if defined(__x86_64__)
    /* A relaxed load, which the compiler would not compare in place. */
    bool some;
    __asm__ volatile("cmpb %[none], %[count]" : "=@ccnz"(some) : [count] "m"(filter->counts[slot]), [none] "i"((int8_t)MP_FILTER_NONE));
    return MP_UNLIKELY(some);
#else
    return MP_UNLIKELY(__atomic_load_n(&filter->counts[slot], __ATOMIC_RELAXED) != MP_FILTER_NONE);
#endif
}

/* Between these two nothing is counted: what is asked for below was counted above. */
MP_INLINE uint64_t mp_hot_mask(void)
{
    uint64_t left = mp_tls.left;
    mp_tls.left = MP_LEFT_NEVER;
    return left;
}

MP_INLINE bool mp_hot_masked(void)
{
    return mp_tls.left >= MP_LEFT_NEVER / 2;
}

MP_INLINE void mp_hot_unmask(uint64_t left)
{
    mp_tls.left = left;
}

#endif
