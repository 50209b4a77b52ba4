/* SPDX-License-Identifier: MIT
 * The names of snapshot files: see path.h.
 *
 * Context: any.
 */
#include "core/path.h"

#include <string.h>

#include "core/say.h"

const char *mp_path_check(const char *pattern)
{
    if (pattern[0] == '\0') {
        return "it is empty";
    }
    if (strlen(pattern) > MP_PATH_MAX / 2) {
        return "it is too long";
    }
    for (const char *p = pattern; *p != '\0'; p++) {
        if (*p == '%' && (p[1] == '\0' || strchr("pnth%", *++p) == NULL)) {
            return "after % only p, n, t, h and % have a meaning";
        }
    }
    return NULL;
}

struct text {
    char *to;
    size_t used;
    bool full;
};

static void put(struct text *text, const char *bytes, size_t size)
{
    if (text->used + size >= MP_PATH_MAX) {
        text->full = true;
        return;
    }
    memcpy(text->to + text->used, bytes, size);
    text->used += size;
}

static void put_number(struct text *text, uint64_t number)
{
    char digits[21];
    mp_say_number(number, digits);
    put(text, digits, strlen(digits));
}

/* Where ".N" goes: before the last dot of the last component, unless the component begins with it. */
static const char *extension(const char *pattern)
{
    const char *slash = strrchr(pattern, '/');
    const char *name = slash != NULL ? slash + 1 : pattern;
    const char *dot = strrchr(name, '.');
    return dot != NULL && dot != name ? dot : name + strlen(name);
}

int mp_path_expand(const char *pattern, const struct mp_path_values *values, char *ret_path)
{
    struct text text = {.to = ret_path};
    bool numbered = values->number <= 1;
    for (const char *p = pattern; *p != '\0'; p++) {
        if (*p == '%' && *++p == 'n') {
            numbered = true;
        }
    }
    const char *suffix = numbered ? NULL : extension(pattern);
    for (const char *p = pattern;; p++) {
        if (p == suffix) {
            put(&text, ".", 1);
            put_number(&text, values->number);
        }
        if (*p == '\0') {
            break;
        }
        if (*p != '%') {
            put(&text, p, 1);
            continue;
        }
        switch (*++p) {
        case 'p': put_number(&text, values->pid); break;
        case 'n': put_number(&text, values->number); break;
        case 't': put_number(&text, values->time_s); break;
        case 'h': put(&text, values->host, strlen(values->host)); break;
        default: put(&text, "%", 1); break;
        }
    }
    if (text.full) {
        return MP_ERR_FULL;
    }
    ret_path[text.used] = '\0';
    return MP_OK;
}
