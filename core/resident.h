/* SPDX-License-Identifier: MIT
 * What of a range of addresses is resident, by the kernel's table of this process's pages (/proc/self/pagemap).
 *
 * A large block is live from its first byte to its last, but has memory only where somebody wrote: numpy.zeros, a buffer that is never filled, a stack.
 * Whether a page is another process's too is said, but not by how many.
 *
 * Context: writer. Nothing of the range is read; no lock is held; addresses that are not mapped (any more) have nothing.
 */
#ifndef MP_CORE_RESIDENT_H
#define MP_CORE_RESIDENT_H

#include "core/base.h"

/* Bytes, whole pages. The size of a process counts `own` and `copied`; as shared memory it counts `shared`. */
struct mp_resident {
    uint64_t own;    /* of this process alone */
    uint64_t copied; /* shared with others since a fork, until somebody writes; or pages of zeroes that were only read, which are no memory at all */
    uint64_t shared; /* of shared mappings and files */
};

/* So many pages are asked for between begin and end: 64 GiB, two seconds at most. */
#define MP_RESIDENT_PAGES ((uint64_t)16 << 20)

/* False where the kernel does not tell; then mp_resident_end need not be called. */
bool mp_resident_begin(void);
/* From low to below high, widened to whole pages. False: not known, or enough was asked. */
bool mp_resident_ask(uint64_t low, uint64_t high, struct mp_resident *ret);
/* The same, of this process's size: own and copied. 0 where it is not known. */
uint64_t mp_resident_bytes(uint64_t low, uint64_t high);
void mp_resident_end(void);

#endif
