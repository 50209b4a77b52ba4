/* SPDX-License-Identifier: MIT
 * The tables of the profile as sections: see sections.h, and FORMAT.md for the columns.
 *
 * Order: rates and lineage; live samples, then sites, then nodes, functions and strings. Each of these names rows of the
 * next, and those only grow, so that every id is there although the process runs on.
 *
 * Context: writer.
 */
#include "core/sections.h"

#include <string.h>
#include <sys/syscall.h>

#include "core/modules.h"
#include "core/profile.h"
#include "core/resident.h"
#include "core/say.h"
#include "core/sys.h"

#define LIVE_STEP 1024u
#define SITE_STEP 512u
#define MODULE_STEP 256u
#define ROW_STEP 4096u
#define LARGE ((uint64_t)64 << 10) /* blocks from here on may have pages that nobody has touched */
#define CMDLINE_MAX (8u * 1024)

/* A copy of rows, made under the lock and written outside it. */
static union {
    struct mp_live_row live[LIVE_STEP];
    struct mp_site sites[SITE_STEP];
    struct mp_thread threads[LIVE_STEP];
    char text[CMDLINE_MAX];
} step;

static const char *const count_keys[MP_COUNTS] = {
    [MP_LOST_MEMORY] = "lost.memory",
    [MP_LOST_REENTERED] = "lost.reentered",
    [MP_LOST_FREES] = "lost.frees",
    [MP_LOST_STACKS] = "lost.stacks",
    [MP_LOST_SNAPSHOTS] = "lost.snapshots",
    [MP_LOST_SMALL_STACKS] = "lost.small_stacks",
    [MP_LOST_HOOKS] = "lost.hooks",
    [MP_NOTE_STACKS_CUT] = "note.stacks_cut",
    [MP_NOTE_REFUSED_513] = "note.refused_513",
    [MP_NOTE_REPLACED] = "note.replaced",
    [MP_NOTE_NAMES_CUT] = "note.names_cut",
    [MP_NOTE_NATIVE_UNMATCHED] = "note.native_unmatched",
    [MP_NOTE_NATIVE_SKIPPED] = "note.native_skipped",
    [MP_NOTE_NATIVE_REFUSED] = "note.native_refused",
    [MP_NOTE_THINNED] = "note.thinned",
};

/* Seconds with nine decimals. */
static void fact_time(struct mp_out *out, const char *key, uint64_t ns)
{
    char digits[32], rest[21];
    mp_say_number(ns / 1000000000u, digits);
    mp_say_number(1000000000u + ns % 1000000000u, rest);
    size_t length = strlen(digits);
    rest[0] = '.';
    memcpy(digits + length, rest, 11);
    mp_out_fact_text(out, key, digits);
}

static void fact_hex(struct mp_out *out, const char *key, uint64_t value)
{
    char digits[17];
    for (int i = 0; i < 16; i++) {
        digits[i] = "0123456789abcdef"[(value >> (60 - 4 * i)) & 15];
    }
    digits[16] = '\0';
    mp_out_fact_text(out, key, digits);
}

static void fact_process(struct mp_out *out, bool argv)
{
    mp_out_fact_number(out, "pid", (uint64_t)mp_sys_getpid());
    mp_out_fact_number(out, "ppid", (uint64_t)mp_sys_call(SYS_getppid, 0, 0, 0, 0, 0, 0));
    long length = mp_sys_call(SYS_readlinkat, -100 /* AT_FDCWD */, (long)"/proc/self/exe", (long)step.text,
                              sizeof step.text, 0, 0);
    if (length > 0) {
        mp_out_fact(out, "exe", step.text, (size_t)length);
    }
    length = argv ? mp_sys_slurp("/proc/self/cmdline", step.text, sizeof step.text) : 0;
    if (length > 0) {
        mp_out_fact(out, "cmdline", step.text, (size_t)length - (step.text[length - 1] == '\0'));
    }
}

/* Resident, where the kernel tells: the ends of tables are not there yet. */
static uint64_t own_bytes(void)
{
    uint64_t all = mp_profile_own_bytes(), sum = 0;
    if (!mp_resident_begin()) {
        return all;
    }
    for (uint32_t i = 0; i < MP_SYS_MAPS; i++) {
        size_t size;
        uintptr_t start = mp_sys_mapped_at(i, &size);
        sum += start != 0 ? mp_resident_bytes(start, start + size) : 0;
    }
    mp_resident_end();
    return sum < all ? sum : all;
}

void mp_sections_head(struct mp_out *out, bool argv, uint64_t now_ns, uint64_t began_ms)
{
    struct mp_profile *profile = &mp_profile;
    fact_process(out, argv);
    fact_hex(out, "uid", profile->lineage[profile->generation].uid);
    fact_time(out, "time", now_ns);
    fact_time(out, "start", profile->start_ns);
    mp_out_fact_number(out, "clock_ms", began_ms - profile->start_ms);
    uint64_t rate = profile->rates[__atomic_load_n(&profile->rate, __ATOMIC_ACQUIRE)];
    if (rate == MP_RATE_OFF) {
        mp_out_fact_text(out, "rate", "off");
    } else {
        mp_out_fact_number(out, "rate", rate);
    }
    mp_out_fact_number(out, "frames", profile->frames_max);
    mp_lock_take(&profile->lock);
    uint64_t samples = profile->live.index.rows;
    int64_t peak_bytes = profile->sites.peak_bytes;
    double peak_var = profile->sites.peak_var;
    uint64_t peak_ms = profile->sites.peak_ms;
    mp_lock_release(&profile->lock);
    mp_out_fact_number(out, "samples", samples);
    mp_out_fact_number(out, "peak_bytes", (uint64_t)peak_bytes);
    if (peak_var < 0x1p64) {
        mp_out_fact_number(out, "peak_var", peak_var > 0.0 ? (uint64_t)peak_var : 0);
    }
    mp_out_fact_number(out, "peak_clock_ms", peak_ms);
    mp_out_fact_number(out, "own_bytes", own_bytes());
    for (int i = 0; i < MP_COUNTS; i++) {
        uint64_t count = __atomic_load_n(&profile->counts[i], __ATOMIC_RELAXED);
        if (count != 0) {
            mp_out_fact_number(out, count_keys[i], count);
        }
    }
}

static void begin_rows(struct mp_out *out, const char tag[4], uint32_t first, uint32_t count)
{
    mp_out_begin(out, tag, 0);
    mp_out_u32(out, first);
    mp_out_u32(out, count);
}

/* names: of the types, or NULL. */
static void write_live(struct mp_out *out, uint32_t count, const uint32_t *names)
{
    const struct mp_live_row *rows = step.live;
    begin_rows(out, "LIVE", count, 0);
    mp_out_column(out, &rows->address, count, 8, sizeof *rows);
    mp_out_column(out, &rows->size, count, 8, sizeof *rows);
    static uint32_t threads[LIVE_STEP];
    for (uint32_t i = 0; i < count; i++) {
        threads[i] = (uint32_t)(rows[i].time_thread & MP_LIVE_THREAD_MAX);
        step.live[i].time_thread >>= 24;
    }
    mp_out_column(out, &rows->time_thread, count, 8, sizeof *rows);
    mp_out_column(out, &rows->site, count, 4, sizeof *rows);
    mp_out_column(out, threads, count, 4, 4);
    mp_out_column(out, &rows->rate, count, 2, sizeof *rows);
    mp_out_column(out, &rows->generation, count, 2, sizeof *rows);
    mp_out_column(out, &rows->depth, count, 2, sizeof *rows);
    if (names != NULL) {
        mp_out_column(out, names, count, 4, 4);
    }
    mp_out_end(out);
}

/* Of the large blocks among the rows just written: what is resident. */
static void write_resident(struct mp_out *out, uint32_t count)
{
    static uint64_t addresses[LIVE_STEP];
    static struct mp_resident found[LIVE_STEP];
    uint32_t known = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t address = step.live[i].address, size = step.live[i].size;
        if (size >= LARGE && mp_resident_ask(address, address + size, &found[known])) {
            addresses[known++] = address;
        }
    }
    if (known == 0) {
        return;
    }
    begin_rows(out, "RESI", known, 0);
    mp_out_column(out, addresses, known, 8, 8);
    mp_out_column(out, &found->own, known, 8, sizeof *found);
    mp_out_column(out, &found->copied, known, 8, sizeof *found);
    mp_out_column(out, &found->shared, known, 8, sizeof *found);
    mp_out_end(out);
}

/* rates: how many rows of RATE were written. A sample at one that came later came later itself. */
static void live_sections(struct mp_out *out, uint32_t rates, const struct mp_section_types *types)
{
    static uint32_t names[LIVE_STEP];
    struct mp_vec *rows = &mp_profile.live.rows;
    uint32_t next = 1, step_rows = types != NULL ? types->step : LIVE_STEP;
    bool resident = mp_resident_begin();
    if (types != NULL) {
        types->begin();
    }
    while (next < mp_vec_count(rows) && out->error == 0) {
        uint32_t count = 0;
        mp_lock_take(&mp_profile.lock);
        if (next >= rows->count) { /* cleared meanwhile */
            mp_lock_release(&mp_profile.lock);
            break;
        }
        /* A heap that shrank leaves runs of free rows: bound the step by what is looked at, too. */
        uint32_t end = rows->count - next > 16 * LIVE_STEP ? next + 16 * LIVE_STEP : rows->count;
        for (; next < end && count < step_rows; next++) {
            const struct mp_live_row *row = mp_vec_at(rows, next);
            if (row->address != 0 && row->rate < rates) {
                step.live[count++] = *row;
            }
        }
        if (types != NULL) {
            types->name_locked(step.live, count, names);
        }
        mp_lock_release(&mp_profile.lock);
        if (count > 0) {
            write_live(out, count, types != NULL ? names : NULL);
        }
        if (resident && out->error == 0) {
            write_resident(out, count);
        }
    }
    if (resident) {
        mp_resident_end();
    }
}

/* peaks: bytes, then variances. */
static void write_sites(struct mp_out *out, uint32_t first, uint32_t count, double peaks[2][SITE_STEP])
{
    const struct mp_site *rows = step.sites;
    begin_rows(out, "SITE", first, count);
    mp_out_column(out, &rows->node, count, 4, sizeof *rows);
    mp_out_column(out, &rows->domain, count, 1, sizeof *rows);
    mp_out_column(out, &rows->alloc_samples, count, 8, sizeof *rows);
    mp_out_column(out, &rows->alloc_blocks, count, 8, sizeof *rows);
    mp_out_column(out, &rows->alloc_bytes, count, 8, sizeof *rows);
    mp_out_column(out, &rows->alloc_blocks_var, count, 8, sizeof *rows);
    mp_out_column(out, &rows->alloc_bytes_var, count, 8, sizeof *rows);
    mp_out_column(out, peaks[0], count, 8, 8);
    mp_out_column(out, peaks[1], count, 8, 8);
    mp_out_end(out);
}

static void site_sections(struct mp_out *out)
{
    static double peaks[2][SITE_STEP];
    struct mp_vec *rows = &mp_profile.sites.rows;
    for (uint32_t first = 1; first < mp_vec_count(rows) && out->error == 0;) {
        mp_lock_take(&mp_profile.lock);
        uint32_t count = rows->count - first < SITE_STEP ? rows->count - first : SITE_STEP;
        for (uint32_t i = 0; i < count; i++) {
            struct mp_site *site = &step.sites[i];
            *site = *(struct mp_site *)mp_vec_at(rows, first + i);
            mp_sites_peak(&mp_profile.sites, site, &peaks[0][i], &peaks[1][i]);
            if (site->generation != mp_profile.sites.generation) {
                site->alloc_samples = 0;
                site->alloc_blocks = site->alloc_bytes = 0.0;
                site->alloc_blocks_var = site->alloc_bytes_var = 0.0;
            }
        }
        mp_lock_release(&mp_profile.lock);
        write_sites(out, first, count, peaks);
        first += count;
    }
}

/* How many rows of a table are whole: the last one counted may be being filled, under the lock. */
static uint32_t whole_rows(const struct mp_vec *rows)
{
    mp_lock_take(&mp_profile.lock);
    uint32_t count = rows->count;
    mp_lock_release(&mp_profile.lock);
    return count;
}

/* Rows of three u32 columns that never change: no lock. `skip` rows at the beginning are not written. */
static void triple_sections(struct mp_out *out, const char tag[4], const struct mp_vec *rows, uint32_t skip)
{
    uint32_t end = whole_rows(rows);
    for (uint32_t first = skip; first < end && out->error == 0;) {
        uint32_t count = end - first < ROW_STEP ? end - first : ROW_STEP;
        begin_rows(out, tag, first, count);
        for (uint32_t column = 0; column < 3; column++) {
            for (uint32_t i = 0; i < count; i++) {
                mp_out_bytes(out, (char *)mp_vec_at(rows, first + i) + column * 4, 4);
            }
            mp_out_pad(out);
        }
        mp_out_end(out);
        first += count;
    }
}

/* Rows that never change: no lock. */
static void module_sections(struct mp_out *out)
{
    static struct mp_module copy[MODULE_STEP];
    for (uint32_t first = 1, end = mp_module_count(); first < end && out->error == 0;) {
        uint32_t count = end - first < MODULE_STEP ? end - first : MODULE_STEP;
        for (uint32_t i = 0; i < count; i++) {
            copy[i] = *mp_module_get(first + i);
        }
        begin_rows(out, "MODS", first, count);
        mp_out_column(out, &copy->path, count, 4, sizeof *copy);
        mp_out_column(out, &copy->build_id, count, 4, sizeof *copy);
        mp_out_column(out, &copy->start, count, 8, sizeof *copy);
        mp_out_column(out, &copy->end, count, 8, sizeof *copy);
        mp_out_column(out, &copy->bias, count, 8, sizeof *copy);
        mp_out_end(out);
        first += count;
    }
}

/* Returns how many there were. */
static uint32_t string_sections(struct mp_out *out)
{
    const struct mp_strtab *strings = &mp_profile.strings;
    uint32_t end = whole_rows(&strings->rows);
    for (uint32_t first = 0; first < end && out->error == 0;) {
        uint32_t count = 0, bytes = 0, length = 0;
        while (first + count < end) {
            mp_strtab_get(strings, first + count, &length);
            if (MP_OUT_HEADER + 8 + 4 * (count + 1) + 8 + bytes + length > MP_OUT_CAPACITY - 64) {
                break;
            }
            bytes += length;
            count++;
        }
        begin_rows(out, "STRS", first, count);
        for (uint32_t i = 0; i < count; i++) {
            mp_strtab_get(strings, first + i, &length);
            mp_out_u32(out, length);
        }
        mp_out_pad(out);
        for (uint32_t i = 0; i < count; i++) {
            const char *text = mp_strtab_get(strings, first + i, &length);
            mp_out_bytes(out, text, length);
        }
        mp_out_end(out);
        first += count;
    }
    return end;
}

/* The names of the threads in `step`, as strings of the file alone from `first` on. Returns how many there are: no name is
 * string 0. */
static uint32_t name_section(struct mp_out *out, uint32_t first, uint32_t count, uint32_t *ret_names)
{
    uint32_t named = 0;
    for (uint32_t i = 0; i < count; i++) {
        ret_names[i] = step.threads[i].name[0] != '\0' ? first + named++ : 0;
    }
    if (named == 0) {
        return 0;
    }
    begin_rows(out, "STRS", first, named);
    for (uint32_t i = 0; i < count; i++) {
        if (ret_names[i] != 0) {
            mp_out_u32(out, (uint32_t)strnlen(step.threads[i].name, sizeof step.threads[i].name));
        }
    }
    mp_out_pad(out);
    for (uint32_t i = 0; i < count; i++) {
        mp_out_bytes(out, step.threads[i].name, strnlen(step.threads[i].name, sizeof step.threads[i].name));
    }
    mp_out_end(out);
    return named;
}

/* strings: how many were written. */
static void thread_sections(struct mp_out *out, uint32_t strings)
{
    static uint32_t names[LIVE_STEP];
    struct mp_vec *rows = &mp_profile.threads;
    for (uint32_t first = 0; first < mp_vec_count(rows) && out->error == 0;) {
        mp_lock_take(&mp_profile.lock);
        uint32_t count = rows->count - first < LIVE_STEP ? rows->count - first : LIVE_STEP;
        for (uint32_t i = 0; i < count; i++) {
            step.threads[i] = *(struct mp_thread *)mp_vec_at(rows, first + i);
        }
        mp_lock_release(&mp_profile.lock);
        strings += name_section(out, strings, count, names);
        begin_rows(out, "THRD", first, count);
        mp_out_column(out, &step.threads->tid, count, 8, sizeof *step.threads);
        mp_out_column(out, &step.threads->ident, count, 8, sizeof *step.threads);
        mp_out_column(out, names, count, 4, 4);
        mp_out_end(out);
        first += count;
    }
}

/* Returns how many rates there were. */
static uint32_t small_sections(struct mp_out *out)
{
    mp_lock_take(&mp_profile.lock);
    uint32_t rates = mp_profile.rate_count, generations = mp_profile.generation + 1u;
    mp_lock_release(&mp_profile.lock);
    begin_rows(out, "RATE", rates, 0);
    mp_out_column(out, mp_profile.rates, rates, 8, 8);
    mp_out_end(out);
    const struct mp_generation *lineage = mp_profile.lineage;
    begin_rows(out, "LINE", generations, 0);
    mp_out_column(out, &lineage->uid, generations, 8, sizeof *lineage);
    mp_out_column(out, &lineage->pid, generations, 8, sizeof *lineage);
    mp_out_column(out, &lineage->clock_ms, generations, 8, sizeof *lineage);
    mp_out_end(out);
    return rates;
}

static void proc_section(struct mp_out *out, const char *path)
{
    long length = mp_sys_slurp(path, step.text, sizeof step.text);
    if (length <= 0) {
        return;
    }
    uint32_t name_length = (uint32_t)strlen(path);
    begin_rows(out, "PROC", name_length, (uint32_t)length);
    mp_out_bytes(out, path, name_length);
    mp_out_pad(out);
    mp_out_bytes(out, step.text, (size_t)length);
    mp_out_end(out);
}

void mp_sections_tables(struct mp_out *out, const struct mp_section_types *types)
{
    uint32_t rates = small_sections(out); /* early: nothing of a file that was cut can be weighed without the rates */
    proc_section(out, "/proc/self/status");
    proc_section(out, "/proc/self/statm");
    proc_section(out, "/proc/self/smaps_rollup");
    live_sections(out, rates, types);
    site_sections(out);
    triple_sections(out, "NODE", &mp_profile.tree.nodes, 1);
    triple_sections(out, "FUNC", &mp_profile.tree.functions, 0);
    module_sections(out);
    thread_sections(out, string_sections(out));
}
