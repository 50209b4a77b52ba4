/* SPDX-License-Identifier: MIT
 * The words that every room uses: branch hints, domains, errors.
 *
 * Context: any.
 */
#ifndef MP_CORE_BASE_H
#define MP_CORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


#define MP_LIKELY(x) __builtin_expect(!!(x), 1)
#define MP_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define MP_COLD __attribute__((noinline, cold))
#define MP_INLINE static inline __attribute__((always_inline))
#define MP_EXPORT __attribute__((visibility("default")))
#define MP_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Who asked for a block. The numbers are those of the file (FORMAT.md, SITE). */
enum mp_domain {
    MP_DOMAIN_RAW,
    MP_DOMAIN_MEM,
    MP_DOMAIN_OBJ,
    MP_DOMAIN_MALLOC,
    MP_DOMAIN_MMAP,
    MP_DOMAIN_COUNT,
};

enum mp_err {
    MP_OK = 0,
    MP_ERR_MEMORY = -1, /* the system refused us memory */
    MP_ERR_SYSTEM = -2, /* a system call failed; the caller was given its errno */
    MP_ERR_FULL = -3,   /* a table reached its largest size, or a text its buffer */
    MP_ERR_VALUE = -4,  /* an argument or option that makes no sense */
};

#endif
