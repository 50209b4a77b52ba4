/* SPDX-License-Identifier: MIT
 * What is resident of mappings whose pages the test wrote, read, shared or left alone.
 */
#include "suite.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/resident.h"

#define PAGE 4096ull

enum { PAGES = 9000 }; /* more than are read at a time */

static struct mp_resident of(const char *low, uint64_t pages)
{
    struct mp_resident found;
    assert_true(mp_resident_begin());
    assert_true(mp_resident_ask((uintptr_t)low, (uintptr_t)low + pages * PAGE, &found));
    mp_resident_end();
    return found;
}

static char *map(int flags)
{
    char *pages = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    madvise(pages, PAGES * PAGE, MADV_NOHUGEPAGE);
    return pages;
}

static void only_what_was_written(void **state)
{
    (void)state;
    char *pages = map(MAP_PRIVATE);
    struct mp_resident found = of(pages, PAGES);
    assert_int_equal(found.own + found.copied + found.shared, 0);
    for (uint64_t i = 0; i < PAGES; i += 3) {
        pages[i * PAGE] = 1;
    }
    found = of(pages, PAGES);
    assert_int_equal(found.own, PAGES / 3 * PAGE);
    assert_int_equal(found.copied + found.shared, 0);
    volatile char sum = 0;
    for (uint64_t i = 1; i < PAGES; i += 3) {
        sum = (char)(sum + pages[i * PAGE]); /* the page of zeroes, which is no memory */
    }
    found = of(pages, PAGES);
    assert_int_equal(found.own, PAGES / 3 * PAGE);
    assert_int_equal(found.copied, PAGES / 3 * PAGE);
    munmap(pages, PAGES * PAGE);
    found = of(pages, PAGES);
    assert_int_equal(found.own + found.copied + found.shared, 0);
}

static void what_is_shared(void **state)
{
    (void)state;
    char *own = map(MAP_PRIVATE), *both = map(MAP_SHARED);
    memset(own, 1, 100 * PAGE);
    memset(both, 1, 70 * PAGE);
    struct mp_resident found = of(both, PAGES);
    assert_int_equal(found.shared, 70 * PAGE);
    assert_int_equal(found.own + found.copied, 0);
    pid_t child = fork();
    if (child == 0) {
        memset(own, 2, 30 * PAGE);
        struct mp_resident mine = of(own, PAGES), shared = of(both, PAGES);
        _exit(mine.own == 30 * PAGE && mine.copied == 70 * PAGE && shared.shared == 0 ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    munmap(own, PAGES * PAGE);
    munmap(both, PAGES * PAGE);
}

static void odd_ends_and_limits(void **state)
{
    (void)state;
    struct mp_resident found;
    char *pages = map(MAP_PRIVATE);
    memset(pages, 1, PAGE + 1);
    assert_false(mp_resident_ask((uintptr_t)pages, (uintptr_t)pages + 1, &found)); /* not begun */
    assert_true(mp_resident_begin());
    assert_true(mp_resident_ask((uintptr_t)pages + PAGE - 1, (uintptr_t)pages + PAGE + 1, &found));
    assert_int_equal(found.own, 2 * PAGE);
    assert_true(mp_resident_ask((uintptr_t)pages, (uintptr_t)pages, &found));
    assert_false(mp_resident_ask((uintptr_t)pages + PAGE, (uintptr_t)pages, &found));
    assert_false(mp_resident_ask(0, UINT64_MAX, &found));
    assert_false(mp_resident_ask(PAGE, MP_RESIDENT_PAGES * PAGE + PAGE, &found)); /* with what was asked before */
    mp_resident_end();
    munmap(pages, PAGES * PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_was_written),
        cmocka_unit_test(what_is_shared),
        cmocka_unit_test(odd_ends_and_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
