/* SPDX-License-Identifier: MIT
 * A str's characters as UTF-8, without asking CPython.
 *
 * A compact str has its characters behind its header, in one, two or four bytes each. All names
 * that a code object holds are of that form. CPython's own encoder keeps its result in the
 * object, which allocates; so this one writes to the caller's memory.
 *
 * Context: hook.
 */
#include "pyshim/walk.h"

#include <limits.h>

#include "pyshim/layout_read.h"

#define REPLACEMENT 0xfffdu

struct view {
    const char *data;
    size_t length; /* characters */
    unsigned kind; /* bytes a character */
    bool ascii;
};

static bool view_str(const struct mp_py_layout *layout, const char *type, const char *str,
                     struct view *ret_view)
{
    uint32_t state;
    int64_t length;

    if (str == NULL || mp_py_read_ptr(str, layout->object.type) != type)
        return false;
    state = mp_py_read_u32(str, layout->str.state);
    length = mp_py_read_i64(str, layout->str.length);
    ret_view->kind = (state >> layout->str.kind_shift) & layout->str.kind_mask;
    ret_view->ascii = (state >> layout->str.ascii_shift) & 1;
    if (length < 0 || length > (INT64_C(1) << 60) || !((state >> layout->str.compact_shift) & 1) ||
        (ret_view->kind != 1 && ret_view->kind != 2 && ret_view->kind != 4))
        return false;
    ret_view->length = (size_t)length;
    ret_view->data = str + (ret_view->ascii ? layout->str.ascii_data : layout->str.compact_data);
    return true;
}

static uint32_t read_char(const struct view *view, size_t i)
{
    uint32_t c = 0;

    if (view->kind == 1)
        return (uint8_t)view->data[i];
    memcpy(&c, view->data + i * view->kind, view->kind == 2 ? 2 : 4);
    return c <= 0x10ffff ? c : REPLACEMENT;
}

/* Returns the bytes written, 0 where there is no room. */
static size_t put_char(uint32_t c, char *dst, size_t room)
{
    size_t size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

    if (size > room)
        return 0;
    for (size_t i = size - 1; i > 0; i--, c >>= 6)
        dst[i] = (char)(0x80 | (c & 0x3f));
    dst[0] = (char)(lead[size] | c);
    return size;
}

int mp_py_str_utf8_nopy(const struct mp_py_layout *layout, const char *type, const char *str,
                        char *dst, size_t capacity)
{
    struct view view;
    size_t used = 0;

    if (!view_str(layout, type, str, &view))
        return -1;
    if (capacity > INT_MAX)
        capacity = INT_MAX;
    if (view.ascii) {
        used = view.length < capacity ? view.length : capacity;
        memcpy(dst, view.data, used);
        return (int)used;
    }
    for (size_t i = 0; i < view.length; i++) {
        size_t size = put_char(read_char(&view, i), dst + used, capacity - used);

        if (size == 0)
            break;
        used += size;
    }
    return (int)used;
}
