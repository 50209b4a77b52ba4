/* SPDX-License-Identifier: MIT
 * The system calls that the core makes, without libc.
 *
 * The writer runs on a thread that libc does not know (no thread control block, so no errno), and a
 * hook must not change errno: both therefore enter the kernel themselves. Results are the
 * kernel's: negative errno on failure.
 *
 * Context: hook, writer, signal handler.
 */
#ifndef MP_CORE_SYS_H
#define MP_CORE_SYS_H

#include <stddef.h>
#include <stdint.h>

#include "core/base.h"

long mp_sys_call(long number, long a, long b, long c, long d, long e, long f);

/* Anonymous private memory, zeroed; NULL where there is none. Counted in mp_sys_mapped(). */
void *mp_sys_map(size_t size);
void mp_sys_unmap(void *memory, size_t size);
/* Gives back what such memory takes; its addresses stay ours for ever and read as zero from now on. */
void mp_sys_discard(void *memory, size_t size);
/* Bytes mapped by mp_sys_map and not given back. */
size_t mp_sys_mapped(void);
/* The nth of the first MP_SYS_MAPS that are there now: where it begins, and *ret_size; 0: none in this place. */
#define MP_SYS_MAPS 512u
uintptr_t mp_sys_mapped_at(uint32_t nth, size_t *ret_size);
/* For tests: the next `successes` mappings succeed, all later ones fail; negative: none fails. */
void mp_sys_map_fail_after(long successes);

/* The descriptor is 1000 or above, where the limit allows it. */
int mp_sys_open(const char *path, int flags, int mode);
int mp_sys_close(int fd);
long mp_sys_read(int fd, void *buffer, size_t size);
long mp_sys_write(int fd, const void *buffer, size_t size);
int mp_sys_unlink(const char *path);
/* Renames without replacing: -EEXIST where `to` is there. */
int mp_sys_rename_new(const char *from, const char *to);
/* The whole of a small file (as in /proc), at most size bytes: bytes read, or negative errno. */
long mp_sys_slurp(const char *path, void *buffer, size_t size);

int mp_sys_getpid(void);
int mp_sys_gettid(void);
/* Sleeps while *word == value, at most timeout_ms (negative: no limit). */
void mp_sys_futex_wait(uint32_t *word, uint32_t value, int timeout_ms);
void mp_sys_futex_wake(uint32_t *word, int waiters);
void mp_sys_random(void *buffer, size_t size);
/* Milliseconds of CLOCK_MONOTONIC; nanoseconds since 1970. */
uint64_t mp_sys_monotonic_ms(void);
uint64_t mp_sys_realtime_ns(void);
/* Copies size bytes at address of this process: 0, or -EFAULT where they are not all readable, or -EPERM where there is no way to
 * tell: process_vm_readv is forbidden, and pipes as well. */
int mp_sys_peek(const void *address, void *buffer, size_t size);
/* Whether there is a way to tell. */
bool mp_sys_can_peek(void);

#endif
