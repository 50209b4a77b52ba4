/* SPDX-License-Identifier: MIT
 * The system calls: memory that is counted and made to fail, files, renaming that replaces nothing, reading memory that may not
 * be there; errors are returned, errno is left alone.
 */
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/mprofile-test-sys.XXXXXX";

static int fresh(void **state)
{
    (void)state;
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int done(void **state)
{
    rmdir(folder);
    return suite_memory_is_back(state);
}

static const char *in_folder(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void memory_is_zero_and_counted(void **state)
{
    (void)state;
    size_t before = mp_sys_mapped();
    char *memory = mp_sys_map(100000);
    assert_non_null(memory);
    assert_int_equal(mp_sys_mapped(), before + 100000);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(memory[i], 0);
    }
    mp_sys_unmap(memory, 100000);
    mp_sys_unmap(NULL, 5);
    assert_int_equal(mp_sys_mapped(), before);
    assert_null(mp_sys_map(SIZE_MAX / 2)); /* the kernel's own refusal */
    assert_int_equal(mp_sys_mapped(), before);
    mp_sys_map_fail_after(2);
    void *first = mp_sys_map(10), *second = mp_sys_map(10);
    assert_true(first != NULL && second != NULL);
    assert_null(mp_sys_map(10));
    assert_null(mp_sys_map(10));
    mp_sys_map_fail_after(-1);
    mp_sys_unmap(first, 10);
    mp_sys_unmap(second, 10);
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    char buffer[8];
    errno = 4321;
    assert_int_equal(mp_sys_open(in_folder("none"), O_RDONLY, 0), -ENOENT);
    assert_int_equal(mp_sys_close(-1), -EBADF);
    assert_int_equal(mp_sys_read(-1, buffer, 1), -EBADF);
    assert_int_equal(mp_sys_write(-1, buffer, 1), -EBADF);
    assert_int_equal(mp_sys_unlink(in_folder("none")), -ENOENT);
    assert_int_equal(mp_sys_slurp(in_folder("none"), buffer, 8), -ENOENT);
    assert_int_equal(mp_sys_rename_new(in_folder("none"), in_folder("other")), -ENOENT);
    assert_int_equal(errno, 4321);
}

static void write_file(const char *path, const char *text)
{
    int fd = mp_sys_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(mp_sys_write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(mp_sys_close(fd), 0);
}

static void renaming_replaces_nothing(void **state)
{
    (void)state;
    char text[16] = {0};
    write_file(in_folder("a"), "first");
    write_file(in_folder("b"), "second");
    assert_int_equal(mp_sys_rename_new(in_folder("a"), in_folder("b")), -EEXIST);
    assert_int_equal(mp_sys_slurp(in_folder("b"), text, sizeof text), 6);
    assert_string_equal(text, "second");
    assert_int_equal(symlink("nowhere", in_folder("dangling")), 0);
    assert_int_equal(mp_sys_rename_new(in_folder("a"), in_folder("dangling")), -EEXIST);
    assert_int_equal(mp_sys_rename_new(in_folder("a"), in_folder("c")), 0);
    assert_int_equal(access(in_folder("a"), F_OK), -1);
    assert_int_equal(mp_sys_slurp(in_folder("c"), text, 3), 3); /* as much as there is room for */
    assert_memory_equal(text, "fir", 3);
    assert_int_equal(mp_sys_unlink(in_folder("b")), 0);
    assert_int_equal(mp_sys_unlink(in_folder("c")), 0);
    assert_int_equal(mp_sys_unlink(in_folder("dangling")), 0);
}

static void peeking_never_faults(void **state)
{
    (void)state;
    char buffer[64] = {0};
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    memset(pages, 'p', 3 * page);
    munmap(pages + page, page);
    mprotect(pages + 2 * page, page, PROT_NONE);
    assert_int_equal(mp_sys_peek(pages + page - 64, buffer, 64), 0);
    assert_int_equal(buffer[63], 'p');
    assert_true(mp_sys_peek(pages + page - 63, buffer, 64) < 0);
    assert_true(mp_sys_peek(pages + page, buffer, 1) < 0);
    assert_true(mp_sys_peek(pages + 2 * page, buffer, 1) < 0);
    assert_true(mp_sys_peek(NULL, buffer, 8) < 0);
    assert_true(mp_sys_peek((void *)(UINTPTR_MAX - 7), buffer, 8) < 0);
    munmap(pages, page);
    munmap(pages + 2 * page, page);
}

/* From now on this system call of this process fails. False where filters are forbidden. */
static bool refuse(int number, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* The ways that are left on an old kernel and in a container. Returns the exit status: 0, or where it went wrong. */
static int without_the_new_calls(void)
{
    char buffer[64] = {0}, other[64];
    if (!refuse(SYS_process_vm_readv, EPERM) || !refuse(SYS_renameat2, EINVAL) || !refuse(SYS_getrandom, ENOSYS)) {
        return 77;
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(pages, 'p', 2 * page);
    munmap(pages + page, page);
    int before = dup(0);
    close(before);
    if (mp_sys_peek(pages + page - 64, buffer, 64) != 0 || buffer[63] != 'p') {
        return 1;
    }
    if (mp_sys_peek(pages + page - 63, buffer, 64) != -EFAULT || mp_sys_peek(pages + page, buffer, 1) >= 0 ||
        mp_sys_peek(NULL, buffer, 8) >= 0) {
        return 2;
    }
    int after = dup(0);
    if (after != before) {
        return 3;
    }
    mp_sys_random(buffer, sizeof buffer);
    mp_sys_random(other, sizeof other);
    if (memcmp(buffer, other, sizeof other) == 0) {
        return 4;
    }
    write_file(in_folder("a"), "first");
    write_file(in_folder("b"), "second");
    if (mp_sys_rename_new(in_folder("a"), in_folder("b")) != -EEXIST || access(in_folder("a"), F_OK) != 0) {
        return 5;
    }
    if (mp_sys_rename_new(in_folder("a"), in_folder("c")) != 0 || access(in_folder("a"), F_OK) == 0) {
        return 6;
    }
    if (mp_sys_unlink(in_folder("b")) != 0 || mp_sys_unlink(in_folder("c")) != 0) {
        return 7;
    }
    return refuse(SYS_pipe2, EPERM) && mp_sys_peek(pages, buffer, 8) != -EPERM ? 8 : 0;
}

static void old_kernels_and_containers(void **state)
{
    (void)state;
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(without_the_new_calls());
    }
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        skip();
    }
    assert_int_equal(status, 0);
}

static void the_process_and_its_clocks(void **state)
{
    (void)state;
    uint64_t a[4] = {0}, b[4] = {0};
    assert_int_equal(mp_sys_getpid(), getpid());
    assert_int_equal(mp_sys_gettid(), gettid());
    mp_sys_random(a, sizeof a);
    mp_sys_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    time_t now = time(NULL);
    assert_in_range(mp_sys_realtime_ns() / 1000000000u, now - 1, now + 60);
    uint64_t before = mp_sys_monotonic_ms();
    assert_in_range(mp_sys_monotonic_ms() - before, 0, 60000);
}

static uint32_t word;

static void *wake(void *unused)
{
    (void)unused;
    __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
    mp_sys_futex_wake(&word, 1);
    return NULL;
}

static void waiting_ends(void **state)
{
    (void)state;
    pthread_t thread;
    mp_sys_futex_wait(&word, 7, -1); /* another value: at once */
    uint64_t before = mp_sys_monotonic_ms();
    mp_sys_futex_wait(&word, 0, 5);
    assert_true(mp_sys_monotonic_ms() - before >= 4);
    assert_int_equal(pthread_create(&thread, NULL, wake, NULL), 0);
    while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 0) {
        mp_sys_futex_wait(&word, 0, -1);
    }
    pthread_join(thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(memory_is_zero_and_counted, fresh, done),
        cmocka_unit_test_setup_teardown(errno_is_left_alone, fresh, done),
        cmocka_unit_test_setup_teardown(renaming_replaces_nothing, fresh, done),
        cmocka_unit_test_setup_teardown(peeking_never_faults, fresh, done),
        cmocka_unit_test_setup_teardown(old_kernels_and_containers, fresh, done),
        cmocka_unit_test_setup_teardown(the_process_and_its_clocks, fresh, done),
        cmocka_unit_test_setup_teardown(waiting_ends, fresh, done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
