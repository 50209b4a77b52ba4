/* SPDX-License-Identifier: MIT
 * The MPROFILE* environment variables: see options.h.
 *
 * Context: attach.
 */
#include "preload/options.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/profile.h"
#include "core/say.h"
#include "core/sys.h"

#define DEFAULT_NAME "mprofile.%p.%n.bin"
#define FRAMES_LIMIT 65535
#define RATE_LIMIT ((uint64_t)1 << 40)
#define KEEP_LIMIT 1024
#define MEMORY_LIMIT ((uint64_t)1 << 44)
#define MEMORY_LEAST ((uint64_t)4 << 20)
#define SHOWN_MAX 80
#define INTERVAL_LIMIT_S (10ull * 365 * 24 * 3600)

struct mp_options mp_options;

/* Reads a whole number; the rest of the text goes to *ret_rest. False where there is none or it is above limit. */
static bool read_number(const char *text, uint64_t limit, uint64_t *ret_number, const char **ret_rest)
{
    uint64_t number = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        number = number * 10 + (uint64_t)(*p - '0');
        if (number > limit) {
            return false;
        }
    }
    *ret_number = number;
    *ret_rest = p;
    return p != text;
}

/* A whole number with k, m or g behind it, or nothing. */
static bool parse_bytes(const char *text, uint64_t limit, uint64_t *ret_bytes)
{
    uint64_t number;
    const char *rest;
    if (!read_number(text, limit, &number, &rest)) {
        return false;
    }
    const char *units = "kmg";
    const char *unit = *rest != '\0' ? strchr(units, *rest | 0x20) : NULL;
    int shift = unit != NULL ? 10 * (int)(unit - units + 1) : 0;
    if (rest[unit != NULL] != '\0' || number > limit >> shift) {
        return false;
    }
    *ret_bytes = number << shift;
    return true;
}

static bool parse_rate(const char *text)
{
    if (strcasecmp(text, "off") == 0) {
        mp_options.rate = MP_RATE_OFF;
        return true;
    }
    return parse_bytes(text, RATE_LIMIT, &mp_options.rate);
}

static bool parse_memory(const char *text)
{
    uint64_t bytes = 0;
    if (strcasecmp(text, "none") != 0 && (!parse_bytes(text, MEMORY_LIMIT, &bytes) || bytes < MEMORY_LEAST)) {
        return false;
    }
    mp_options.memory = bytes;
    return true;
}

static bool parse_frames(const char *text)
{
    uint64_t number;
    const char *rest;
    if (!read_number(text, FRAMES_LIMIT, &number, &rest) || *rest != '\0' || number == 0) {
        return false;
    }
    mp_options.frames = (uint32_t)number;
    return true;
}

static bool parse_keep(const char *text)
{
    uint64_t number;
    const char *rest;
    if (strcasecmp(text, "all") == 0) {
        mp_options.keep = 0;
        return true;
    }
    if (!read_number(text, KEEP_LIMIT, &number, &rest) || *rest != '\0' || number == 0) {
        return false;
    }
    mp_options.keep = (uint32_t)number;
    return true;
}

static bool parse_interval(const char *text)
{
    uint64_t number;
    const char *rest;
    if (!read_number(text, INTERVAL_LIMIT_S, &number, &rest) || number == 0) {
        return false;
    }
    uint64_t seconds = *rest == 's' ? 1 : *rest == 'm' ? 60 : *rest == 'h' ? 3600 : 0;
    if (seconds == 0 || rest[1] != '\0' || number * seconds > INTERVAL_LIMIT_S) {
        return false;
    }
    mp_options.interval_ms = number * seconds * 1000;
    return true;
}

static bool parse_bool(const char *text, bool *ret_value)
{
    if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0) {
        return false;
    }
    *ret_value = text[0] == '1';
    return true;
}

static bool parse_exit(const char *text)
{
    return parse_bool(text, &mp_options.exit);
}

static bool parse_children(const char *text)
{
    return parse_bool(text, &mp_options.children);
}

static bool parse_argv(const char *text)
{
    return parse_bool(text, &mp_options.argv);
}

static bool parse_native(const char *text)
{
    return parse_bool(text, &mp_options.native);
}

static bool parse_debug(const char *text)
{
    mp_options.debug = strcmp(text, "0") != 0;
    return true;
}

static const struct {
    const char *name;
    int number;
} signal_names[] = {
    {"HUP", SIGHUP},   {"INT", SIGINT},       {"QUIT", SIGQUIT}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2},
    {"PIPE", SIGPIPE}, {"ALRM", SIGALRM},     {"TERM", SIGTERM}, {"CHLD", SIGCHLD}, {"CONT", SIGCONT},
    {"TSTP", SIGTSTP}, {"TTIN", SIGTTIN},     {"TTOU", SIGTTOU}, {"URG", SIGURG},   {"XCPU", SIGXCPU},
    {"XFSZ", SIGXFSZ}, {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF}, {"IO", SIGIO},     {"PWR", SIGPWR},
    {"SYS", SIGSYS},   {"WINCH", SIGWINCH},
};

/* Signals that cannot be caught, that report a fault of the program, or that libc keeps for itself. */
static bool usable(uint64_t number)
{
    switch (number) {
    case 0: case SIGKILL: case SIGSTOP: case SIGSEGV: case SIGBUS: case SIGILL: case SIGFPE:
    case SIGTRAP: case SIGABRT: return false;
    default: return number < 32 || (number >= (uint64_t)SIGRTMIN && number <= (uint64_t)SIGRTMAX);
    }
}

static bool parse_signal(const char *text)
{
    uint64_t number = 0;
    const char *rest = "";
    if (strcasecmp(text, "none") == 0) {
        mp_options.signal = 0;
        return true;
    }
    if (strncasecmp(text, "SIG", 3) == 0) {
        text += 3;
    }
    for (size_t i = 0; i < MP_COUNT(signal_names); i++) {
        if (strcasecmp(text, signal_names[i].name) == 0) {
            mp_options.signal = signal_names[i].number;
            return true;
        }
    }
    if (strncasecmp(text, "RTMIN+", 6) == 0) {
        if (!read_number(text + 6, 64, &number, &rest)) {
            return false;
        }
        number += (uint64_t)SIGRTMIN;
    } else if (strncasecmp(text, "RTMAX-", 6) == 0) {
        if (!read_number(text + 6, 30, &number, &rest)) {
            return false;
        }
        number = (uint64_t)SIGRTMAX - number;
    } else if (strcasecmp(text, "RTMIN") == 0) {
        number = (uint64_t)SIGRTMIN;
    } else if (strcasecmp(text, "RTMAX") == 0) {
        number = (uint64_t)SIGRTMAX;
    } else if (!read_number(text, 64, &number, &rest)) {
        return false;
    }
    if (*rest != '\0' || !usable(number)) {
        return false;
    }
    mp_options.signal = (int)number;
    return true;
}

static bool append(char *to, size_t *used, const char *text, bool literal)
{
    for (; *text != '\0'; text++) {
        if (*used + 2 >= MP_PATH_MAX / 2) {
            return false;
        }
        to[(*used)++] = *text;
        if (literal && *text == '%') {
            to[(*used)++] = '%';
        }
    }
    to[*used] = '\0';
    return true;
}

/* Makes the pattern absolute, by the working folder at start, and completes a folder. */
static bool parse_out(const char *text)
{
    char pattern[MP_PATH_MAX];
    size_t used = 0;
    if (mp_path_check(text) != NULL) {
        return false;
    }
    if (text[0] != '/') {
        if (!append(pattern, &used, mp_options.cwd, true) || !append(pattern, &used, "/", false)) {
            return false;
        }
    }
    if (!append(pattern, &used, text, false)) {
        return false;
    }
    struct stat file;
    bool there = mp_sys_call(SYS_newfstatat, AT_FDCWD, (long)text, (long)&file, 0, 0, 0) == 0;
    if (there && !S_ISDIR(file.st_mode) && !S_ISREG(file.st_mode)) {
        return false; /* a device or a pipe: we would write a file beside it */
    }
    bool folder = text[strlen(text) - 1] == '/' || (there && S_ISDIR(file.st_mode));
    if (folder && (!append(pattern, &used, "/", false) || !append(pattern, &used, DEFAULT_NAME, false))) {
        return false;
    }
    memcpy(mp_options.out, pattern, used + 1);
    return true;
}

static const struct option {
    const char *name, *fallback, *expected;
    bool (*parse)(const char *text);
} table[] = {
    {"MPROFILERATE", "128k", "bytes from 0 to 1024g with k, m or g behind, or off", parse_rate},
    {"MPROFILEFRAMES", "128", "a number from 1 to 65535", parse_frames},
    {"MPROFILEMEMORY", "1g", "bytes from 4m to 16384g with k, m or g behind, or none", parse_memory},
    {"MPROFILEOUT", DEFAULT_NAME,
     "a file name in which %p %n %t %h %% have a meaning, or a folder (no device or pipe)", parse_out},
    {"MPROFILESIGNAL", "USR2", "a name as USR2, a number, RTMIN+3, or none, that a program can catch",
     parse_signal},
    {"MPROFILEEXIT", "0", "0 or 1", parse_exit},
    {"MPROFILEINTERVAL", NULL, "a time as 30s, 5m or 1h", parse_interval},
    {"MPROFILEKEEP", "all", "a number from 1 to 1024, or all", parse_keep},
    {"MPROFILECHILDREN", "1", "0 or 1", parse_children},
    {"MPROFILEARGV", "1", "0 or 1", parse_argv},
    {"MPROFILENATIVE", "0", "0 or 1", parse_native},
    {"MPROFILEDEBUG", "0", "anything", parse_debug},
};

static void read_cwd(void)
{
    if (mp_sys_call(SYS_getcwd, (long)mp_options.cwd, MP_PATH_MAX, 0, 0, 0, 0) <= 0 ||
        mp_options.cwd[0] != '/') {
        memcpy(mp_options.cwd, ".", 2); /* it was removed */
    }
    if (strcmp(mp_options.cwd, "/") == 0) {
        mp_options.cwd[0] = '\0';
    }
}

/* A long value is shown by its beginning: what was expected is to fit on the line, too. */
static void complain(const struct option *option, const char *text)
{
    char shown[SHOWN_MAX + 4];
    size_t length = strnlen(text, SHOWN_MAX + 1);
    size_t kept = length <= SHOWN_MAX ? length : SHOWN_MAX;
    while (length > SHOWN_MAX && kept > 0 && ((unsigned char)text[kept] & 0xC0) == 0x80) {
        kept--; /* not in the middle of a character */
    }
    memcpy(shown, text, kept);
    memcpy(shown + kept, length > SHOWN_MAX ? "..." : "", length > SHOWN_MAX ? 4 : 1);
    mp_say(option->name, "=", shown, " makes no sense: expected ", option->expected, "; using ",
           option->fallback != NULL ? option->fallback : "none", NULL);
}

void mp_options_read(void)
{
    read_cwd();
    for (size_t i = 0; i < MP_COUNT(table); i++) {
        const struct option *option = &table[i];
        const char *text = getenv(option->name);
        if (option->fallback != NULL) {
            option->parse(option->fallback);
        }
        if (text != NULL && text[0] != '\0' && !option->parse(text)) {
            complain(option, text);
        }
    }
}
