/* SPDX-License-Identifier: MIT
 * Sampling end to end, with stacks that are made up: which allocations are recorded, where, with which thread and weight;
 * frees, failed reallocs, re-entry; memory that is refused. (That the estimates are true: test_estimate.c. Rows of threads:
 * test_profile.c.)
 */
#include "fresh.h"

#include <pthread.h>

static uint32_t live_rows(void)
{
    return mp_profile.live.index.rows;
}

/* The text of the frame at this node, and its parent. */
static const char *node_name(uint32_t id, uint32_t *ret_parent)
{
    static char text[MP_STRING_MAX + 1];
    const struct mp_node *node = mp_vec_at(&mp_profile.tree.nodes, id);
    const struct mp_function *function = mp_vec_at(&mp_profile.tree.functions, node->function);
    uint32_t length;
    const char *name = mp_strtab_get(&mp_profile.strings, function->name, &length);
    memcpy(text, name, length);
    text[length] = '\0';
    *ret_parent = node->parent;
    return text;
}

static void rate_1_records_each(void **state)
{
    (void)state;
    for (uint64_t rate = 0; rate <= 1; rate++) {
        assert_int_equal(fresh_profile(rate, 128), MP_OK);
        for (uint32_t i = 1; i <= 5000; i++) {
            assert_true(fresh_alloc(i * 32, i % 7));
        }
        assert_int_equal(live_rows(), 5000);
        assert_int_equal(fresh_site(1)->alloc_samples, 5000);
        assert_true(fresh_site(1)->alloc_blocks == 5000.0 && fresh_site(1)->alloc_blocks_var == 0.0);
        assert_true(fresh_site(1)->alloc_bytes == (double)fresh_site(1)->live_bytes);
        for (uint32_t i = 1; i <= 5000; i++) {
            assert_int_equal(fresh_live(i * 32)->size, i % 7);
            fresh_free(i * 32);
        }
        assert_int_equal(live_rows(), 0);
        assert_true(mp_profile.sites.live_bytes == 0 && fresh_site(1)->live_bytes == 0);
        assert_int_equal(fresh_done_calls, 5000);
    }
}

static void off_records_none(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(MP_RATE_OFF, 128), MP_OK);
    for (uint32_t i = 1; i <= 100000; i++) {
        assert_false(fresh_alloc(i * 32, 4096));
    }
    assert_false(fresh_alloc(32, (size_t)1 << 40));
    assert_int_equal(live_rows(), 0);
    assert_int_equal(mp_profile_set_rate(1), MP_OK); /* by another thread: seen within the next KiB */
    uint32_t missed = 0;
    while (!fresh_alloc(32, 64)) {
        missed++;
    }
    assert_true(missed <= 16);
    assert_int_equal(mp_profile_set_rate(MP_RATE_OFF), MP_OK);
    assert_false(fresh_alloc(64, 1)); /* although it was drawn before */
    assert_false(fresh_alloc(96, 1));
    assert_int_equal(mp_steer_rate(1), MP_OK); /* by this one: at once */
    assert_true(fresh_alloc(64, 1));
    assert_int_equal(mp_steer_rate(MP_RATE_OFF), MP_OK);
    assert_false(fresh_alloc(96, 1));
}

/* Switched off between the draw and the record, or in a realloc that fails then: nothing comes back. */
static void nothing_is_recorded_after_off(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(1, 128), MP_OK);
    assert_true(mp_hot_count(8));
    uint32_t due = mp_sample_due(8);
    assert_int_not_equal(due, 0);
    assert_true(fresh_alloc(0x2000, 8));
    struct mp_live_row row;
    assert_true(mp_sample_forget((const void *)0x2000, &row));
    assert_int_equal(mp_steer_rate(MP_RATE_OFF), MP_OK);
    mp_sample_add((const void *)0x1000, 8, MP_DOMAIN_OBJ, due);
    mp_sample_restore(&row);
    assert_int_equal(live_rows(), 0);
    assert_true(mp_profile.sites.live_bytes == 0);
}

static void a_row_says_it_all(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(1000, 128), MP_OK);
    mp_profile.generation = 3;
    fresh_stack = (struct fresh_stack){.frames = {7, 8, 9}, .count = 3};
    assert_true(fresh_alloc(0x1000, 1000000)); /* 1000 times the rate */
    const struct mp_live_row *row = fresh_live(0x1000);
    assert_non_null(row);
    assert_int_equal(row->size, 1000000);
    assert_int_equal(row->rate, 0);
    assert_int_equal(row->generation, 3);
    assert_int_equal(row->depth, 3);
    const struct mp_thread *thread =
        mp_vec_at(&mp_profile.threads, (uint32_t)(row->time_thread & MP_LIVE_THREAD_MAX));
    assert_int_equal(thread->tid, mp_sys_gettid());
    assert_true(thread->ident == (uint64_t)pthread_self());
    assert_int_equal(thread->live, 1);
    const struct mp_site *site = fresh_site(row->site);
    assert_int_equal(site->domain, MP_DOMAIN_OBJ);
    uint32_t parent;
    assert_string_equal(node_name(site->node, &parent), "function 7");
    assert_string_equal(node_name(parent, &parent), "function 8");
    assert_string_equal(node_name(parent, &parent), "function 9");
    assert_int_equal(parent, 0);
    assert_int_equal(mp_profile_set_rate(500), MP_OK);
    while (!fresh_alloc(0x2000, 600)) { /* one more draw at the old rate */
    }
    assert_int_equal(fresh_live(0x2000)->rate, 0);
    while (!fresh_alloc(0x3000, 600)) {
    }
    row = fresh_live(0x3000);
    assert_int_equal(row->rate, 1);
    const int64_t want =
        mp_worth_of(1000000, 1000).bytes + mp_worth_of(600, 1000).bytes + mp_worth_of(600, 500).bytes;
    assert_true(site->live_bytes == want && mp_profile.sites.live_bytes == want);
}

static void why_there_is_no_stack(void **state)
{
    (void)state;
    uint64_t lost = 0;
    for (int why = MP_WHY_NO_THREAD; why <= MP_WHY_OFF; why++) {
        fresh_stack = (struct fresh_stack){.why = (enum mp_why)why};
        lost += why != MP_WHY_NO_THREAD && why != MP_WHY_NO_FRAME;
        for (uint64_t again = 0; again < 2; again++) {
            uint64_t address = (uint64_t)why * 64 + again * 16;
            uint32_t parent;
            assert_true(fresh_alloc(address, 8));
            assert_string_equal(node_name(fresh_site(fresh_live(address)->site)->node, &parent), why_names[why]);
            assert_int_equal(parent, 0);
        }
    }
    assert_int_equal(fresh_count(MP_LOST_STACKS), 2 * lost);
    assert_int_equal(mp_vec_count(&mp_profile.sites.rows), MP_WHY_OFF + 1);
}

static void deep_stacks_are_cut(void **state)
{
    (void)state;
    static const uint32_t limits[] = {1, 2, 127, 128, 129, 1500};
    for (size_t l = 0; l < MP_COUNT(limits); l++) {
        assert_int_equal(fresh_profile(1, limits[l]), MP_OK);
        assert_int_equal(deep.frames != NULL, limits[l] > MP_STACK_INLINE);
        for (uint32_t depth = limits[l]; depth <= limits[l] + 1; depth++) {
            fresh_stack = (struct fresh_stack){.count = depth};
            for (uint32_t i = 0; i < depth; i++) {
                fresh_stack.frames[i] = i;
            }
            assert_true(fresh_alloc(0x1000, 8));
            assert_int_equal(fresh_live(0x1000)->depth, depth);
            uint32_t id = fresh_site(fresh_live(0x1000)->site)->node;
            for (uint32_t i = 0; i < limits[l]; i++) {
                char want[32];
                snprintf(want, sizeof want, "function %u", i);
                assert_string_equal(node_name(id, &id), want);
            }
            if (depth > limits[l]) {
                assert_string_equal(node_name(id, &id), "[frames cut]");
            }
            assert_int_equal(id, 0);
            fresh_free(0x1000);
        }
        assert_int_equal(fresh_count(MP_NOTE_STACKS_CUT), 1);
    }
    fresh_stack = (struct fresh_stack){.frames = {1}, .count = 1, .depth = 100000};
    assert_true(fresh_alloc(0x1000, 8));
    assert_int_equal(fresh_live(0x1000)->depth, UINT16_MAX);
}

static void a_failed_realloc_changes_nothing(void **state)
{
    (void)state;
    struct mp_live_row row, was;
    fresh_alloc(0x1000, 100);
    fresh_frame(2);
    fresh_alloc(0x2000, 50);
    was = *fresh_live(0x1000);
    for (int i = 0; i < 1000; i++) {
        assert_true(mp_sample_forget((void *)0x1000, &row));
        assert_false(mp_sample_forget((void *)0x1000, &(struct mp_live_row){0}));
        assert_true(mp_profile.sites.live_bytes == 50);
        mp_sample_restore(&row);
        assert_true(mp_profile.sites.live_bytes == 150 && mp_profile.sites.peak_bytes == 150);
    }
    row = *fresh_live(0x1000);
    row.link = was.link;
    assert_memory_equal(&row, &was, sizeof row);
    assert_int_equal(fresh_site(1)->alloc_samples, 1);
    assert_int_equal(((struct mp_thread *)mp_vec_at(&mp_profile.threads, 1))->live, 2);
    assert_int_equal(mp_vec_count(&mp_profile.threads), 2);
    assert_false(mp_sample_forget(NULL, &row));
    mp_sample_drop((void *)0x9999);
    assert_int_equal(live_rows(), 2);
}

/* A peak that a failed realloc makes is of that moment, not of the block's first. */
static void a_restored_block_peaks_now(void **state)
{
    (void)state;
    struct mp_live_row row;
    fresh_alloc(0x1000, 100);
    assert_true(mp_sample_forget((void *)0x1000, &row));
    mp_profile.start_ms -= 5000;
    fresh_alloc(0x2000, 50);
    mp_sample_restore(&row);
    assert_true(mp_profile.sites.peak_bytes == 150);
    assert_true(mp_profile.sites.peak_ms >= 4900); /* the coarse clock is late by a tick */
}

static void an_address_that_is_known_is_replaced(void **state)
{
    (void)state;
    fresh_alloc(0x1000, 100);
    fresh_frame(2);
    fresh_alloc(0x1000, 7);
    assert_int_equal(fresh_count(MP_NOTE_REPLACED), 1);
    assert_int_equal(live_rows(), 1);
    assert_int_equal(fresh_live(0x1000)->size, 7);
    assert_true(fresh_site(1)->live_bytes == 0 && fresh_site(2)->live_bytes == 7);
    assert_int_equal(((struct mp_thread *)mp_vec_at(&mp_profile.threads, 1))->live, 1);
    fresh_free(0x1000);
    assert_true(mp_profile.sites.live_bytes == 0);
}

static uint32_t nested, dumps;

static void allocate_inside(void)
{
    nested++;
    for (int i = 0; i < 100; i++) {
        assert_false(fresh_alloc(0x8000, 1000));
    }
    assert_false(mp_hot_count(SIZE_MAX) && mp_sample_due(SIZE_MAX) != 0);
    mp_sample_add((void *)0x8000, 10, MP_DOMAIN_OBJ, 1); /* a due from before the signal */
    assert_false(mp_sample_forget((void *)0x1000, &(struct mp_live_row){0}));
}

static void start_dump(void)
{
    assert_false(mp_tls.inside);
    dumps++;
}

static void ask_for_dump(void)
{
    mp_tls.dump_after = true;
}

static void nobody_enters_twice(void **state)
{
    (void)state;
    nested = dumps = 0;
    mp_sample_pending(start_dump);
    fresh_alloc(0x1000, 1);
    fresh_stack.meanwhile = allocate_inside;
    assert_true(fresh_alloc(0x2000, 1));
    assert_int_equal(nested, 1);
    assert_int_equal(live_rows(), 2);
    assert_int_equal(fresh_count(MP_LOST_FREES), 1);
    assert_int_equal(fresh_count(MP_LOST_REENTERED), 2); /* the late add, and on the way out the allocations */
    assert_int_equal(dumps, 0);
    assert_true(mp_tls.left == 0); /* as it was: the next is recorded again */
    fresh_stack.meanwhile = ask_for_dump;
    fresh_alloc(0x3000, 1);
    assert_int_equal(dumps, 1);
    assert_false(mp_tls.dump_after);
    fresh_stack.meanwhile = NULL;
    fresh_alloc(0x4000, 1);
    assert_int_equal(dumps, 1);
    assert_int_equal(live_rows(), 4);
}

static uint64_t looked_at;

static void look(uint64_t now_ms)
{
    assert_false(mp_tls.inside);
    looked_at = now_ms + 1;
}

static void somebody_looks_after_each_sample(void **state)
{
    (void)state;
    looked_at = 0;
    mp_sample_after(look);
    fresh_alloc(0x1000, 1);
    assert_true(looked_at != 0 && looked_at <= mp_profile_clock_ms() + 1);
    looked_at = 0;
    fresh_free(0x1000);
    assert_true(looked_at == 0);
}

static uint32_t looks;

static void look_first(void)
{
    assert_false(mp_tls.inside);
    assert_int_equal(mp_profile.live.index.rows, looks++); /* the block is not there yet, or still */
}

static void somebody_looks_before_each_sample(void **state)
{
    (void)state;
    looks = 0;
    mp_sample_before(look_first);
    fresh_alloc(0x1000, 1);
    fresh_free(0x1000);
    assert_int_equal(looks, 2);
    mp_sample_before(NULL);
    fresh_alloc(0x1000, 1);
    assert_int_equal(looks, 2);
}

static size_t room;

static size_t say_room(void)
{
    return room;
}

static void too_much(struct mp_stack *stack, enum mp_domain domain)
{
    (void)stack;
    (void)domain;
    fail();
}

static void little_stack_takes_little_or_no_sample(void **state)
{
    (void)state;
    static const struct mp_stack_source wide_source = {.collect = too_much,
                                                       .intern_locked = fresh_intern_locked,
                                                       .done = fresh_done_with,
                                                       .wide = true,
                                                       .narrow = &fresh_source};
    mp_sample_stack_room(say_room);
    mp_sample_source(&wide_source);
    room = MP_SAMPLE_STACK - 1;
    fresh_alloc(0x1000, 1);
    assert_null(fresh_live(0x1000));
    assert_int_equal(fresh_count(MP_LOST_SMALL_STACKS), 1);
    room = MP_SAMPLE_WIDE_STACK - 1;
    fresh_alloc(0x2000, 1);
    assert_non_null(fresh_live(0x2000));
    assert_int_equal(fresh_count(MP_NOTE_NATIVE_SKIPPED), 1);
    mp_sample_source(&fresh_source);
    fresh_alloc(0x3000, 1);
    assert_non_null(fresh_live(0x3000));
    assert_int_equal(fresh_count(MP_LOST_SMALL_STACKS) + fresh_count(MP_NOTE_NATIVE_SKIPPED), 2);
}

/* What is counted above is not counted below, whatever its size; SIZE_MAX as well. */
static void masked_is_not_counted(void **state)
{
    (void)state;
    fresh_alloc(0x1000, 1);
    uint64_t left = mp_hot_mask();
    for (int i = 0; i < 1000; i++) {
        assert_false(fresh_alloc(0x2000, (size_t)1 << 32));
    }
    assert_false(fresh_alloc(0x2000, SIZE_MAX));
    mp_hot_unmask(left);
    assert_int_equal(live_rows(), 1);
    assert_true(fresh_alloc(0x3000, 1));
}

static void huge_sizes_do_not_stop_the_countdown(void **state)
{
    (void)state;
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, (size_t)1 << 63, ((size_t)1 << 63) - 1,
                                   (size_t)1 << 62, ((size_t)1 << 62) + 1, (size_t)1 << 61};
    assert_int_equal(fresh_profile(4096, 128), MP_OK);
    uint32_t sampled = 0;
    for (uint32_t i = 0; i < 70000; i++) { /* each is refused by the allocator, so nothing is added */
        size_t size = sizes[i % MP_COUNT(sizes)];
        assert_true(mp_hot_count(size));
        assert_int_not_equal(mp_sample_due(size), 0);
        assert_true(mp_tls.left <= 37 * 4096);
        sampled += fresh_alloc(0x100000 + i * 16, 64);
    }
    assert_in_range(sampled, 900, 1290); /* 1085 +- 6 standard deviations */
    assert_int_equal(live_rows(), sampled);
    memset(&mp_tls, 0, sizeof mp_tls); /* a thread's very first */
    assert_true(mp_hot_count(SIZE_MAX));
    assert_int_not_equal(mp_sample_due(SIZE_MAX), 0);
    assert_true(mp_tls.left <= 37 * 4096);
}

/* The very first allocation of a thread, at the edge of its first distance. */
static void the_first_distance_is_exact(void **state)
{
    (void)state;
    assert_int_equal(fresh_profile(4096, 128), MP_OK);
    for (int i = 0; i < 100; i++) {
        uint64_t nth = mp_profile.seeded_threads;
        memset(&mp_tls, 0, sizeof mp_tls);
        fresh_alloc(0x1000, 0);
        uint64_t distance = mp_tls.left + mp_tls.rest + 1;
        for (uint64_t more = 0; more < 2 && fresh_live(0x1000) == NULL; more++) {
            memset(&mp_tls, 0, sizeof mp_tls);
            mp_profile.seeded_threads = nth;
            assert_int_equal(fresh_alloc(0x2000, distance + more), more);
            assert_true(more == 1 || mp_tls.left + mp_tls.rest == 0);
        }
        fresh_free(0x1000);
        fresh_free(0x2000);
    }
}

/* Every mapping refused from the N-th on: no crash, every sample is there or counted, and later ones are there again. */
static void memory_refused_is_counted(void **state)
{
    (void)state;
    uint32_t inits = 0;
    for (int granted = 0; granted < 36; granted++) {
        fresh_release();
        mp_sample_source(&fresh_source);
        mp_sys_map_fail_after(granted);
        int result = mp_profile_init(1, 500) < 0 ? MP_ERR_MEMORY : mp_steer_frames(500);
        assert_int_equal(mp_profile.ready && deep.frames != NULL, result == MP_OK);
        if (result == MP_OK) {
            inits++;
            for (uint32_t i = 1; i <= 20000; i++) {
                fresh_frame(i % 5 == 0 ? i : i % 100);
                assert_true(fresh_alloc(i * 64, 8));
            }
            assert_int_equal(live_rows() + fresh_count(MP_LOST_MEMORY), 20000);
            assert_true(mp_profile.sites.live_bytes == (int64_t)live_rows() * 8);
            uint32_t lost = (uint32_t)fresh_count(MP_LOST_MEMORY);
            mp_sys_map_fail_after(-1);
            for (uint32_t i = 1; i <= 100; i++) {
                fresh_frame(1000000 + i);
                assert_true(fresh_alloc((100000 + i) * 64, 8));
            }
            assert_int_equal(fresh_count(MP_LOST_MEMORY), lost);
            for (uint32_t i = 1; i <= 100100; i++) {
                fresh_free(i * 64);
            }
            assert_int_equal(live_rows(), 0);
            assert_true(mp_profile.sites.live_bytes == 0);
        }
    }
    assert_in_range(inits, 10, 39);
}

static void a_restore_without_memory_is_counted(void **state)
{
    (void)state;
    struct mp_live_row row = {.address = 0x1000, .size = 8, .site = 1};
    fresh_alloc(0x5000, 8);
    mp_sys_map_fail_after(0);
    mp_profile.live.rows.count = 1u << 20; /* the next row needs a new segment */
    mp_sample_restore(&row);
    assert_int_equal(fresh_count(MP_LOST_MEMORY), 1);
    assert_true(mp_profile.sites.live_bytes == 8);
}

enum { THREADS = 4, STEPS = 30000, OWN = 500 };

static void *live_and_let_die(void *argument)
{
    uint64_t number = (uint64_t)(uintptr_t)argument, seed = number + 1, sampled = 0;
    bool mine[OWN] = {false};
    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t which = suite_below(&seed, OWN);
        uint64_t address = 0x100000 + (number * OWN + which) * 64;
        if (mine[which]) {
            fresh_free(address);
        }
        fresh_frame(1 + suite_below(&seed, 50));
        sampled += fresh_alloc(address, 1 + suite_below(&seed, 200));
        mine[which] = true;
    }
    for (uint32_t which = 0; which < OWN; which++) {
        fresh_free(0x100000 + (number * OWN + which) * 64);
    }
    return (void *)(uintptr_t)sampled;
}

static void threads_add_up(void **state)
{
    (void)state;
    for (uint64_t rate = 1; rate <= 400; rate += 399) {
        pthread_t threads[THREADS];
        uint64_t sampled = 0, found = 0;
        assert_int_equal(fresh_profile(rate, 200), MP_OK); /* deep: two locks are taken */
        for (uintptr_t i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, live_and_let_die, (void *)i), 0);
        }
        for (int i = 0; i < THREADS; i++) {
            void *result;
            pthread_join(threads[i], &result);
            sampled += (uint64_t)(uintptr_t)result;
        }
        for (uint32_t id = 1; id < mp_vec_count(&mp_profile.sites.rows); id++) {
            found += fresh_site(id)->alloc_samples;
            assert_true(fresh_site(id)->live_bytes == 0);
        }
        assert_int_equal(found, sampled);
        assert_true(rate != 1 || sampled == (uint64_t)THREADS * STEPS);
        assert_int_equal(live_rows(), 0);
        assert_true(mp_profile.sites.live_bytes == 0);
        for (int what = 0; what < MP_COUNTS; what++) {
            assert_int_equal(fresh_count((enum mp_count)what), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rate_1_records_each, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(off_records_none, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(nothing_is_recorded_after_off, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(a_row_says_it_all, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(why_there_is_no_stack, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(deep_stacks_are_cut, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(a_failed_realloc_changes_nothing, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(a_restored_block_peaks_now, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(an_address_that_is_known_is_replaced, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(nobody_enters_twice, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(somebody_looks_after_each_sample, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(somebody_looks_before_each_sample, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(little_stack_takes_little_or_no_sample, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(masked_is_not_counted, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(huge_sizes_do_not_stop_the_countdown, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(the_first_distance_is_exact, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(memory_refused_is_counted, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(a_restore_without_memory_is_counted, fresh_exact, fresh_done),
        cmocka_unit_test_setup_teardown(threads_add_up, fresh_exact, fresh_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
