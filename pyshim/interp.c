/* SPDX-License-Identifier: MIT
 * The interpreter of this process: see interp.h.
 *
 * A thread reads its own frames without the GIL, which is safe while its thread state lives. When
 * the interpreter finalizes it frees the thread states of daemon threads, so from then on only a thread that holds the
 * GIL is walked, and the others announce their walks in `walkers`, for the finalizing thread to wait.
 *
 * Context: attach, hook.
 */
#include "pyshim/interp.h"

#include <pthread.h>
#include <string.h>

#include "core/profile.h"
#include "core/sys.h"
#include "pyshim/code.h"
#include "pyshim/dealloc.h"
#include "pyshim/validate.h"
#include "pyshim/walk.h"

/* Frames are counted, not kept, this far beyond the limit. */
#define DEPTH_BEYOND 4096

struct mp_py mp_py;

static void (*complain)(const char *why);
static uint32_t walkers; /* threads that walk without the GIL; atomic */

_Static_assert(sizeof(struct mp_py_frame) == MP_FRAME_SIZE, "frames fit the room that the core makes");

static int parse_version(const char *text)
{
    unsigned numbers[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        while (*text >= '0' && *text <= '9' && numbers[i] < 1000) {
            numbers[i] = numbers[i] * 10 + (unsigned)(*text++ - '0');
        }
        if (*text != '.') {
            break;
        }
        text++;
    }
    mp_py.minor = (int)numbers[1];
    return (int)numbers[0];
}

static const char *identify(mp_py_resolve resolve)
{
    const char *(*get_version)(void) = (const char *(*)(void))resolve("Py_GetVersion");
    if (get_version == NULL) {
        return "it has no Py_GetVersion";
    }
    const char *text = get_version();
    size_t length = strnlen(text, sizeof mp_py.version - 1);
    memcpy(mp_py.version, text, length);
    mp_py.version[length] = '\0';
    mp_py.free_threaded = strstr(mp_py.version, "free-threading") != NULL;
    if (parse_version(text) != 3) {
        return "only CPython 3.8 to 3.15 is known";
    }
    mp_py.layout = mp_py_layout_find(mp_py.minor, mp_py.free_threaded);
    return mp_py.layout == NULL ? "only CPython 3.8 to 3.15 is known" : NULL;
}

static void *either(mp_py_resolve resolve, const char *first, const char *second)
{
    void *address = resolve(first);
    return address != NULL ? address : resolve(second);
}

static bool find_symbols(mp_py_resolve resolve)
{
    mp_py.get_allocator = (void (*)(int, struct mp_py_allocator *))resolve("PyMem_GetAllocator");
    mp_py.set_allocator = (void (*)(int, struct mp_py_allocator *))resolve("PyMem_SetAllocator");
    mp_py.allocator_name = (const char *(*)(void))resolve("_PyMem_GetCurrentAllocatorName");
    mp_py.is_initialized = (int (*)(void))resolve("Py_IsInitialized");
    mp_py.is_finalizing = (int (*)(void))either(resolve, "Py_IsFinalizing", "_Py_IsFinalizing");
    mp_py.gilstate_thread = (void *(*)(void))resolve("PyGILState_GetThisThreadState");
    mp_py.current_thread = (void *(*)(void))either(resolve, "PyThreadState_GetUnchecked",
                                                   "_PyThreadState_UncheckedGet");
    mp_py.code_type = resolve("PyCode_Type");
    mp_py.str_type = resolve("PyUnicode_Type");
    mp_py.bytes_type = resolve("PyBytes_Type");
    mp_py.runtime = resolve("_PyRuntime");
    return mp_py.get_allocator != NULL && mp_py.set_allocator != NULL && mp_py.is_initialized != NULL &&
           mp_py.gilstate_thread != NULL && mp_py.current_thread != NULL && mp_py.code_type != NULL &&
           mp_py.str_type != NULL && mp_py.bytes_type != NULL;
}

static void stacks_off(const char *why)
{
    mp_py.trouble = why;
    __atomic_store_n(&mp_py.stacks, MP_PY_STACKS_OFF, __ATOMIC_RELEASE);
    if (complain != NULL) {
        complain(why);
    }
}

const char *mp_py_attach(mp_py_resolve resolve, void (*say)(const char *why))
{
    complain = say;
    const char *why = identify(resolve);
    if (why != NULL) {
        return why;
    }
    if (!find_symbols(resolve)) {
        return "it does not export the functions that every CPython does";
    }
    if (mp_py_code_init() < 0) {
        return "no memory";
    }
    if (!mp_sys_can_peek()) {
        stacks_off("process_vm_readv and pipes are forbidden (seccomp), so that nothing can be read in safety");
        return NULL;
    }
    why = mp_py_validate_runtime(mp_py.layout, mp_py.runtime, mp_sys_peek);
    if (why != NULL) {
        stacks_off(why);
    }
    return NULL;
}

bool mp_py_has_thread(void)
{
    return mp_py.current_thread() != NULL && mp_py.gilstate_thread() != NULL;
}

static bool finalizing(void)
{
    return mp_py.is_finalizing != NULL && mp_py.is_finalizing() != 0;
}

bool mp_py_finalizing(void)
{
    if (!finalizing()) {
        return false;
    }
    for (int tries = 0; tries < 200 && __atomic_load_n(&walkers, __ATOMIC_SEQ_CST) != 0; tries++) {
        uint32_t never = 0;
        mp_sys_futex_wait(&never, 0, 1); /* a millisecond */
    }
    return true;
}

/* The calling thread's own thread state; *ret_attached: it holds the GIL (or is attached, where there is none). Before 3.12
 * "current" is the state of whoever holds the GIL, so it is ours only if it says so, and may be asked only where the
 * domain promises that we hold it. */
static const char *own_thread(enum mp_domain domain, bool *ret_attached)
{
    const char *current = mp_py.current_thread();
    if (mp_py.minor >= 12) {
        *ret_attached = current != NULL;
        return current != NULL ? current : mp_py.gilstate_thread();
    }
    const char *mine = mp_py.gilstate_thread();
    *ret_attached = current != NULL && current == mine;
    if (!*ret_attached && current != NULL && (domain == MP_DOMAIN_OBJ || domain == MP_DOMAIN_MEM)) {
        unsigned long ident;
        memcpy(&ident, current + mp_py.layout->tstate.thread_id, sizeof ident);
        if (ident == (unsigned long)pthread_self()) {
            *ret_attached = true;
            return current; /* of a subinterpreter */
        }
    }
    return mine;
}

bool mp_py_holds(void)
{
    bool attached;
    own_thread(MP_DOMAIN_RAW, &attached);
    return attached;
}

/* The first stack is read with calls that cannot fault. */
static bool prove(const char *thread, bool attached)
{
    if (MP_LIKELY(mp_py.stacks == MP_PY_STACKS_ON)) {
        return true;
    }
    if (mp_py.stacks == MP_PY_STACKS_OFF || !attached) {
        return false;
    }
    int fits = mp_py_validate_stack(mp_py.layout, mp_py.code_type, mp_py.str_type, mp_py.bytes_type,
                                    thread, mp_sys_peek);
    if (fits < 0) {
        stacks_off("the layout of its frames is not the one that this version should have");
    } else if (fits > 0 && !mp_py_dealloc_watch()) {
        stacks_off("the type of its code objects is not the one that this version should have");
        return false;
    } else if (fits > 0) {
        __atomic_store_n(&mp_py.stacks, MP_PY_STACKS_ON, __ATOMIC_RELEASE);
    }
    return fits > 0;
}

void mp_py_collect(struct mp_stack *stack, enum mp_domain domain, uint32_t *ret_evals_before)
{
    *ret_evals_before = 0;
    bool attached = false;
    const char *thread = own_thread(domain, &attached);
    if (thread == NULL) {
        stack->why = MP_WHY_NO_THREAD;
        return;
    }
    if (!attached && mp_py.free_threaded && mp_py.minor >= 14) {
        stack->why = MP_WHY_UNREADABLE; /* another thread may replace the bytecode it stands in (co_tlbc) */
        return;
    }
    if (!attached) {
        stack->detached = true;
        __atomic_fetch_add(&walkers, 1, __ATOMIC_SEQ_CST);
        if (finalizing()) {
            stack->why = MP_WHY_FINALIZING;
            return;
        }
    }
    if (!prove(thread, attached)) {
        stack->why = mp_py.stacks == MP_PY_STACKS_OFF ? MP_WHY_OFF : MP_WHY_NO_FRAME;
        return;
    }
    mp_py_dealloc_check();
    int depth = 0;
    int count = mp_py_walk_evals_nopy(mp_py.layout, mp_py.code_type, thread, stack->frames, (int)stack->max,
                                (int)stack->max + DEPTH_BEYOND, &depth, ret_evals_before);
    stack->count = (uint32_t)count;
    stack->depth = (uint32_t)depth;
    stack->why = count == 0 ? MP_WHY_NO_FRAME : MP_WHY_NONE;
}

static void collect(struct mp_stack *stack, enum mp_domain domain)
{
    uint32_t unused;
    mp_py_collect(stack, domain, &unused);
}

static void done(struct mp_stack *stack)
{
    if (stack->detached) {
        __atomic_fetch_sub(&walkers, 1, __ATOMIC_SEQ_CST);
    }
}

const struct mp_stack_source mp_py_stack_source = {
    .collect = collect,
    .intern_locked = mp_py_code_intern_locked,
    .done = done,
};
