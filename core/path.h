/* SPDX-License-Identifier: MIT
 * The names of snapshot files: templates with %p %n %t %h %%.
 *
 * Context: any; pure functions of their arguments.
 */
#ifndef MP_CORE_PATH_H
#define MP_CORE_PATH_H

#include "core/base.h"

#define MP_PATH_MAX 4096

struct mp_path_values {
    uint64_t pid, number, time_s;
    const char *host;
};

/* NULL: the template is good. Else what is wrong with it, in words. */
const char *mp_path_check(const char *pattern);
/* Writes the name to ret_path[MP_PATH_MAX], by a pattern that mp_path_check found good. One without %n gets ".N" before its
 * extension from the second snapshot on, so that none replaces another. MP_ERR_FULL where it is too long. */
int mp_path_expand(const char *pattern, const struct mp_path_values *values, char *ret_path);

#endif
