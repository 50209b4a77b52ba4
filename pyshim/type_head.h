/* SPDX-License-Identifier: MIT
 * The head of a PyTypeObject, the same in 3.8 to 3.15 (Include/cpython/object.h), read so that a wrong address costs nothing.
 *
 * Context: hook, writer.
 */
#ifndef MP_PYSHIM_TYPE_HEAD_H
#define MP_PYSHIM_TYPE_HEAD_H

#include "core/sys.h"
#include "pyshim/interp.h"

/* From ob_type on; pointers are addresses in the interpreter, to be trusted by nobody. */
struct mp_py_type_head {
    uint64_t type, size, name, basic_size, item_size, dealloc, others[14], flags;
};

static inline bool mp_py_type_head_read(uint64_t type, struct mp_py_type_head *ret_head)
{
    return mp_sys_peek((const void *)(uintptr_t)(type + mp_py.layout->object.type), ret_head, sizeof *ret_head) == 0;
}

#endif
