/* SPDX-License-Identifier: MIT
 * The mappings, against what libc's own reading of the same file gives; and the kinds that a process has.
 */
#include "suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "core/maps.h"

static struct mp_maps maps;

static void as_libc_reads_them(void **state)
{
    (void)state;
    /* Enough of them that the text is read in several pieces; each other one without access, so that none are joined. */
    enum { PAGES = 800 };
    char *pages = mmap(NULL, PAGES * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    for (int i = 0; i < PAGES; i += 2) {
        assert_int_equal(mprotect(pages + i * 4096, 4096, PROT_NONE), 0);
    }
    FILE *file = fopen("/proc/self/maps", "re");
    setvbuf(file, NULL, _IOFBF, 1 << 20);
    char line[4096];
    uint32_t count = 0, files = 0, closed = 0, named = 0;
    assert_true(mp_maps_open(&maps));
    char path[4096];
    maps.name = path;
    maps.name_size = sizeof path;
    struct mp_mapping now;
    while (fgets(line, sizeof line, file) != NULL && mp_maps_next(&maps, &now)) {
        unsigned long start, end, offset;
        char bits[5], name[4096] = "";
        sscanf(line, "%lx-%lx %4s %lx %*s %*s %4095s", &start, &end, bits, &offset, name);
        if (strcmp(name, "[heap]") == 0 || strcmp(name, "[stack]") == 0) { /* may have grown in between */
            continue;
        }
        assert_int_equal(now.start, start);
        assert_int_equal(now.end, end);
        assert_int_equal(now.offset, offset);
        assert_int_equal(now.open, bits[0] == 'r' || bits[1] == 'w');
        assert_int_equal(now.private, bits[3] == 'p');
        assert_int_equal(now.named, name[0] != '\0');
        assert_int_equal(strncmp(path, name, strlen(name)), 0); /* a blank ends `name` */
        assert_true(strlen(path) >= strlen(name) && (name[0] != '\0' || path[0] == '\0'));
        assert_int_equal(now.file, name[0] == '/');
        count++;
        files += now.file;
        closed += !now.open;
        named += now.named;
    }
    assert_false(mp_maps_next(&maps, &now));
    mp_maps_close(&maps);
    fclose(file);
    assert_true(count > PAGES && files > 4 && closed >= PAGES / 2 && named > files);
    munmap(pages, PAGES * 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_libc_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
