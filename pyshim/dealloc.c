/* SPDX-License-Identifier: MIT
 * The end of code objects: see dealloc.h.
 *
 * Forgotten twice. While a code object is being deallocated weak references to it are called, which may run Python
 * code and so take samples. The dying code should be in no frame by then (in 3.11.0 it was, GH-99729): what was learned of it meanwhile
 * is forgotten when its memory is free. If another thread has a new code object there by then, that is looked at once more than needed.
 *
 * Context: hook; deallocation.
 */
#include "pyshim/dealloc.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/sys.h"
#include "pyshim/code.h"
#include "pyshim/interp.h"
#include "pyshim/type_head.h"

#define BASIC_SIZE_MIN 96u
#define BASIC_SIZE_MAX 512u

typedef void (*dealloc_fn)(void *code);

static dealloc_fn real_dealloc; /* written once, before ours is in the type */
static dealloc_fn *slot;        /* the type's */

static void watched_dealloc(void *code)
{
    mp_py_code_forget(code);
    real_dealloc(code);
    mp_py_code_forget(code);
}

static bool looks_right(const struct mp_py_type_head *head)
{
    char name[5];
    return head->dealloc != 0 && head->basic_size >= BASIC_SIZE_MIN && head->basic_size <= BASIC_SIZE_MAX &&
           mp_sys_peek((const void *)(uintptr_t)head->name, name, sizeof name) == 0 &&
           memcmp(name, "code", sizeof name) == 0;
}

bool mp_py_dealloc_watch(void)
{
    uintptr_t type = (uintptr_t)mp_py.code_type;
    struct mp_py_type_head head;
    if (!mp_py_type_head_read(type, &head) || !looks_right(&head)) {
        return false;
    }
    dealloc_fn found;
    memcpy(&found, &head.dealloc, sizeof found);
    if (found != watched_dealloc) {
        dealloc_fn none = NULL;
        __atomic_compare_exchange_n(&real_dealloc, &none, found, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        slot = (dealloc_fn *)(type + mp_py.layout->object.type + offsetof(struct mp_py_type_head, dealloc));
        __atomic_store_n(slot, watched_dealloc, __ATOMIC_RELEASE);
    }
    return true;
}

/* Ours was taken away, or is below another: which of them is not known, but where what is there is what ours had replaced. */
static MP_COLD void not_ours(dealloc_fn found)
{
    if (found == real_dealloc) {
        __atomic_compare_exchange_n(slot, &found, watched_dealloc, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    mp_py_code_forget_all();
}

void mp_py_dealloc_check(void)
{
    dealloc_fn found = __atomic_load_n(slot, __ATOMIC_RELAXED);
    if (MP_UNLIKELY(found != watched_dealloc)) {
        not_ours(found);
    }
}
