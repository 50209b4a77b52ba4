/* SPDX-License-Identifier: MIT
 * The MPROFILE* environment variables, as one table.
 *
 * A value that makes no sense costs one line on standard error and nothing else: the variable's default is used.
 *
 * Context: attach. Read once; const after.
 */
#ifndef MP_PRELOAD_OPTIONS_H
#define MP_PRELOAD_OPTIONS_H

#include "core/base.h"
#include "core/path.h"

struct mp_options {
    uint64_t rate;        /* bytes; 0 or 1: every allocation; MP_RATE_OFF */
    uint32_t frames;
    char out[MP_PATH_MAX]; /* absolute pattern */
    int signal;           /* 0: none */
    uint64_t memory;      /* bytes; 0: no budget */
    bool exit;
    uint64_t interval_ms; /* 0: none */
    uint32_t keep;        /* 0: all */
    bool children, argv, native, debug;
    char cwd[MP_PATH_MAX];
};

extern struct mp_options mp_options;

void mp_options_read(void);

#endif
