/* SPDX-License-Identifier: MIT
 * What `import mprofile` asks of the library: see control.h.
 *
 * Invariants: what changes how allocators are hooked, or the rate, runs with `steering` held, for free-threaded interpreters
 * have no GIL that would keep two threads from it.
 * Context: host.
 */
#include "preload/control.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/modules.h"
#include "core/path.h"
#include "core/profile.h"
#include "core/steer.h"
#include "core/writer.h"
#include "preload/dump.h"
#include "preload/options.h"
#include "preload/process.h"
#include "pyshim/hooks.h"

#define FRAMES_LIMIT 65535u

_Static_assert(MP_CONTROL_RATE_OFF == MP_RATE_OFF, "one word for off");

static struct mp_lock steering;

static int as_errno(int result)
{
    return result == MP_OK ? 0 : result == MP_ERR_FULL ? ENOSPC : ENOMEM;
}

MP_EXPORT uint32_t mprofile_interface(void)
{
    return MP_INTERFACE;
}

MP_EXPORT const char *mprofile_attach(void)
{
    mp_lock_take(&steering);
    const char *why = mp_process_attach();
    if (why == NULL && !mp_py_hooks_hold()) {
        mp_profile_add(MP_LOST_HOOKS, mp_steer_clear()); /* which of them are gone is not known */
    }
    mp_lock_release(&steering);
    return why;
}

void mp_control_fork_child(void)
{
    mp_lock_reset(&steering); /* another thread's, which is not here: what it left half done, the next change does whole */
}

MP_EXPORT uint64_t mprofile_rate(void)
{
    return mp_profile.ready ? mp_profile.rates[__atomic_load_n(&mp_profile.rate, __ATOMIC_ACQUIRE)] : MP_RATE_OFF;
}

MP_EXPORT int mprofile_set_rate(uint64_t rate)
{
    if (!mp_profile.ready) {
        return rate == MP_RATE_OFF ? 0 : EINVAL;
    }
    mp_lock_take(&steering);
    bool finer = rate < mprofile_rate();
    if (finer) {
        mp_py_hooks_rate(rate);
    }
    int result = mp_steer_rate(rate);
    if (!finer) {
        mp_py_hooks_rate(rate);
    }
    mp_lock_release(&steering);
    return as_errno(result);
}

MP_EXPORT int mprofile_begin(void)
{
    return mprofile_rate() == MP_RATE_OFF ? mprofile_set_rate(mp_options.rate) : 0;
}

MP_EXPORT int mprofile_set_frames(uint32_t frames)
{
    if (frames < 1 || frames > FRAMES_LIMIT || !mp_profile.ready) {
        return EINVAL;
    }
    mp_lock_take(&steering);
    int result = mp_steer_frames(frames);
    mp_lock_release(&steering);
    return as_errno(result);
}

MP_EXPORT uint32_t mprofile_frames(void)
{
    return __atomic_load_n(&mp_profile.frames_max, __ATOMIC_ACQUIRE);
}

MP_EXPORT void mprofile_clear(void)
{
    if (mp_profile.ready) {
        mp_steer_clear();
    }
}

MP_EXPORT void mprofile_traced(uint64_t *ret_current, uint64_t *ret_peak)
{
    *ret_current = mp_profile.ready ? mp_steer_bytes() : 0;
    *ret_peak = mp_profile.ready ? mp_steer_peak_bytes() : 0;
    if (*ret_peak < *ret_current) { /* read at two moments */
        *ret_peak = *ret_current;
    }
}

MP_EXPORT void mprofile_reset_peak(void)
{
    if (mp_profile.ready) {
        mp_steer_reset_peak();
    }
}

MP_EXPORT uint64_t mprofile_own_bytes(void)
{
    return mp_profile.ready ? mp_profile_own_bytes() : 0;
}

/* A buffer that counts what does not fit. */
struct answer {
    char *buffer;
    size_t size, used;
};

static void put(struct answer *answer, const void *bytes, size_t length)
{
    if (answer->used + length <= answer->size) {
        memcpy(answer->buffer + answer->used, bytes, length);
    }
    answer->used += length;
}

static void put_text(struct answer *answer, uint32_t string)
{
    uint32_t length;
    const char *text = mp_strtab_get(&mp_profile.strings, string, &length);
    uint32_t whole = 0; /* a zero in a name would end it twice */
    while (whole < length && text[whole] != '\0') {
        whole++;
    }
    put(answer, text, whole);
    put(answer, "", 1);
}

/* Nodes and what they name do not change, so this needs no lock. C functions are left out: they have no lines of source. */
static uint32_t put_frames(struct answer *answer, uint32_t node)
{
    uint32_t count = 0;
    while (node != 0) {
        const struct mp_node *frame = mp_vec_at(&mp_profile.tree.nodes, node);
        const struct mp_function *function = mp_vec_at(&mp_profile.tree.functions, frame->function);
        if (function->firstline != MP_FIRSTLINE_NATIVE) {
            put(answer, &frame->line, sizeof frame->line);
            put(answer, &function->firstline, sizeof function->firstline);
            put_text(answer, function->file);
            put_text(answer, function->name);
            count++;
        }
        node = frame->parent;
    }
    return count;
}

MP_EXPORT size_t mprofile_traceback(uint64_t address, char *buffer, size_t size)
{
    struct mp_live_row row;
    if (!mp_profile.ready || address == 0 || !mp_steer_find((const void *)(uintptr_t)address, &row)) {
        return 0;
    }
    const struct mp_site *site = mp_vec_at(&mp_profile.sites.rows, row.site);
    struct answer answer = {buffer, size, 0};
    uint32_t depth = row.depth, count = 0;
    put(&answer, &row.size, sizeof row.size);
    put(&answer, &depth, sizeof depth);
    size_t where = answer.used;
    put(&answer, &count, sizeof count);
    count = put_frames(&answer, site->node);
    if (where + sizeof count <= size) {
        memcpy(buffer + where, &count, sizeof count);
    }
    return answer.used;
}

static int write_to(void *what)
{
    return mp_writer_write_to(*(int *)what, MP_TRIGGER_API);
}

MP_EXPORT int mprofile_dump_fd(int fd)
{
    return mp_profile.ready ? mp_dump_by(write_to, &fd) : EINVAL;
}

struct named {
    char pattern[MP_PATH_MAX], path[MP_PATH_MAX];
};

static int write_as(void *what)
{
    struct named *named = what;
    return mp_writer_write_as(named->pattern, MP_TRIGGER_API, named->path);
}

static int write_by_default(void *what)
{
    struct named *named = what;
    int error = mp_writer_write(MP_TRIGGER_API);
    memcpy(named->path, mp_writer_last_path(), sizeof named->path);
    return error;
}

/* A name is no template: its % are its own. */
static bool escape(const char *path, char *ret_pattern)
{
    size_t used = 0;
    for (; *path != '\0'; path++) {
        size_t width = *path == '%' ? 2 : 1;
        if (used + width >= MP_PATH_MAX) {
            return false;
        }
        memset(ret_pattern + used, *path, width);
        used += width;
    }
    ret_pattern[used] = '\0';
    return used > 0;
}

MP_EXPORT int mprofile_dump(const char *path, char *ret_path, size_t size)
{
    struct named named;
    if (!mp_profile.ready) {
        return EINVAL;
    }
    if (path != NULL && !escape(path, named.pattern)) {
        return path[0] == '\0' ? ENOENT : ENAMETOOLONG;
    }
    int error = mp_dump_by(path != NULL ? write_as : write_by_default, &named);
    if (error != 0) {
        return error;
    }
    size_t length = strlen(named.path) + 1;
    if (length > size) {
        return ERANGE;
    }
    memcpy(ret_path, named.path, length);
    return 0;
}
