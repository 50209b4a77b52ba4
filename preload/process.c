/* SPDX-License-Identifier: MIT
 * The life of the profiled process: see process.h.
 *
 * The constructor looks for an interpreter among the symbols of the program. A libpython that is loaded later, hidden
 * from us by RTLD_LOCAL, is found by its first call of setlocale: the caller's own object is asked. Both ways end in
 * attach(), once. Where there is no interpreter nothing else happens in this library.
 *
 * Invariants: `attached` goes from false to true once, before the interpreter has threads.
 * Context: the dynamic loader's constructors and destructors, and the host's calls of setlocale and _exit.
 */
#include "preload/process.h"

#include <dlfcn.h>
#include <link.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/profile.h"
#include "core/sample.h"
#include "core/say.h"
#include "core/steer.h"
#include "core/sys.h"
#include "core/thin.h"
#include "preload/account.h"
#include "preload/altstack.h"
#include "preload/control.h"
#include "preload/dump.h"
#include "preload/malloc.h"
#include "preload/native.h"
#include "preload/options.h"
#include "preload/real.h"
#include "preload/signals.h"
#include "pyshim/arenas.h"
#include "pyshim/hooks.h"
#include "pyshim/interp.h"
#include "pyshim/types.h"

static bool attached;
static bool brought_in; /* loaded into an interpreter that runs: see control.h */
static bool sees_malloc;
static const char *refusal = "there is no Python in this process";
static bool refused;    /* an interpreter that we do not serve: it was said once */
static bool exit_taken; /* the snapshot of MPROFILEEXIT, for this life of the interpreter */
static uint64_t interval_due_ms;
static void *interpreter; /* handle of the object that holds the interpreter */
static struct mp_writer_options writer_options;
static const struct mp_section_types types = {mp_py_types_begin, mp_py_types_locked, MP_PY_TYPES_STEP};

static void *resolve(const char *name)
{
    return dlsym(interpreter, name);
}

static void stacks_off(const char *why)
{
    mp_writer_fact("python.stacks", why);
    mp_say("Python ", mp_py.version, ": ", why, "; samples have no stack", NULL);
}

static uint64_t next_interval(uint64_t now_ms)
{
    return mp_options.interval_ms != 0 ? now_ms + mp_options.interval_ms : UINT64_MAX;
}

/* After a sample, on its thread. */
static void look_after_sample(uint64_t now_ms)
{
    mp_account_look(now_ms);
    mp_dump_pending();
    mp_thin_look();
    uint64_t due = __atomic_load_n(&interval_due_ms, __ATOMIC_RELAXED);
    if (MP_LIKELY(now_ms < due)) {
        return;
    }
    uint64_t next = next_interval(now_ms);
    if (__atomic_compare_exchange_n(&interval_due_ms, &due, next, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED)) {
        mp_dump_request(MP_TRIGGER_INTERVAL);
    }
}

static void fork_prepare(void)
{
    mp_dump_fork_prepare();
    mp_native_fork_prepare();
    mp_sample_fork_prepare();
}

static void fork_parent(void)
{
    mp_sample_fork_parent();
    mp_native_fork_parent();
    mp_dump_fork_parent();
}

static void fork_child(void)
{
    mp_signals_fork_child();
    mp_control_fork_child();
    mp_sample_fork_child();
    mp_native_fork_child();
    mp_account_fork_child();
    mp_dump_fork_child();
    exit_taken = false;
    interval_due_ms = next_interval(mp_profile_clock_ms());
}

/* MPROFILECHILDREN=0: programs that this one starts do not find us. */
static void leave_environment(void)
{
    const char *list = getenv("LD_PRELOAD");
    Dl_info self;
    if (list == NULL || dladdr((void *)(uintptr_t)leave_environment, &self) == 0) {
        return;
    }
    const char *base = strrchr(self.dli_fname, '/');
    base = base != NULL ? base + 1 : self.dli_fname;
    char rest[MP_PATH_MAX];
    size_t used = 0;
    for (const char *p = list; *p != '\0';) {
        size_t length = strcspn(p, " :");
        const char *name = p + length;
        while (name > p && name[-1] != '/') {
            name--;
        }
        bool is_us = (size_t)(p + length - name) == strlen(base) && strncmp(name, base, strlen(base)) == 0;
        if (!is_us && length > 0 && used + length + 2 < sizeof rest) {
            if (used > 0) {
                rest[used++] = ':';
            }
            memcpy(rest + used, p, length);
            used += length;
        }
        p += length + (p[length] != '\0');
    }
    rest[used] = '\0';
    if (used > 0) {
        setenv("LD_PRELOAD", rest, 1);
    } else {
        unsetenv("LD_PRELOAD");
    }
}

static void write_facts(void)
{
    static char version[32];
    size_t length = strcspn(mp_py.version, " ");
    length = length < sizeof version - 1 ? length : sizeof version - 1;
    memcpy(version, mp_py.version, length);
    mp_writer_fact("python", version);
    mp_writer_fact("python.build", mp_py.version);
    mp_writer_fact("python.abi", mp_py.free_threaded ? "t" : "");
    mp_writer_fact("cwd", mp_options.cwd[0] != '\0' ? mp_options.cwd : "/");
}

/* What hooks decide later (which way of hooking, after the self-test) is asked for when a file is written. */
static void refresh_facts(void)
{
    mp_account_facts(!brought_in);
    mp_writer_fact("malloc.counted", sees_malloc ? "1" : "0");
    mp_writer_fact("python.alloc", mp_py_hooks_allocator());
    mp_writer_fact("python.free", mp_py_hooks_free_unhooked() ? "unhooked" : "hooked");
    if (mp_py.stacks != MP_PY_STACKS_OFF) {
        mp_writer_fact("python.stacks", "1");
    }
}

/* What is allocated meanwhile has Python's stack, as there is a source for it. */
static void start_native(const char *why_not)
{
    if (why_not == NULL && mp_steer_wide() < 0) {
        why_not = "no memory";
    }
    mp_writer_fact("native", why_not == NULL ? "1" : why_not);
    if (why_not != NULL) {
        if (mp_options.native) {
            mp_say("MPROFILENATIVE=1: ", why_not, "; stacks have Python frames only", NULL);
        }
        return;
    }
    static const char *const names[] = {"_PyFunction_Vectorcall", "_PyEval_Vector", "_PyEval_EvalCodeWithName",
                                        "_PyFunction_FastCallDict", "_PyEval_EvalFrame"};
    const void *callers[MP_COUNT(names)];
    for (size_t i = 0; i < MP_COUNT(names); i++) {
        callers[i] = resolve(names[i]);
    }
    mp_sample_source(mp_native_begin(resolve("_PyEval_EvalFrameDefault"), callers, MP_COUNT(names)));
}

static bool start_core(void)
{
    writer_options = (struct mp_writer_options){.pattern = mp_options.out,
                                                .keep = mp_options.keep,
                                                .argv = mp_options.argv,
                                                .verbose = mp_options.debug,
                                                .types = mp_py_types_init(resolve) ? &types : NULL,
                                                .before = refresh_facts};
    mp_writer_init(&writer_options);
    const char *no_native = mp_options.native ? mp_native_load() : "0";
    mp_sample_source(&mp_py_stack_source);
    mp_sample_pending(mp_dump_pending);
    mp_sample_stack_room(mp_altstack_room);
    if (mp_options.exit) {
        mp_sample_before(mp_process_look);
    }
    interval_due_ms = next_interval(0);
    mp_thin_budget(mp_options.memory);
    mp_sample_after(look_after_sample);
    /* With the tables there are samples, of threads that others have started. */
    uint64_t rate = brought_in ? MP_RATE_OFF : mp_options.rate;
    if (mp_steer_frames(mp_options.frames) < 0 || mp_profile_init(rate, mp_options.frames) < 0) {
        return false;
    }
    start_native(no_native);
    return true;
}

static void refuse(const char *why)
{
    refused = true;
    refusal = why;
    mp_say("this Python is not profiled: ", why, " (", mp_py.version[0] != '\0' ? mp_py.version : "no version",
           ")", NULL);
}

static bool learn_interpreter(void)
{
    mp_say_init();
    mp_options_read();
    mp_malloc_learn();
    const char *why = mp_py_attach(resolve, stacks_off);
    if (why == NULL && !start_core()) {
        why = "the system gave no memory for the profiler's tables";
    }
    if (why != NULL) {
        refuse(why);
        return false;
    }
    mp_malloc_learn_interpreter((void *)(uintptr_t)mp_py.set_allocator);
    attached = true;
    write_facts();
    mp_dump_init();
    pthread_atfork(fork_prepare, fork_parent, fork_child);
    mp_account_init();
    return true;
}

static void attach(void)
{
    if (!learn_interpreter()) {
        return;
    }
    mp_py_arenas_install(resolve);
    sees_malloc = mp_malloc_is_ours();
    if (sees_malloc) {
        mp_py_hooks_malloc_counts();
    } else {
        mp_say("another malloc comes before ours: memory that C code takes by itself is not seen", NULL);
    }
    mp_py_hooks_install();
    mp_signals_init(mp_options.signal);
    if (!mp_options.children) {
        leave_environment();
    }
    if (mp_options.debug) {
        mp_say("profiling Python ", mp_py.version, "; snapshots go to ", mp_options.out, NULL);
    }
}

/* The program's own disposition of the signal is not seen here, so only a signal that has none is taken. */
static void take_idle_signal(void)
{
    struct sigaction now;
    if (mp_options.signal != 0 && mp_real_sigaction(mp_options.signal, NULL, &now) == 0 &&
        !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL) {
        mp_signals_init(mp_options.signal);
    }
}

const char *mp_process_attach(void)
{
    if (attached) {
        return NULL;
    }
    if (!brought_in || refused) {
        return refusal;
    }
    interpreter = RTLD_DEFAULT;
    if (!learn_interpreter()) {
        return refusal;
    }
    take_idle_signal();
    return NULL;
}

static __attribute__((constructor)) void come_to_life(void)
{
    if (getauxval(AT_SECURE) != 0) {
        return; /* a privileged program: not our place */
    }
    if (dlsym(RTLD_DEFAULT, "PyMem_SetAllocator") == NULL) {
        return;
    }
    int (*is_initialized)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "Py_IsInitialized");
    if (is_initialized != NULL && is_initialized()) {
        brought_in = true; /* until the program asks, nothing happens */
        return;
    }
    interpreter = RTLD_DEFAULT;
    attach();
}

/* An interpreter in a library that was loaded with RTLD_LOCAL: its setlocale call comes from its own object. */
static void look_for_interpreter(void *caller)
{
    Dl_info info;
    struct link_map *map = NULL;
    if (refused || getauxval(AT_SECURE) != 0 ||
        dladdr1(caller, &info, (void **)&map, RTLD_DL_LINKMAP) == 0 || map == NULL || map->l_name[0] == '\0') {
        return; /* the program itself: the constructor has asked it */
    }
    void *object = dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
    if (object == NULL) {
        return;
    }
    if (dlsym(object, "PyMem_SetAllocator") == NULL) {
        dlclose(object);
        return;
    }
    interpreter = object; /* kept: the interpreter cannot be unloaded under our hooks */
    attach();
}

/* CPython calls setlocale right after it has set its allocators, and before it makes the first object. */
MP_EXPORT char *setlocale(int category, const char *locale)
{
    if (!attached && !brought_in) {
        look_for_interpreter(__builtin_return_address(0));
    } else if (!mp_py.is_initialized()) {
        mp_py_hooks_install();
        exit_taken = exit_taken && mp_py_finalizing(); /* else it is about to live again */
    }
    return mp_real_setlocale(category, locale);
}

/* Only the thread that ends the interpreter takes the snapshot: while another did, everything would go. */
void mp_process_look(void)
{
    if (MP_LIKELY(!attached) || !mp_py_finalizing() || exit_taken || !mp_py_holds()) {
        return;
    }
    exit_taken = true;
    if (mp_options.exit) {
        mp_dump_now(MP_TRIGGER_EXIT);
    }
}

static void end(void)
{
    if (!attached || !mp_dump_is_our_process()) {
        return;
    }
    if (mp_options.exit && !exit_taken) {
        exit_taken = true;
        mp_dump_now(MP_TRIGGER_EXIT);
    }
    mp_dump_close();
}

static __attribute__((destructor)) void go(void)
{
    end();
}

/* os._exit, and so the end of every multiprocessing worker: no destructor runs there. */
MP_EXPORT void _exit(int status)
{
    end();
    for (;;) {
        mp_sys_call(SYS_exit_group, status, 0, 0, 0, 0, 0);
    }
}

MP_EXPORT void _Exit(int status)
{
    _exit(status);
}
