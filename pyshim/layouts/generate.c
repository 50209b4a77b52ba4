/* SPDX-License-Identifier: MIT
 * Prints the layout table of the CPython whose headers it is compiled with.
 *
 * The only file of the project that includes CPython's headers, and it never ships: it is compiled
 * once per version and build kind (by generate.sh), and what it prints is committed. Definitions of
 * structures are taken from the headers, nothing else; so it needs no interpreter, and describes a
 * free-threaded build with the headers of a common one (-DPy_GIL_DISABLED).
 *
 * Context: tool.
 */
#define Py_BUILD_CORE 1
#include <Python.h>
#include <frameobject.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#if PY_VERSION_HEX >= 0x030E0000
#include "internal/pycore_code.h"
#include "internal/pycore_debug_offsets.h"
#include "internal/pycore_interpframe_structs.h"
#include "internal/pycore_stackref.h"
#elif PY_VERSION_HEX >= 0x030B0000
#include "internal/pycore_code.h"
#include "internal/pycore_frame.h"
#if PY_VERSION_HEX >= 0x030D0000
#include "internal/pycore_runtime.h"
#endif
#endif

#define NONE (-1)

static void put(const char *name, long value)
{
    if (value == NONE)
        printf("        .%s = MP_PY_NONE,\n", name);
    else
        printf("        .%s = %ld,\n", name, value);
}

#define PUT(name, type, field) put(name, (long)offsetof(type, field))

static void put_head(void)
{
    const char *chain = "MP_PY_CHAIN_DIRECT";
    const char *lines = "MP_PY_LINES_LOCATIONS";
    int tag_mask = 0, owner_skip = 255, owner_generator = 255, instr_scale = 0;

#if PY_VERSION_HEX < 0x030B0000
    chain = "MP_PY_CHAIN_FRAME";
    lines = PY_VERSION_HEX < 0x030A0000 ? "MP_PY_LINES_LNOTAB" : "MP_PY_LINES_LINETABLE";
    instr_scale = PY_VERSION_HEX < 0x030A0000 ? 1 : 2;
#else
    owner_generator = FRAME_OWNED_BY_GENERATOR;
#if PY_VERSION_HEX < 0x030D0000
    chain = "MP_PY_CHAIN_CFRAME";
#endif
#if PY_VERSION_HEX >= 0x030E0000
    /* Releases differ in how many bits they use; objects are aligned to 8 bytes or more. */
    _Static_assert((Py_TAG_BITS | 3) == 3, "the tag has grown");
    tag_mask = 3;
    owner_skip = FRAME_OWNED_BY_INTERPRETER;
#elif PY_VERSION_HEX >= 0x030C0000
    owner_skip = FRAME_OWNED_BY_CSTACK;
#endif
#endif
    printf("    .minor = %d,\n", PY_MINOR_VERSION);
#ifdef Py_GIL_DISABLED
    printf("    .free_threaded = true,\n");
#else
    printf("    .free_threaded = false,\n");
#endif
    printf("    .chain = %s,\n    .lines = %s,\n", chain, lines);
    printf("    .code_tag_mask = %d,\n    .owner_skip = %d,\n", tag_mask, owner_skip);
    printf("    .owner_generator = %d,\n    .instr_scale = %d,\n", owner_generator, instr_scale);
}

static void put_tstate(void)
{
    printf("    .tstate = {\n");
#if PY_VERSION_HEX >= 0x030D0000
    PUT("frame", PyThreadState, current_frame);
    put("cframe_current", NONE);
#elif PY_VERSION_HEX >= 0x030B0000
    PUT("frame", PyThreadState, cframe);
    PUT("cframe_current", _PyCFrame, current_frame);
#else
    PUT("frame", PyThreadState, frame);
    put("cframe_current", NONE);
#endif
    PUT("interp", PyThreadState, interp);
    PUT("thread_id", PyThreadState, thread_id);
#if PY_VERSION_HEX >= 0x030B0000
    PUT("native_thread_id", PyThreadState, native_thread_id);
#else
    put("native_thread_id", NONE);
#endif
#if PY_VERSION_HEX >= 0x030F0000
    PUT("base_frame", PyThreadState, base_frame);
#else
    put("base_frame", NONE);
#endif
    printf("    },\n");
}

static void put_frame(void)
{
    printf("    .frame = {\n");
#if PY_VERSION_HEX < 0x030B0000
    PUT("previous", PyFrameObject, f_back);
    PUT("code", PyFrameObject, f_code);
    PUT("instr", PyFrameObject, f_lasti);
    put("owner", NONE);
#else
    PUT("previous", struct _PyInterpreterFrame, previous);
#if PY_VERSION_HEX >= 0x030D0000
    PUT("code", struct _PyInterpreterFrame, f_executable);
    PUT("instr", struct _PyInterpreterFrame, instr_ptr);
#else
    PUT("code", struct _PyInterpreterFrame, f_code);
    PUT("instr", struct _PyInterpreterFrame, prev_instr);
#endif
    PUT("owner", struct _PyInterpreterFrame, owner);
#endif
#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030C0000
    PUT("entry", struct _PyInterpreterFrame, is_entry);
#else
    put("entry", NONE);
#endif
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030E0000
    PUT("tlbc_index", struct _PyInterpreterFrame, tlbc_index);
#else
    put("tlbc_index", NONE);
#endif
    printf("    },\n");
}

static void put_code(void)
{
    printf("    .code = {\n");
    PUT("filename", PyCodeObject, co_filename);
    PUT("name", PyCodeObject, co_name);
#if PY_VERSION_HEX >= 0x030B0000
    PUT("qualname", PyCodeObject, co_qualname);
#else
    put("qualname", NONE);
#endif
    PUT("firstlineno", PyCodeObject, co_firstlineno);
#if PY_VERSION_HEX >= 0x030A0000
    PUT("linetable", PyCodeObject, co_linetable);
#else
    PUT("linetable", PyCodeObject, co_lnotab);
#endif
#if PY_VERSION_HEX >= 0x030B0000
    put("bytecode", NONE);
    PUT("firsttraceable", PyCodeObject, _co_firsttraceable);
    PUT("code_adaptive", PyCodeObject, co_code_adaptive);
#else
    PUT("bytecode", PyCodeObject, co_code);
    put("firsttraceable", NONE);
    put("code_adaptive", NONE);
#endif
#if PY_VERSION_HEX >= 0x030B0000
    PUT("size_field", PyVarObject, ob_size);
#else
    put("size_field", NONE);
#endif
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030E0000
    PUT("tlbc", PyCodeObject, co_tlbc);
    printf("    },\n    .tlbc_array = {\n");
    PUT("size", _PyCodeArray, size);
    PUT("entries", _PyCodeArray, entries);
#else
    put("tlbc", NONE);
    printf("    },\n    .tlbc_array = {\n");
    put("size", NONE);
    put("entries", NONE);
#endif
    printf("    },\n");
}

/* Where a field of the bit field lies, read from a state that has nothing else set. */
static void put_bits(const char *shift_name, const char *mask_name, PyASCIIObject str)
{
    uint32_t bits;

    _Static_assert(sizeof str.state == sizeof bits, "the state of a str is not four bytes");
    memcpy(&bits, &str.state, sizeof bits);
    put(shift_name, __builtin_ctz(bits));
    if (mask_name != NULL)
        put(mask_name, (long)(bits >> __builtin_ctz(bits)));
}

static void put_objects(void)
{
    PyASCIIObject kind, compact, ascii;

    memset(&kind, 0, sizeof kind);
    compact = ascii = kind;
    kind.state.kind = 7;
    compact.state.compact = 1;
    ascii.state.ascii = 1;

    printf("    .object = {\n");
    PUT("type", PyObject, ob_type);
    printf("    },\n    .bytes = {\n");
    PUT("size", PyVarObject, ob_size);
    PUT("data", PyBytesObject, ob_sval);
    printf("    },\n    .str = {\n");
    PUT("length", PyASCIIObject, length);
    PUT("state", PyASCIIObject, state);
    put("ascii_data", (long)sizeof(PyASCIIObject));
    put("compact_data", (long)sizeof(PyCompactUnicodeObject));
    put_bits("kind_shift", "kind_mask", kind);
    put_bits("compact_shift", NULL, compact);
    put_bits("ascii_shift", NULL, ascii);
    printf("    },\n");
}

#if PY_VERSION_HEX >= 0x030D0000
#define PUT_DEBUG(name, field) PUT(name, struct _Py_DebugOffsets, field)
#else
#define PUT_DEBUG(name, field) put(name, NONE)
#endif

static void put_debug(void)
{
    printf("    .debug = {\n");
    PUT_DEBUG("version", version);
    PUT_DEBUG("free_threaded", free_threaded);
    PUT_DEBUG("tstate_current_frame", thread_state.current_frame);
    PUT_DEBUG("tstate_interp", thread_state.interp);
    PUT_DEBUG("tstate_thread_id", thread_state.thread_id);
    PUT_DEBUG("tstate_native_thread_id", thread_state.native_thread_id);
#if PY_VERSION_HEX >= 0x030F0000
    PUT_DEBUG("tstate_base_frame", thread_state.base_frame);
#else
    put("tstate_base_frame", NONE);
#endif
    PUT_DEBUG("frame_previous", interpreter_frame.previous);
    PUT_DEBUG("frame_executable", interpreter_frame.executable);
    PUT_DEBUG("frame_instr_ptr", interpreter_frame.instr_ptr);
    PUT_DEBUG("frame_owner", interpreter_frame.owner);
#if PY_VERSION_HEX >= 0x030E0000
    PUT_DEBUG("frame_tlbc_index", interpreter_frame.tlbc_index);
#else
    put("frame_tlbc_index", NONE);
#endif
    PUT_DEBUG("code_filename", code_object.filename);
    PUT_DEBUG("code_name", code_object.name);
    PUT_DEBUG("code_qualname", code_object.qualname);
    PUT_DEBUG("code_linetable", code_object.linetable);
    PUT_DEBUG("code_firstlineno", code_object.firstlineno);
    PUT_DEBUG("code_adaptive", code_object.co_code_adaptive);
#if PY_VERSION_HEX >= 0x030E0000
    PUT_DEBUG("code_tlbc", code_object.co_tlbc);
#else
    put("code_tlbc", NONE);
#endif
    PUT_DEBUG("object_type", pyobject.ob_type);
    PUT_DEBUG("bytes_size", bytes_object.ob_size);
    PUT_DEBUG("bytes_data", bytes_object.ob_sval);
    PUT_DEBUG("str_state", unicode_object.state);
    PUT_DEBUG("str_length", unicode_object.length);
    PUT_DEBUG("str_ascii_size", unicode_object.asciiobject_size);
#if PY_VERSION_HEX >= 0x030F0000
    PUT_DEBUG("str_compact_size", unicode_object.compactunicodeobject_size);
#else
    put("str_compact_size", NONE);
#endif
    printf("    },\n");
}

int main(void)
{
#ifdef Py_GIL_DISABLED
    const char *suffix = "t", *word = " free-threaded";
#else
    const char *suffix = "", *word = "";
#endif

    printf("/* SPDX-License-Identifier: MIT\n"
           " * CPython 3.%d%s: printed from the headers of %s by\n"
           " * pyshim/layouts/generate.sh PYTHON_INCLUDE_DIR%s\n"
           " * Do not edit.\n"
           " */\n",
           PY_MINOR_VERSION, suffix, PY_VERSION, word);
    printf("static const struct mp_py_layout py3%02d%s = {\n", PY_MINOR_VERSION, suffix);
    put_head();
    put_tstate();
    put_frame();
    put_code();
    put_objects();
    put_debug();
    printf("};\n");
    return 0;
}
