/* SPDX-License-Identifier: MIT
 * What every test of core begins with: cmocka, a fixed stream of random numbers, the N-th mapping made to fail.
 */
#ifndef MP_TESTS_CORE_SUITE_H
#define MP_TESTS_CORE_SUITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/sys.h"

/* True in a build with a sanitizer, which maps memory of its own when it likes. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool suite_sanitized __attribute__((unused)) = true;
#else
static const bool suite_sanitized __attribute__((unused)) = false;
#endif

/* Not the generator under test: xorshift64* (S. Vigna 2016). state: not 0. */
static inline uint64_t suite_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1Dull;
}

static inline uint32_t suite_below(uint64_t *state, uint32_t limit)
{
    return (uint32_t)((suite_random(state) >> 32) * limit >> 32);
}

/* A test that made mappings fail leaves none failing behind, whatever its outcome. */
static inline int suite_memory_is_back(void **state)
{
    (void)state;
    mp_sys_map_fail_after(-1);
    return 0;
}

#endif
