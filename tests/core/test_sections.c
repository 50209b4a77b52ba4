/* SPDX-License-Identifier: MIT
 * The tables of the profile as sections: every column, read back by decode.h; the lines of HEAD; tables that fill several
 * sections; and tables that other threads fill meanwhile.
 */
#include "fresh.h"

#include <math.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "decode.h"

static struct mp_out out;

static const struct mp_section_types *types;

/* The profile as it is now, through a file without a name. */
static struct decoded written(bool argv)
{
    char name[] = "/tmp/mprofile-test-sections.XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    mp_out_start(&out, fd);
    mp_out_begin(&out, "HEAD", 0);
    mp_sections_head(&out, argv, 1700000000000000007ull, mp_profile.start_ms + 123);
    mp_out_end(&out);
    mp_sections_tables(&out, types);
    assert_int_equal(mp_out_finish(&out), 0);
    struct decoded d = decode_fd(fd);
    close(fd);
    return d;
}

static void nothing_yet(void **state)
{
    (void)state;
    struct decoded d = written(true);
    assert_int_equal(d.live_count, 0);
    assert_int_equal(d.site_count, 0);
    assert_int_equal(d.node_count, 0);
    assert_int_equal(d.function_count, 1);
    assert_int_equal(d.string_count, 1);
    assert_int_equal(d.thread_count, 1);
    assert_int_equal(d.proc_sections, 3);
    assert_int_equal(d.generation_count, 1);
    assert_int_equal(d.pids[0], getpid());
    assert_int_equal(d.rate_count, 1);
    assert_int_equal(d.rates[0], 1);
    decode_free(&d);
}

static void every_column_comes_back(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(1000, 2), MP_OK);
    prctl(PR_SET_NAME, "a name");
    fresh_stack = (struct fresh_stack){.frames = {3, 4, 5}, .count = 3};
    fresh_alloc(0xABCDEF0123456780ull, 100000);
    mp_profile_set_rate(2000);
    fresh_alloc(0x2000, 200000); /* drawn at 1000 still */
    mp_profile.generation = 1;
    mp_profile.lineage[1].uid = 77;
    fresh_alloc(0x3000, 300000);
    fresh_free(0x2000);
    struct decoded d = written(false);
    assert_int_equal(d.live_count, 2);
    const struct decoded_live *live = &d.live[0];
    assert_true(live->address == 0xABCDEF0123456780ull);
    assert_int_equal(live->size, 100000);
    assert_int_equal(live->depth, 3);
    assert_int_equal(live->rate, 0);
    assert_int_equal(live->generation, 0);
    assert_int_equal(d.live[1].address, 0x3000);
    assert_int_equal(d.live[1].rate, 1);
    assert_int_equal(d.live[1].generation, 1);
    assert_true(live->time <= d.live[1].time && d.live[1].time < 60000);
    assert_int_equal(d.tids[live->thread], mp_sys_gettid());
    assert_string_equal(decode_text(&d, d.thread_names[live->thread]), "a name");
    assert_int_equal(d.rate_count, 2);
    assert_int_equal(d.rates[1], 2000);
    assert_int_equal(d.generation_count, 2);
    assert_int_equal(d.uids[1], 77);
    const struct decoded_site *site = &d.sites[live->site];
    assert_int_equal(site->domain, MP_DOMAIN_OBJ);
    assert_int_equal(site->alloc_samples, 3);
    assert_true(fabs(site->alloc_bytes - 600000.0) < 0.1 && fabs(site->alloc_blocks - 3.0) < 1e-6);
    assert_true(site->peak_bytes == 600000.0);
    const char *names[] = {"function 3", "function 4", "[frames cut]"};
    uint32_t node = site->node;
    for (int i = 0; i < 3; i++) {
        const struct decoded_triple *function = &d.functions[d.nodes[node].b];
        assert_string_equal(decode_text(&d, function->a), names[i]);
        assert_string_equal(decode_text(&d, function->b), i < 2 ? "file.py" : "<unknown>");
        assert_int_equal(function->c, i < 2 ? 3 + i : 0);
        assert_int_equal(d.nodes[node].c, i < 2 ? 2 * (3 + i) : 0);
        node = d.nodes[node].a;
    }
    assert_int_equal(node, 0);
    decode_free(&d);
}

static void the_lines_of_head(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(1000, 64), MP_OK);
    fresh_alloc(0x1000, 64000);
    mp_profile.start_ns = 1600000000000000000ull;
    struct decoded d = written(true);
    char number[32];
    snprintf(number, sizeof number, "%d", getpid());
    assert_string_equal(decode_fact(&d, "pid"), number);
    snprintf(number, sizeof number, "%d", getppid());
    assert_string_equal(decode_fact(&d, "ppid"), number);
    snprintf(number, sizeof number, "%016llx", (unsigned long long)mp_profile.lineage[0].uid);
    assert_string_equal(decode_fact(&d, "uid"), number);
    assert_string_equal(decode_fact(&d, "time"), "1700000000.000000007");
    assert_string_equal(decode_fact(&d, "start"), "1600000000.000000000");
    assert_string_equal(decode_fact(&d, "clock_ms"), "123");
    assert_string_equal(decode_fact(&d, "rate"), "1000");
    assert_string_equal(decode_fact(&d, "frames"), "64");
    assert_string_equal(decode_fact(&d, "samples"), "1");
    assert_string_equal(decode_fact(&d, "peak_bytes"), "64000");
    assert_non_null(strstr(decode_fact(&d, "exe"), "test_core_sections"));
    assert_non_null(strstr(decode_fact(&d, "cmdline"), "test_core_sections"));
    /* What is resident, which is less than what is mapped and was begun. */
    assert_in_range(strtoul(decode_fact(&d, "own_bytes"), NULL, 10), 4096, mp_profile_own_bytes());
    assert_null(decode_fact(&d, "lost.memory")); /* only what is above zero */
    decode_free(&d);
    for (int what = 0; what < MP_COUNTS; what++) {
        mp_profile.counts[what] = 100u + (unsigned)what;
    }
    mp_profile_set_rate(MP_RATE_OFF);
    d = written(false);
    static const char *const keys[] = {"lost.memory",     "lost.reentered",   "lost.frees",
                                       "lost.stacks",     "lost.snapshots",   "lost.small_stacks", "lost.hooks",       "note.stacks_cut",
                                       "note.refused_513", "note.replaced",   "note.names_cut",
                                       "note.native_unmatched", "note.native_skipped", "note.native_refused", "note.thinned"};
    assert_int_equal(MP_COUNT(keys), MP_COUNTS);
    for (int what = 0; what < MP_COUNTS; what++) {
        assert_int_equal(atoi(decode_fact(&d, keys[what])), 100 + what);
    }
    assert_string_equal(decode_fact(&d, "rate"), "off");
    assert_null(decode_fact(&d, "cmdline"));
    decode_free(&d);
}

static uint32_t types_begun, types_asked;

static void types_begin(void)
{
    types_begun++;
}

/* The type of a block at an address is the string of that address modulo 3. */
static void types_locked(const struct mp_live_row *rows, uint32_t count, uint32_t *ret_names)
{
    static const char *const names[] = {"", "dict", "int"};
    assert_int_not_equal(mp_profile.lock.word, 0);
    assert_true(count <= 100);
    for (uint32_t i = 0; i < count; i++) {
        const char *name = names[rows[i].address / 16 % 3];
        ret_names[i] = (uint32_t)mp_strtab_intern(&mp_profile.strings, name, (uint32_t)strlen(name));
        types_asked++;
    }
}

static void types_are_a_column(void **state)
{
    (void)state;
    static const struct mp_section_types ours = {types_begin, types_locked, 100};
    assert_int_equal(fresh_profile(1, 128), MP_OK);
    for (uint32_t i = 1; i <= 2500; i++) {
        fresh_alloc(i * 16, 8);
    }
    struct decoded d = written(false);
    assert_int_equal(d.live_count, 2500);
    assert_int_equal(d.live[7].type, UINT32_MAX); /* no column */
    decode_free(&d);
    types = &ours;
    d = written(false);
    types = NULL;
    assert_int_equal(types_begun, 1);
    assert_int_equal(types_asked, 2500);
    for (uint32_t i = 0; i < d.live_count; i++) {
        static const char *const names[] = {"", "dict", "int"};
        const struct decoded_string *name = &d.strings[d.live[i].type];
        const char *want = names[d.live[i].address / 16 % 3];
        assert_int_equal(name->length, strlen(want));
        assert_memory_equal(name->text, want, name->length);
    }
    decode_free(&d);
}

/* A variance that no u64 holds is unknown, not zero. */
static void a_variance_of_any_size(void **state)
{
    (void)state;
    static const struct {
        double var;
        const char *want;
    } cases[] = {{-1e-3, "0"}, {0.0, "0"}, {12345.7, "12345"}, {1e18, "1000000000000000000"},
                 {18446744073709549568.0, "18446744073709549568"}, {0x1p64, NULL}, {1e300, NULL}};
    for (size_t i = 0; i < MP_COUNT(cases); i++) {
        mp_profile.sites.peak_var = cases[i].var;
        struct decoded d = written(false);
        const char *got = decode_fact(&d, "peak_var");
        if (cases[i].want == NULL) {
            assert_null(got);
        } else {
            assert_string_equal(got, cases[i].want);
        }
        decode_free(&d);
    }
}

static void what_the_parent_allocated_is_not_the_child_s(void **state)
{
    (void)state;
    fresh_alloc(0x1000, 100);
    fresh_frame(2);
    fresh_alloc(0x2000, 50);
    mp_sample_fork_prepare();
    mp_sample_fork_child();
    fresh_alloc(0x3000, 7);
    struct decoded d = written(false);
    assert_int_equal(d.live_count, 3);
    assert_int_equal(d.sites[1].alloc_samples, 0);
    assert_true(d.sites[1].alloc_bytes == 0.0 && d.sites[1].alloc_blocks == 0.0);
    assert_true(d.sites[1].peak_bytes == 100.0);
    assert_int_equal(d.sites[2].alloc_samples, 1);
    assert_true(d.sites[2].alloc_bytes == 7.0 && d.sites[2].peak_bytes == 57.0);
    assert_int_equal(d.generation_count, 2);
    decode_free(&d);
}

/* More rows than a section holds, of everything; strings of every length that end sections anywhere. */
static void tables_of_several_sections(void **state)
{
    (void)state;
    static char text[MP_STRING_MAX];
    uint64_t seed_of_test = 8;
    for (uint32_t i = 1; i <= 9000; i++) {
        fresh_frame(i);
        assert_true(fresh_alloc(i * 64, i));
    }
    for (uint32_t i = 1; i <= 9000; i += 3) {
        fresh_free(i * 64);
    }
    for (uint32_t i = 0; i < 600; i++) {
        memset(text, 'a' + (int)(i % 26), sizeof text);
        memcpy(text, &i, sizeof i);
        uint32_t length = i < 100 ? MP_STRING_MAX : 5 + suite_below(&seed_of_test, MP_STRING_MAX - 5);
        assert_true(mp_strtab_intern(&mp_profile.strings, text, length) > 0);
    }
    for (uint32_t i = 0; i < 3000; i++) {
        mp_vec_push(&mp_profile.threads);
    }
    struct decoded d = written(false);
    assert_int_equal(d.live_count, 6000);
    assert_int_equal(d.site_count, 9001);
    assert_int_equal(d.node_count, 9001);
    assert_int_equal(d.function_count, 9001);
    assert_int_equal(d.thread_count, 3002);
    uint32_t strings = mp_vec_count(&mp_profile.strings.rows);
    assert_int_equal(d.string_count, strings + 1); /* and the name of the one thread that has one */
    assert_true(d.string_sections > 10);
    double sum = 0.0;
    for (uint32_t i = 0; i < d.live_count; i++) {
        sum += (double)d.live[i].size;
        assert_int_equal(d.live[i].size, d.live[i].address / 64);
        assert_int_equal(d.sites[d.live[i].site].alloc_samples, 1);
    }
    assert_true(sum == (double)mp_profile.sites.live_bytes);
    for (uint32_t id = 0; id < strings; id++) {
        uint32_t length;
        const char *want = mp_strtab_get(&mp_profile.strings, id, &length);
        assert_int_equal(d.strings[id].length, length);
        assert_memory_equal(d.strings[id].text, want, length);
    }
    decode_free(&d);
}

/* A heap that shrank: long runs of free rows between a few live ones. */
static void a_heap_that_shrank(void **state)
{
    (void)state;
    for (uint32_t i = 1; i <= 100000; i++) {
        fresh_alloc(i * 64, i);
    }
    for (uint32_t i = 1; i <= 100000; i++) {
        if (i % 40000 != 7) {
            fresh_free(i * 64);
        }
    }
    struct decoded d = written(false);
    assert_int_equal(d.live_count, 3);
    assert_int_equal(d.live[0].size, 7);
    assert_int_equal(d.live[2].size, 80007);
    decode_free(&d);
}

enum { GROWERS = 2, GROWN = 15000 };

static uint32_t growing;

/* New functions, nodes, strings, sites, threads and rates all the time. */
static void *grow(void *argument)
{
    uint32_t first = (uint32_t)(uintptr_t)argument * 10000000;
    for (uint32_t number = first + 1; number < first + GROWN; number++) {
        fresh_frame(number);
        if (number % 200 == 0) {
            mp_profile_set_rate(number / 200 % 2 != 0 ? 1 : 2 + number / 400 % 40);
        }
        uint64_t address = (uint64_t)number * 64;
        fresh_alloc(address, 64);
        if (number % 10 != 0) {
            fresh_free(address);
        }
    }
    __atomic_fetch_sub(&growing, 1, __ATOMIC_RELAXED);
    return NULL;
}

/* decode.h fails at a string or function that is half written, and at any id that is not there. */
static void tables_that_grow_meanwhile(void **state)
{
    (void)state;
    pthread_t threads[GROWERS];
    __atomic_store_n(&growing, GROWERS, __ATOMIC_RELAXED);
    for (uintptr_t i = 0; i < GROWERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, grow, (void *)(i + 1)), 0);
    }
    bool last = false;
    for (int i = 0; i < 20 && !last; i++) {
        last = __atomic_load_n(&growing, __ATOMIC_RELAXED) == 0;
        struct decoded d = written(false);
        decode_free(&d);
    }
    for (int i = 0; i < GROWERS; i++) {
        pthread_join(threads[i], NULL);
    }
    struct decoded d = written(false);
    assert_int_equal(d.function_count, mp_vec_count(&mp_profile.tree.functions));
    assert_true(d.rate_count > 30);
    decode_free(&d);
}

/* Of large blocks, what is resident; of others nothing. */
static void large_blocks_say_what_is_resident(void **state)
{
    (void)state;
    const size_t size = 256 * 1024;
    char *block = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(block != MAP_FAILED);
    memset(block, 1, 40 * 1024);
    assert_int_equal(mprotect(block + size, size, PROT_NONE), 0);
    fresh_alloc((uintptr_t)block, size);
    fresh_alloc((uintptr_t)block + size, size);
    fresh_alloc((uintptr_t)block + size / 2, 64 * 1024 - 1);
    struct decoded d = written(true);
    assert_int_equal(d.live_count, 3);
    assert_int_equal(d.resident_count, 2);
    assert_int_equal(d.resident[0][0], (uintptr_t)block);
    assert_int_equal(d.resident[0][1], 40 * 1024);
    assert_int_equal(d.resident[0][2] + d.resident[0][3], 0);
    assert_int_equal(d.resident[1][1] + d.resident[1][2] + d.resident[1][3], 0);
    decode_free(&d);
    munmap(block, size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(large_blocks_say_what_is_resident, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(nothing_yet, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(every_column_comes_back, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(the_lines_of_head, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(a_variance_of_any_size, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(types_are_a_column, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(what_the_parent_allocated_is_not_the_child_s, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(tables_of_several_sections, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(a_heap_that_shrank, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(tables_that_grow_meanwhile, fresh_exact, fresh_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
