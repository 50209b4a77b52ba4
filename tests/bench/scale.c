/* SPDX-License-Identifier: MIT
 * Drives core by itself, with stacks that are made up, to sizes that no interpreter would make in reasonable time.
 *
 *     scale live SAMPLES RATE BYTES    as many live samples of blocks of so many bytes, on a thousand stacks of 20 frames; a snapshot; their frees
 *     scale stacks COUNT               as many distinct stacks of 20 frames, a sample each
 *     scale deep FRAMES SAMPLES        stacks of so many frames, whose nearest one differs
 *     scale budget BLOCKS BYTES BUDGET live blocks under a budget for our own memory
 *
 * Prints `key value` lines. Times are processor times: of the samples, of the writer, and of the longest hold of the profile's lock. The lock
 * is this file's own, for that: it takes the place of core/lock.c. scale.py compiles and runs it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/hot.h"
#include "core/lock.h"
#include "core/profile.h"
#include "core/sample.h"
#include "core/steer.h"
#include "core/thin.h"
#include "core/writer.h"

#define WINDOWS 10
#define STACKS 1000
#define FRAMES 20
#define FIRST_ADDRESS ((uint64_t)1 << 44)

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* One thread: a lock that only measures. */
static double taken_at, longest;
static bool measures;

void mp_lock_take(struct mp_lock *lock)
{
    lock->word = 1;
    if (measures) {
        taken_at = now();
    }
}

void mp_lock_release(struct mp_lock *lock)
{
    if (measures) {
        double held = now() - taken_at;
        longest = held > longest ? held : longest;
    }
    lock->word = 0;
}

void mp_lock_reset(struct mp_lock *lock)
{
    lock->word = 0;
}

/* The next sample's frames, nearest first: `count` numbers from `near` and `above` on. */
static uint64_t near_frame, above_frame;
static uint32_t frame_count;

static void collect(struct mp_stack *stack, enum mp_domain domain)
{
    (void)domain;
    uint64_t *frames = stack->frames;
    stack->depth = frame_count;
    for (stack->count = 0; stack->count < frame_count && stack->count < stack->max; stack->count++) {
        frames[2 * stack->count] = stack->count == 0 ? near_frame : above_frame + stack->count;
    }
}

/* As pyshim does for a frame that was seen before: no text, only the tree. */
static int64_t intern_locked(const void *frame, uint32_t parent)
{
    uint64_t number = *(const uint64_t *)frame;
    int64_t function = mp_tree_function(&mp_profile.tree, 1, 1, (uint32_t)(number % 50000));
    return function < 0 ? function : mp_tree_node(&mp_profile.tree, parent, (uint32_t)function, (uint32_t)(number / 50000) + 1);
}

static void done(struct mp_stack *stack)
{
    (void)stack;
}

static const struct mp_stack_source source = {.collect = collect, .intern_locked = intern_locked, .done = done};

static void begin(uint64_t rate, uint32_t frames)
{
    mp_sample_source(&source);
    if (mp_profile_init(rate, frames) != MP_OK || mp_steer_frames(frames) != MP_OK) {
        exit(1);
    }
    mp_profile.seed = 20240229;
    mp_strtab_intern(&mp_profile.strings, "made up", 7);
    frame_count = frames < FRAMES ? frames : FRAMES;
}

static bool allocate(uint64_t address, size_t size)
{
    uint32_t due = mp_hot_count(size) ? mp_sample_due(size) : 0;
    if (due != 0) {
        mp_sample_add((const void *)(uintptr_t)address, size, MP_DOMAIN_OBJ, due);
    }
    return due != 0;
}

static bool release(uint64_t address)
{
    const void *block = (const void *)(uintptr_t)address;
    return mp_hot_maybe_sampled(block) && (mp_sample_drop(block), true);
}

static void use_stack(uint64_t number)
{
    near_frame = number % STACKS;
    above_frame = 1000 + number % 7 * 100;
}

static void write_snapshot(void)
{
    static const struct mp_writer_options options = {.pattern = "/dev/shm/mprofile-scale.%p.bin"};
    static char path[4096];
    mp_writer_init(&options);
    measures = true;
    longest = 0;
    double began = now();
    int error = mp_writer_write_as(options.pattern, MP_TRIGGER_API, path);
    printf("snapshot_s %.4f\nlongest_hold_ms %.4f\n", now() - began, 1000 * longest);
    measures = false;
    if (error != 0) {
        exit(1);
    }
    printf("path %s\n", path);
}

/* A window's samples and their cost; a watched free that was of no sample costs next to nothing and is told apart. */
static void live(uint64_t samples, uint64_t rate, uint64_t bytes)
{
    begin(rate, 128);
    uint64_t per_window = samples / WINDOWS, block = 0, step = (bytes + 15) / 16 * 16;
    for (int window = 0; window < WINDOWS; window++) {
        double began = now();
        for (uint64_t taken = 0; taken < per_window; block++) {
            use_stack(block);
            taken += allocate(FIRST_ADDRESS + block * step, bytes);
        }
        printf("sample_ns %.1f\n", (now() - began) * 1e9 / (double)per_window);
    }
    uint64_t own = mp_profile_own_bytes();
    printf("blocks %llu\nown_bytes %llu\n", (unsigned long long)block, (unsigned long long)own);
    double began = now();
    uint64_t maybe = 0, misses = block < 1000000 ? block : 1000000;
    for (uint64_t i = 0; i < misses; i++) { /* blocks elsewhere, that were never sampled */
        maybe += mp_hot_maybe_sampled((const void *)(uintptr_t)(FIRST_ADDRESS * 2 + i * 48));
    }
    printf("miss_ns %.2f\nmaybe %.5f\n", (now() - began) * 1e9 / (double)misses, (double)maybe / (double)misses);
    write_snapshot();
    began = now();
    for (uint64_t i = 0; i < block; i++) {
        release(FIRST_ADDRESS + i * step);
    }
    printf("forget_ns %.1f\n", (now() - began) * 1e9 / (double)samples);
    printf("left %u\n", mp_profile.live.index.rows);
}

static void stacks(uint64_t count)
{
    begin(1, 128);
    for (int window = 0; window < WINDOWS; window++) {
        double began = now();
        for (uint64_t i = 0; i < count / WINDOWS; i++) {
            uint64_t number = (uint64_t)window * (count / WINDOWS) + i;
            near_frame = number;
            above_frame = number / 1000 * 100;
            allocate(FIRST_ADDRESS + number * 64, 64);
        }
        printf("sample_ns %.1f\n", (now() - began) * 1e9 / (double)(count / WINDOWS));
    }
    printf("own_bytes %llu\nnodes %u\n", (unsigned long long)mp_profile_own_bytes(), mp_profile.tree.nodes.count);
    write_snapshot();
}

static void deep(uint32_t frames, uint64_t samples)
{
    begin(1, frames);
    frame_count = frames;
    for (int window = 0; window < WINDOWS; window++) {
        double began = now();
        for (uint64_t i = 0; i < samples / WINDOWS; i++) {
            near_frame = (uint64_t)window * samples + i;
            above_frame = 100000;
            allocate(FIRST_ADDRESS + near_frame * 64, 64);
        }
        printf("sample_ns %.1f\n", (now() - began) * 1e9 / (double)(samples / WINDOWS));
    }
    printf("own_bytes %llu\nnodes %u\n", (unsigned long long)mp_profile_own_bytes(), mp_profile.tree.nodes.count);
}

static void look(uint64_t now_ms)
{
    (void)now_ms;
    mp_thin_look();
}

static void budget(uint64_t blocks, uint64_t bytes, uint64_t most)
{
    begin(1, 128);
    mp_thin_budget(most);
    mp_sample_after(look);
    uint64_t highest = 0;
    measures = true;
    double began = now();
    for (uint64_t i = 0; i < blocks; i++) {
        use_stack(i);
        allocate(FIRST_ADDRESS + i * 64, bytes);
        if (i % 4096 == 0 && mp_profile_own_bytes() > highest) {
            highest = mp_profile_own_bytes();
        }
    }
    printf("block_ns %.1f\nlongest_hold_ms %.4f\n", (now() - began) * 1e9 / (double)blocks, 1000 * longest);
    printf("highest_bytes %llu\nrate %llu\nthinned %llu\nlive %u\nestimate %.6f\n", (unsigned long long)highest,
           (unsigned long long)mp_profile.rates[mp_profile.rate], (unsigned long long)mp_profile.counts[MP_NOTE_THINNED],
           mp_profile.live.index.rows, (double)mp_steer_bytes() / (double)(blocks * bytes));
}

int main(int count, char **words)
{
    uint64_t numbers[3] = {0};
    for (int i = 2; i < count && i < 5; i++) {
        numbers[i - 2] = strtoull(words[i], NULL, 10);
    }
    const char *what = count > 1 ? words[1] : "";
    if (strcmp(what, "live") == 0) {
        live(numbers[0], numbers[1], numbers[2]);
    } else if (strcmp(what, "stacks") == 0) {
        stacks(numbers[0]);
    } else if (strcmp(what, "deep") == 0) {
        deep((uint32_t)numbers[0], numbers[1]);
    } else if (strcmp(what, "budget") == 0) {
        budget(numbers[0], numbers[1], numbers[2]);
    } else {
        return 1;
    }
    return 0;
}
