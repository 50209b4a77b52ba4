/* SPDX-License-Identifier: MIT
 * Drives the walk inside an interpreter: a shared object that test scripts load with ctypes.
 *
 * Has no CPython header, as the code it tests has none: what it needs of the interpreter is found
 * with dlsym in the process it was loaded into.
 *
 * Context: tests. One caller at a time.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pyshim/validate.h"
#include "pyshim/walk.h"

#define EXPORT __attribute__((visibility("default")))
#define FRAMES_MAX 4096
#define DATA_MAX (8 << 20)

/* What precedes the three texts of a frame in the report. */
struct record {
    int32_t firstline, line, instr;
    int32_t filename_size, name_size, qualname_size;
};

static const struct mp_py_layout *layout;
static const char *code_type, *str_type, *bytes_type;
static const char *(*this_tstate)(void);
static int (*addr2line)(const void *code, int instr);

static struct mp_py_frame frames[FRAMES_MAX];
static char data[DATA_MAX];
static int depth;

EXPORT int drv_open(int minor, int free_threaded)
{
    layout = mp_py_layout_find(minor, free_threaded != 0);
    code_type = dlsym(RTLD_DEFAULT, "PyCode_Type");
    str_type = dlsym(RTLD_DEFAULT, "PyUnicode_Type");
    bytes_type = dlsym(RTLD_DEFAULT, "PyBytes_Type");
    *(void **)&this_tstate = dlsym(RTLD_DEFAULT, "PyGILState_GetThisThreadState");
    *(void **)&addr2line = dlsym(RTLD_DEFAULT, "PyCode_Addr2Line");
    return layout != NULL && code_type != NULL && str_type != NULL && bytes_type != NULL &&
                   this_tstate != NULL && addr2line != NULL
               ? 0
               : -1;
}

static int32_t put_text(uint16_t offset, const char *code, char *at, const char *end)
{
    const char *str;

    if (offset == MP_PY_NONE)
        return -1;
    memcpy(&str, code + offset, sizeof str);
    return mp_py_str_utf8_nopy(layout, str_type, str, at, (size_t)(end - at));
}

/* Walks the caller's stack and resolves it at once; returns the bytes of the report. */
EXPORT long drv_walk(int max, int count_limit)
{
    int kept = mp_py_walk_nopy(layout, code_type, this_tstate(), frames, max, count_limit, &depth);
    const uint16_t offsets[] = {layout->code.filename, layout->code.name, layout->code.qualname};
    char *at = data;

    for (int i = 0; i < kept; i++) {
        struct record record = {.instr = frames[i].instr};
        int32_t sizes[3];
        char *text = at + sizeof record;

        memcpy(&record.firstline, frames[i].code + layout->code.firstlineno, sizeof(int32_t));
        record.line = mp_py_code_line_nopy(layout, frames[i].code, frames[i].instr);
        for (int j = 0; j < 3; j++) {
            sizes[j] = put_text(offsets[j], frames[i].code, text, data + sizeof data);
            text += sizes[j] > 0 ? sizes[j] : 0;
        }
        record.filename_size = sizes[0];
        record.name_size = sizes[1];
        record.qualname_size = sizes[2];
        memcpy(at, &record, sizeof record);
        at = text;
        if (data + sizeof data - at < (1 << 20))
            return -1;
    }
    return at - data;
}

EXPORT const char *drv_data(void)
{
    return data;
}

EXPORT int drv_depth(void)
{
    return depth;
}

static int read_own(const void *address, void *dst, size_t size)
{
    struct iovec to = {dst, size}, from = {(void *)(uintptr_t)address, size};

    return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == (ssize_t)size ? 0 : -1;
}

/* With a layout that is not the process's own, validation must say no and must not crash. */
EXPORT const char *drv_validate_runtime(int minor, int free_threaded)
{
    const struct mp_py_layout *other = mp_py_layout_find(minor, free_threaded != 0);

    return mp_py_validate_runtime(other, dlsym(RTLD_DEFAULT, "_PyRuntime"), read_own);
}

EXPORT int drv_validate_stack(int minor, int free_threaded)
{
    const struct mp_py_layout *other = mp_py_layout_find(minor, free_threaded != 0);

    return mp_py_validate_stack(other, code_type, str_type, bytes_type, this_tstate(), read_own);
}

static int read_directly(const void *address, void *dst, size_t size)
{
    memcpy(dst, address, size);
    return 0;
}

/* The stack as it is at this moment: -1: validation or a line is wrong; 0: no stack; 1: right. */
int drv_check_here(void)
{
    const char *tstate = this_tstate();
    struct mp_py_frame here[64];
    int fits, kept, count, firstline;

    if (tstate == NULL)
        return 0;
    fits = mp_py_validate_stack(layout, code_type, str_type, bytes_type, tstate, read_directly);
    kept = mp_py_walk_nopy(layout, code_type, tstate, here, 64, 64, &count);
    if ((kept > 0) != (fits > 0))
        return -1;
    for (int i = 0; i < kept; i++) {
        int line = mp_py_code_line_nopy(layout, here[i].code, here[i].instr);
        int expected = addr2line(here[i].code, here[i].instr);

        memcpy(&firstline, here[i].code + layout->code.firstlineno, sizeof firstline);
        if (line != (expected < 0 ? firstline : expected))
            return -1;
    }
    return fits;
}

/* Compares the line of each instruction with CPython's own answer; returns how many differ. */
EXPORT int drv_compare(const char *code, int size, int *ret_instr)
{
    int firstline, wrong = 0;

    memcpy(&firstline, code + layout->code.firstlineno, sizeof firstline);
    for (int instr = -2; instr < size; instr += 2) {
        int expected = addr2line(code, instr);

        if (mp_py_code_line_nopy(layout, code, instr) == (expected < 0 ? firstline : expected))
            continue;
        *ret_instr = instr;
        wrong++;
    }
    return wrong;
}

EXPORT int drv_line(const char *code, int instr)
{
    return mp_py_code_line_nopy(layout, code, instr);
}

EXPORT int drv_utf8(const char *str, char *dst, size_t capacity)
{
    return mp_py_str_utf8_nopy(layout, str_type, str, dst, capacity);
}
