/* SPDX-License-Identifier: MIT
 * The loaded objects that native frames lie in: see modules.h.
 *
 * Context: hook, under the profile's lock.
 */
#include "core/modules.h"

#include "core/profile.h"

static struct mp_vec rows = {.item_size = sizeof(struct mp_module), .first_log2 = 8};

/* The end of a long text says more of a path than its beginning does; of a C++ name it is the other way round. */
static int64_t intern(const char *text, bool keep_end)
{
    size_t length = 0;
    while (text[length] != '\0') {
        length++;
    }
    if (length > MP_STRING_MAX) {
        text += keep_end ? length - MP_STRING_MAX : 0;
        length = MP_STRING_MAX;
        mp_profile_count(MP_NOTE_NAMES_CUT);
    }
    return mp_strtab_intern(&mp_profile.strings, text, (uint32_t)length);
}

int64_t mp_module_add(const char *path, const char *build_id, uint64_t start, uint64_t end, uint64_t bias)
{
    int64_t path_id = intern(path, true);
    int64_t build_id_id = path_id < 0 ? path_id : intern(build_id, false);
    if (build_id_id < 0) {
        return build_id_id;
    }
    if (rows.count == 0 && mp_vec_push(&rows) < 0) {
        return MP_ERR_MEMORY;
    }
    int64_t row = mp_vec_push(&rows);
    if (row > 0) {
        *(struct mp_module *)mp_vec_at(&rows, (uint32_t)row) =
            (struct mp_module){(uint32_t)path_id, (uint32_t)build_id_id, start, end, bias};
    }
    return row;
}

uint32_t mp_module_count(void)
{
    return mp_vec_count(&rows);
}

const struct mp_module *mp_module_get(uint32_t row)
{
    return mp_vec_at(&rows, row);
}

/* Functions of frames seen before: texts are not compared for each frame. */
#define KNOWN 4096u
static struct {
    uint32_t module, symbol, function;
} known[KNOWN];

static int64_t function_of(const struct mp_native_frame *frame, const char *name)
{
    uint64_t key = (uint64_t)frame->module << 32 | frame->symbol;
    uint32_t slot = mp_hash_u64(key) & (KNOWN - 1);
    if (known[slot].function != 0 && known[slot].module == frame->module && known[slot].symbol == frame->symbol) {
        return known[slot].function;
    }
    int64_t name_id = intern(name, false);
    uint32_t path = frame->module != 0 ? mp_module_get(frame->module)->path : 0;
    int64_t function = name_id < 0 ? name_id
                                   : mp_tree_function(&mp_profile.tree, (uint32_t)name_id, path,
                                                      MP_FIRSTLINE_NATIVE);
    if (function > 0) {
        known[slot].module = frame->module;
        known[slot].symbol = frame->symbol;
        known[slot].function = (uint32_t)function;
    }
    return function;
}

int64_t mp_module_node(uint32_t parent, const struct mp_native_frame *frame, const char *name)
{
    int64_t function = function_of(frame, name);
    return function < 0 ? function
                        : mp_tree_node(&mp_profile.tree, parent, (uint32_t)function, frame->address);
}
