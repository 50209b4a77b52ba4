/* SPDX-License-Identifier: MIT
 * System calls without libc: see sys.h.
 *
 * Invariants: nothing here reads or writes thread-local storage or errno.
 * Context: hook, writer, signal handler.
 */
#include "core/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#if !defined(__x86_64__) && !defined(__aarch64__)
#error "mprofile knows how to enter the kernel on x86-64 and aarch64 only"
#endif

static atomic_size_t mapped;
static struct {
    uintptr_t start; /* atomic; 0: free */
    size_t size;
} maps[MP_SYS_MAPS];
static long fail_after = -1; /* tests only, single-threaded */

long mp_sys_call(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
#endif
}

static long call3(long number, long a, long b, long c)
{
    return mp_sys_call(number, a, b, c, 0, 0, 0);
}

static void remember(uintptr_t start, size_t size)
{
    for (uint32_t i = 0; i < MP_SYS_MAPS; i++) {
        uintptr_t none = 0;
        if (__atomic_load_n(&maps[i].start, __ATOMIC_RELAXED) == 0 &&
            __atomic_compare_exchange_n(&maps[i].start, &none, start, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            __atomic_store_n(&maps[i].size, size, __ATOMIC_RELEASE);
            return;
        }
    }
}

static void forget(uintptr_t start)
{
    for (uint32_t i = 0; i < MP_SYS_MAPS; i++) {
        if (__atomic_load_n(&maps[i].start, __ATOMIC_RELAXED) == start) {
            __atomic_store_n(&maps[i].size, 0, __ATOMIC_RELAXED);
            __atomic_store_n(&maps[i].start, 0, __ATOMIC_RELEASE);
            return;
        }
    }
}

uintptr_t mp_sys_mapped_at(uint32_t nth, size_t *ret_size)
{
    *ret_size = __atomic_load_n(&maps[nth].size, __ATOMIC_ACQUIRE);
    return __atomic_load_n(&maps[nth].start, __ATOMIC_RELAXED);
}

void *mp_sys_map(size_t size)
{
    if (fail_after == 0) {
        return NULL;
    }
    if (fail_after > 0) {
        fail_after--;
    }
    long result = mp_sys_call(SYS_mmap, 0, (long)size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (result < 0 && result > -4096) {
        return NULL;
    }
    atomic_fetch_add_explicit(&mapped, size, memory_order_relaxed);
    remember((uintptr_t)result, size);
    return (void *)result;
}

void mp_sys_unmap(void *memory, size_t size)
{
    if (memory == NULL) {
        return;
    }
    forget((uintptr_t)memory); /* before another thread of ours may be given the address */
    call3(SYS_munmap, (long)memory, (long)size, 0);
    atomic_fetch_sub_explicit(&mapped, size, memory_order_relaxed);
}

void mp_sys_discard(void *memory, size_t size)
{
    if (call3(SYS_madvise, (long)memory, (long)size, MADV_DONTNEED) == 0) {
        atomic_fetch_sub_explicit(&mapped, size, memory_order_relaxed);
    }
}

size_t mp_sys_mapped(void)
{
    return atomic_load_explicit(&mapped, memory_order_relaxed);
}

void mp_sys_map_fail_after(long successes)
{
    fail_after = successes;
}

static bool is_same_file(int fd, int other)
{
    struct stat one, two;
    return call3(SYS_fstat, fd, (long)&one, 0) == 0 && call3(SYS_fstat, other, (long)&two, 0) == 0 &&
           one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

/* A writer may share the program's descriptors, and a program that closes all it did not open gives the lowest numbers to what
 * it opens next: ours are above them. */
static int move_up(int fd)
{
    const int above = 1000; /* the usual limit is 1,024 */
    int high = (int)call3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, above);
    if (high < 0) {
        return fd; /* a lower limit, or none is left */
    }
    if (is_same_file(high, fd)) { /* else the program has closed ours, and this one is its own */
        mp_sys_close(fd);
    }
    return high;
}

int mp_sys_open(const char *path, int flags, int mode)
{
    int fd = (int)mp_sys_call(SYS_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC, mode, 0, 0);
    return fd < 0 ? fd : move_up(fd);
}

int mp_sys_close(int fd)
{
    return (int)call3(SYS_close, fd, 0, 0);
}

long mp_sys_read(int fd, void *buffer, size_t size)
{
    long got;
    do {
        got = call3(SYS_read, fd, (long)buffer, (long)size);
    } while (got == -EINTR);
    return got;
}

long mp_sys_write(int fd, const void *buffer, size_t size)
{
    long put;
    do {
        put = call3(SYS_write, fd, (long)buffer, (long)size);
    } while (put == -EINTR);
    return put;
}

int mp_sys_unlink(const char *path)
{
    return (int)call3(SYS_unlinkat, AT_FDCWD, (long)path, 0);
}

int mp_sys_rename_new(const char *from, const char *to)
{
    const unsigned no_replace = 1; /* RENAME_NOREPLACE */
    int result =
        (int)mp_sys_call(SYS_renameat2, AT_FDCWD, (long)from, AT_FDCWD, (long)to, no_replace, 0);
    if (result != -EINVAL && result != -ENOSYS) {
        return result;
    }
    /* A file system without the flag: a second link is refused where the name is taken. */
    result = (int)mp_sys_call(SYS_linkat, AT_FDCWD, (long)from, AT_FDCWD, (long)to, 0, 0);
    if (result == 0) {
        mp_sys_unlink(from);
    }
    return result;
}

long mp_sys_slurp(const char *path, void *buffer, size_t size)
{
    int fd = mp_sys_open(path, O_RDONLY, 0);
    if (fd < 0) {
        return fd;
    }
    size_t total = 0;
    long got = 0;
    while (total < size && (got = mp_sys_read(fd, (char *)buffer + total, size - total)) > 0) {
        total += (size_t)got;
    }
    mp_sys_close(fd);
    return got < 0 && total == 0 ? got : (long)total;
}

int mp_sys_getpid(void)
{
    return (int)call3(SYS_getpid, 0, 0, 0);
}

int mp_sys_gettid(void)
{
    return (int)call3(SYS_gettid, 0, 0, 0);
}

void mp_sys_futex_wait(uint32_t *word, uint32_t value, int timeout_ms)
{
    struct timespec limit = {.tv_sec = timeout_ms / 1000,
                             .tv_nsec = (long)(timeout_ms % 1000) * 1000000L};
    /* Not FUTEX_PRIVATE_FLAG: the kernel's wake at a thread's end (CLONE_CHILD_CLEARTID) is shared. */
    mp_sys_call(SYS_futex, (long)word, FUTEX_WAIT, (long)value,
                timeout_ms < 0 ? 0 : (long)&limit, 0, 0);
}

void mp_sys_futex_wake(uint32_t *word, int waiters)
{
    call3(SYS_futex, (long)word, FUTEX_WAKE, waiters);
}

void mp_sys_random(void *buffer, size_t size)
{
    const unsigned no_wait = 1; /* GRND_NONBLOCK: early at boot we take what there is */
    long got = call3(SYS_getrandom, (long)buffer, (long)size, no_wait);
    if (got == (long)size) {
        return;
    }
    /* No entropy to be had (an old kernel, a filter): time, process and address must do. */
    uint64_t x = mp_sys_realtime_ns() ^ ((uint64_t)mp_sys_gettid() << 32) ^ (uintptr_t)&buffer;
    for (size_t i = 0; i < size; i++) {
        x = (x ^ (x >> 29)) * 0xBF58476D1CE4E5B9ull + i;
        ((uint8_t *)buffer)[i] = (uint8_t)(x >> 40);
    }
}

static uint64_t clock_ns(long clock)
{
    struct timespec now = {0, 0};
    call3(SYS_clock_gettime, clock, (long)&now, 0);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

uint64_t mp_sys_monotonic_ms(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1000000ull;
}

uint64_t mp_sys_realtime_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

int mp_sys_peek(const void *address, void *buffer, size_t size)
{
    struct {
        void *base;
        size_t length;
    } local = {buffer, size}, remote = {(void *)(uintptr_t)address, size};
    long got = mp_sys_call(SYS_process_vm_readv, mp_sys_getpid(), (long)&local, 1, (long)&remote, 1, 0);
    if (got == (long)size) {
        return 0;
    }
    if (got != -ENOSYS && got != -EPERM) {
        return -EFAULT;
    }
    /* Forbidden by a container's filter. A write reads our memory as well, and says so without a
     * fault when it cannot. */
    int pipes[2];
    if (call3(SYS_pipe2, (long)pipes, O_CLOEXEC | O_NONBLOCK, 0) < 0) {
        return -EPERM;
    }
    int result = -EFAULT;
    if (size <= 4096 && mp_sys_write(pipes[1], address, size) == (long)size &&
        mp_sys_read(pipes[0], buffer, size) == (long)size) {
        result = 0;
    }
    mp_sys_close(pipes[0]);
    mp_sys_close(pipes[1]);
    return result;
}

bool mp_sys_can_peek(void)
{
    char here = 0, copy;
    return mp_sys_peek(&here, &copy, 1) == 0;
}
