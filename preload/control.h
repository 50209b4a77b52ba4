/* SPDX-License-Identifier: MIT
 * What `import mprofile` asks of the library, through ctypes: the exported mprofile_* functions.
 *
 * One library serves both ways in: preloaded, it profiles from the first allocation and these functions steer it; loaded by the
 * package into a running interpreter, mprofile_attach hooks that interpreter's allocators, and memory that C code takes by
 * itself is not seen. All figures are estimates, as in a snapshot; a snapshot asked for here is the same file that a signal writes.
 *
 * Threads: any. Functions marked GIL are called with it (ctypes.PyDLL), where there is one; the others are better called without
 * (ctypes.CDLL), for they may take a second. None may be called from a signal handler. Errors are positive errno values.
 */
#ifndef MP_PRELOAD_CONTROL_H
#define MP_PRELOAD_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#define MP_INTERFACE 1
#define MP_CONTROL_RATE_OFF UINT64_MAX

/* MP_INTERFACE: package and library belong together. */
uint32_t mprofile_interface(void);

/* GIL. Makes sure that this interpreter's allocators are hooked: NULL, or why they are not, one line. Records nothing yet where it
 * was not preloaded. Puts hooks back on top that another tracer took away when it stopped. Cheap when repeated. */
const char *mprofile_attach(void);
/* GIL, attached. Begins to record as MPROFILERATE says, where nothing is recorded; for a program that is profiled because it was asked to by its
 * environment. */
int mprofile_begin(void);

/* Mean bytes between samples: 0 and 1 are every allocation; MP_CONTROL_RATE_OFF: nothing is recorded. */
uint64_t mprofile_rate(void);
/* GIL. Takes effect at once in the calling thread, in others within their next 64 KiB of requests (1 KiB when nothing was recorded before).
 * What is recorded stays recorded. ENOSPC after 256 different rates in a process. */
int mprofile_set_rate(uint64_t rate);
/* GIL. Most frames kept of a stack from now on: 1 to 65535, else EINVAL; ENOMEM. */
int mprofile_set_frames(uint32_t frames);
uint32_t mprofile_frames(void);
/* Forgets all live samples and all sums; the peak is 0. */
void mprofile_clear(void);

/* Estimated bytes: alive now, and the most since the beginning, or since mprofile_clear or mprofile_reset_peak. */
void mprofile_traced(uint64_t *ret_current, uint64_t *ret_peak);
void mprofile_reset_peak(void);
/* Bytes of the profiler itself. */
uint64_t mprofile_own_bytes(void);

/* The stack of the live sample that begins at address. Returns the bytes that the answer takes, and writes them where they are not
 * more than size; 0: there is no such sample. The answer: u64 size of the block; u32 frames there were; u32 frames that follow,
 * nearest first, each: u32 line, u32 first line of the function, file name and function name, UTF-8, zero-terminated. */
size_t mprofile_traceback(uint64_t address, char *buffer, size_t size);

/* Writes a snapshot to an open descriptor, from where it stands. */
int mprofile_dump_fd(int fd);
/* Writes a snapshot file: NULL: where MPROFILEOUT says; else under this name, or, where that is taken, with .2, .3 … before its extension.
 * Its path, with the zero, goes to ret_path; ERANGE where that is too small (the file is there). */
int mprofile_dump(const char *path, char *ret_path, size_t size);

/* Not exported. In the child of a fork. */
void mp_control_fork_child(void);

#endif
