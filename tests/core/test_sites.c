/* SPDX-License-Identifier: MIT
 * Sites: what was ever allocated, what is live, and what was live at the peak, against a model that keeps everything; sums
 * that return to exactly 0; a fork's new generation; memory that is refused.
 */
#include "suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/maths.h"
#include "core/sites.h"

#define SITES 40
#define LIVE_MAX 3000
#define RATE 1000

static struct mp_sites sites;

/* The model: all live samples, all sums, and a whole copy of the live sums at each new maximum. */
static struct {
    uint32_t id[SITES];
    int64_t live[SITES], peak[SITES];
    double live_var[SITES], peak_var[SITES];
    uint64_t samples[SITES];
    double blocks[SITES], bytes[SITES], blocks_var[SITES], bytes_var[SITES];
    int64_t total, highest;
    uint64_t highest_ms;
    struct {
        uint32_t site;
        uint64_t size, rate;
    } rows[LIVE_MAX];
    uint32_t count;
} model;

static int fresh(void **state)
{
    (void)state;
    memset(&model, 0, sizeof model);
    return mp_sites_init(&sites);
}

static int done(void **state)
{
    mp_vec_release(&sites.rows);
    mp_index_release(&sites.index);
    return suite_memory_is_back(state);
}

static void model_live(uint32_t s, uint64_t size, uint64_t rate, int sign, uint64_t now_ms)
{
    double w = mp_weight(size, rate);
    int64_t bytes = llround(w * (double)size);
    model.live[s] += sign * bytes;
    model.total += sign * bytes;
    model.live_var[s] += sign * w * (w - 1.0) * (double)size * (double)size;
    if (model.total > model.highest) {
        model.highest = model.total;
        model.highest_ms = now_ms;
        memcpy(model.peak, model.live, sizeof model.peak);
        memcpy(model.peak_var, model.live_var, sizeof model.peak_var);
    }
}

static void add(uint32_t s, uint64_t size, uint64_t rate, uint64_t now_ms)
{
    double w = mp_weight(size, rate);
    mp_sites_add(&sites, model.id[s], size, mp_worth_of(size, rate), now_ms);
    model_live(s, size, rate, +1, now_ms);
    model.samples[s]++;
    model.blocks[s] += w;
    model.bytes[s] += w * (double)size;
    model.blocks_var[s] += w * (w - 1.0);
    model.bytes_var[s] += w * (w - 1.0) * (double)size * (double)size;
    model.rows[model.count].site = s;
    model.rows[model.count].size = size;
    model.rows[model.count++].rate = rate;
}

/* One sample goes (sign -1) for good, or goes and comes back as with a realloc that failed. */
static void take_out(uint32_t row, bool comes_back, uint64_t now_ms)
{
    uint32_t s = model.rows[row].site;
    uint64_t size = model.rows[row].size, rate = model.rows[row].rate;
    mp_sites_live(&sites, model.id[s], mp_worth_of(size, rate), -1, now_ms);
    model_live(s, size, rate, -1, now_ms);
    if (comes_back) {
        mp_sites_live(&sites, model.id[s], mp_worth_of(size, rate), +1, now_ms);
        model_live(s, size, rate, +1, now_ms);
    } else {
        model.rows[row] = model.rows[--model.count];
    }
}

static void expect_near(double got, double want, double scale)
{
    assert_true(fabs(got - want) <= 1e-9 * (scale + fabs(want)));
}

static void expect_as_model(void)
{
    assert_true(sites.live_bytes == model.total && sites.peak_bytes == model.highest);
    assert_true(sites.peak_ms == model.highest_ms);
    double var = 0.0;
    int64_t sum = 0;
    for (uint32_t s = 0; s < SITES; s++) {
        if (model.id[s] == 0) {
            assert_true(model.peak[s] == 0);
            continue;
        }
        const struct mp_site *site = mp_vec_at(&sites.rows, model.id[s]);
        double bytes, bytes_var;
        mp_sites_peak(&sites, site, &bytes, &bytes_var);
        assert_true(bytes == (double)model.peak[s]);
        assert_true(site->live_bytes == model.live[s]);
        expect_near(bytes_var, model.peak_var[s], 1e9);
        assert_true(bytes_var >= 0.0);
        expect_near(site->live_var, model.live_var[s], 1e9);
        var += bytes_var;
        sum += (int64_t)bytes;
        if (site->generation == sites.generation) {
            assert_true(site->alloc_samples == model.samples[s]);
            expect_near(site->alloc_blocks, model.blocks[s], 1.0);
            expect_near(site->alloc_bytes, model.bytes[s], 1.0);
            expect_near(site->alloc_blocks_var, model.blocks_var[s], 1.0);
            expect_near(site->alloc_bytes_var, model.bytes_var[s], 1.0);
        } else {
            assert_true(model.samples[s] == 0); /* of another process: read as 0 */
        }
    }
    assert_true(sum == sites.peak_bytes);
    expect_near(sites.peak_var, var, 1e9);
}

static void forked(void)
{
    sites.generation++;
    memset(model.samples, 0, sizeof model.samples);
    memset(model.blocks, 0, sizeof model.blocks);
    memset(model.bytes, 0, sizeof model.bytes);
    memset(model.blocks_var, 0, sizeof model.blocks_var);
    memset(model.bytes_var, 0, sizeof model.bytes_var);
}

/* Waves: the chance of an allocation goes up and down, so that there are many maxima and long valleys. */
static void random_life_is_as_the_model_says(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, 16, 100, 512, 1000, 16000};
    for (uint64_t run = 1; run <= 12; run++) {
        uint64_t seed = run;
        assert_int_equal(fresh(state), MP_OK);
        for (uint32_t step = 0; step < 4000; step++) {
            uint32_t s = suite_below(&seed, SITES);
            bool grow = suite_below(&seed, 100) < (step / 200 % 2 == 0 ? 65u : 38u);
            if (model.count > 0 && (!grow || model.count == LIVE_MAX)) {
                take_out(suite_below(&seed, model.count), suite_below(&seed, 8) == 0, step);
            } else if (grow) {
                uint64_t size = suite_below(&seed, 2) ? sizes[suite_below(&seed, 7)] : suite_below(&seed, 5000);
                if (model.id[s] == 0) {
                    model.id[s] = (uint32_t)mp_sites_intern(&sites, s / 5, (enum mp_domain)(s % 5));
                }
                add(s, size, suite_below(&seed, 5) == 0 ? 1 : RATE, step);
            }
            if (suite_below(&seed, 900) == 0) {
                forked();
            }
            if (step % 3 == 0) {
                expect_as_model();
            }
        }
        while (model.count > 0) {
            take_out(suite_below(&seed, model.count), false, 9999);
        }
        expect_as_model();
        assert_true(sites.live_bytes == 0);
        for (uint32_t id = 1; id < mp_vec_count(&sites.rows); id++) {
            assert_true(((struct mp_site *)mp_vec_at(&sites.rows, id))->live_bytes == 0);
        }
        done(state);
    }
    assert_int_equal(fresh(state), MP_OK);
}

static void a_site_is_a_stack_and_a_domain(void **state)
{
    (void)state;
    for (uint32_t node = 0; node < 2000; node++) {
        for (int domain = 0; domain < MP_DOMAIN_COUNT; domain++) {
            int64_t id = mp_sites_intern(&sites, node, (enum mp_domain)domain);
            assert_int_equal(id, node * MP_DOMAIN_COUNT + (uint32_t)domain + 1);
            assert_int_equal(mp_sites_intern(&sites, node, (enum mp_domain)domain), id);
            const struct mp_site *site = mp_vec_at(&sites.rows, (uint32_t)id);
            assert_int_equal(site->node, node);
            assert_int_equal(site->domain, domain);
        }
    }
    assert_int_equal(mp_vec_count(&sites.rows), 2000 * MP_DOMAIN_COUNT + 1);
}

static void worth_is_what_the_format_says(void **state)
{
    (void)state;
    struct mp_worth exact = mp_worth_of(12345, 1);
    assert_true(exact.weight == 1.0 && exact.bytes == 12345 && exact.bytes_var == 0.0);
    struct mp_worth empty = mp_worth_of(0, RATE);
    assert_true(empty.weight == mp_weight(1, RATE) && empty.bytes == 0 && empty.bytes_var == 0.0);
    for (uint64_t size = 1; size < 1u << 30; size += size / 3 + 1) {
        struct mp_worth worth = mp_worth_of(size, RATE);
        double w = -1.0 / expm1(-(double)size / RATE);
        assert_true(llabs(worth.bytes - llround(w * (double)size)) <= 1);
        expect_near(worth.bytes_var, w * (w - 1.0) * (double)size * (double)size, 1e-3 * (double)size);
    }
}

static void memory_refused_leaves_it_whole(void **state)
{
    done(state);
    for (int granted = 0; granted < 10; granted++) {
        mp_sys_map_fail_after(granted);
        if (mp_sites_init(&sites) == MP_OK) {
            int64_t refused = 0;
            for (uint32_t node = 0; node < 5000; node++) {
                int64_t id = mp_sites_intern(&sites, node, MP_DOMAIN_OBJ);
                assert_true(id > 0 || id == MP_ERR_MEMORY);
                refused += id < 0;
            }
            assert_int_equal(mp_vec_count(&sites.rows), 5001 - refused);
            mp_sys_map_fail_after(-1);
            for (uint32_t node = 0; node < 5000; node++) {
                assert_true(mp_sites_intern(&sites, node, MP_DOMAIN_OBJ) > 0);
            }
            assert_int_equal(mp_vec_count(&sites.rows), 5001);
        }
        done(state);
    }
    assert_int_equal(fresh(state), MP_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_life_is_as_the_model_says, fresh, done),
        cmocka_unit_test_setup_teardown(a_site_is_a_stack_and_a_domain, fresh, done),
        cmocka_unit_test_setup_teardown(worth_is_what_the_format_says, fresh, done),
        cmocka_unit_test_setup_teardown(memory_refused_leaves_it_whole, fresh, done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
