/* SPDX-License-Identifier: MIT
 * Walks the native stack of the calling thread: see unwind.h.
 *
 * Invariants: a rule is used only while the object it was found in is loaded; no lock is held but libunwind's, by itself.
 * Context: hook.
 */
#include "preload/unwind.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/index.h"
#include "core/profile.h"
#include "core/sys.h"
#include "preload/objects.h"
#include "preload/window.h"

#if defined(__x86_64__)

#define LIBRARY "libunwind-x86_64.so.8"
#define SYMBOL(name) "_Ux86_64_" name

/* The parts of libunwind's interface (so version 8) that are used. */
enum { UNW_EINVAL = 8, UNW_EBADREG = 3, UNW_ENOINFO = 10, UNW_CACHE_NONE = 0, UNW_REMOTE_TABLE = 2 };
enum { REG_BP = 6, REG_SP = 7, REG_IP = 16 };

struct unw_cursor {
    uint64_t opaque[127 + 33]; /* 127 words, and some for a version to come */
};

struct unw_table { /* unw_dyn_info_t */
    void *next, *previous;
    uint64_t start_ip, end_ip, gp;
    int32_t format, pad;
    uint64_t load_offset;
    uint64_t name, segment_base, table_words, table;
};

struct unw_accessors {
    int (*find_proc_info)(void *space, uint64_t ip, void *info, int need, void *arg);
    void (*put_unwind_info)(void *space, void *info, void *arg);
    int (*get_dyn_info_list_addr)(void *space, uint64_t *ret_address, void *arg);
    int (*access_mem)(void *space, uint64_t address, uint64_t *value, int write, void *arg);
    int (*access_reg)(void *space, int reg, uint64_t *value, int write, void *arg);
    int (*access_fpreg)(void *space, int reg, void *value, int write, void *arg);
    int (*resume)(void *space, void *cursor, void *arg);
    int (*get_proc_name)(void *space, uint64_t ip, char *text, size_t size, uint64_t *offset, void *arg);
    void *later[8]; /* of newer versions */
};

static struct {
    void *(*create_addr_space)(struct unw_accessors *accessors, int byte_order);
    int (*set_caching_policy)(void *space, int policy);
    int (*init_remote)(struct unw_cursor *cursor, void *space, void *arg);
    int (*step)(struct unw_cursor *cursor);
    int (*get_reg)(struct unw_cursor *cursor, int reg, uint64_t *value);
    int (*search_table)(void *space, uint64_t ip, struct unw_table *table, void *info, int need, void *arg);
} unw;
static void *space;
static mp_unwind_classify classify;

/* One frame, as libunwind asks for it. */

static uintptr_t read_word(uintptr_t address)
{
    uintptr_t value;
    memcpy(&value, (const void *)address, sizeof value);
    return value;
}

struct registers {
    uintptr_t ip, sp, bp; /* ip: of the call, not behind it */
};

struct question {
    struct registers here;
    uint32_t object;
    struct mp_window *window;
    bool no_info; /* the address has no unwind information */
    bool bp_read; /* the frame's base pointer was asked for */
    uint32_t reads;
    uintptr_t last_read; /* outside the tables */
};

static int find_proc_info(void *as, uint64_t ip, void *info, int need, void *arg)
{
    struct question *question = arg;
    const struct mp_object *object = mp_object_get(question->object);
    int result = -UNW_ENOINFO;
    if (object->table != 0 && ip >= object->start && ip < object->end) {
        struct unw_table table = {.start_ip = object->start,
                                  .end_ip = object->end,
                                  .format = UNW_REMOTE_TABLE,
                                  .segment_base = object->header,
                                  .table_words = object->table_count,
                                  .table = object->table};
        result = unw.search_table(as, ip, &table, info, need, arg);
    }
    question->no_info = result < 0;
    return result;
}

static void put_unwind_info(void *as, void *info, void *arg)
{
    (void)as;
    (void)info;
    (void)arg;
}

static int no_dyn_info(void *as, uint64_t *ret_address, void *arg)
{
    (void)as;
    (void)ret_address;
    (void)arg;
    return -UNW_ENOINFO;
}

static int access_mem(void *as, uint64_t address, uint64_t *value, int write, void *arg)
{
    (void)as;
    struct question *question = arg;
    const struct mp_object *object = mp_object_get(question->object);
    if (write) {
        return -UNW_EINVAL;
    }
    if (address >= object->segment_start && address < object->segment_end &&
        object->segment_end - address >= 8) {
        *value = read_word(address);
        return 0;
    }
    question->reads++;
    question->last_read = address;
    if (!mp_window_reaches(question->window, address)) {
        return -UNW_EINVAL;
    }
    *value = read_word(address);
    return 0;
}

static int access_reg(void *as, int reg, uint64_t *value, int write, void *arg)
{
    (void)as;
    struct question *question = arg;
    if (write) {
        return -UNW_EBADREG;
    }
    question->bp_read = question->bp_read || reg == REG_BP;
    switch (reg) {
    case REG_BP: *value = question->here.bp; return 0;
    case REG_SP: *value = question->here.sp; return 0;
    case REG_IP: *value = question->here.ip; return 0;
    default: return -UNW_EBADREG; /* of those the rules of nearly no frame need any */
    }
}

static int no_fpreg(void *as, int reg, void *value, int write, void *arg)
{
    (void)as;
    (void)reg;
    (void)value;
    (void)write;
    (void)arg;
    return -UNW_EBADREG;
}

static struct unw_accessors accessors = {.find_proc_info = find_proc_info,
                                         .put_unwind_info = put_unwind_info,
                                         .get_dyn_info_list_addr = no_dyn_info,
                                         .access_mem = access_mem,
                                         .access_reg = access_reg,
                                         .access_fpreg = no_fpreg};

/* Rules. */

enum kind {
    KIND_NONE,  /* no way on */
    KIND_LAST,  /* the thread's first function */
    KIND_SP,    /* caller's sp = sp + frame; its return address below that */
    KIND_BP,    /* caller's sp = bp + frame */
    KIND_OTHER, /* to be asked each time: signal frames, realigned stacks */
};

#define BP_KEPT INT32_MIN
#define RULES 8192u

struct rule {
    uint32_t object;
    uint64_t ip;
    int32_t frame;
    int32_t bp; /* where the caller's bp is, from its sp; BP_KEPT: in bp */
    uint32_t symbol;
    uint16_t flags;
    uint16_t kind;
};

/* Read and written by all threads without a lock: the version is odd while one writes. */
static struct slot {
    uint32_t version;
    uint32_t pad;
    struct rule rule;
} *slots;

static struct slot *slot_of(uintptr_t ip)
{
    return &slots[mp_hash_u64(ip) & (RULES - 1)];
}

static bool rule_get(uintptr_t ip, struct rule *ret_rule)
{
    struct slot *slot = slot_of(ip);
    uint32_t version = __atomic_load_n(&slot->version, __ATOMIC_ACQUIRE);
    if ((version & 1) != 0 || slot->rule.ip != ip) {
        return false;
    }
    memcpy(ret_rule, &slot->rule, sizeof *ret_rule);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&slot->version, __ATOMIC_RELAXED) == version && ret_rule->ip == ip &&
           __atomic_load_n(&mp_object_get(ret_rule->object)->live, __ATOMIC_RELAXED);
}

static void rule_put(const struct rule *rule)
{
    struct slot *slot = slot_of(rule->ip);
    uint32_t version = __atomic_load_n(&slot->version, __ATOMIC_RELAXED);
    if ((version & 1) != 0 || !__atomic_compare_exchange_n(&slot->version, &version, version + 1, false,
                                                           __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return;
    }
    __atomic_thread_fence(__ATOMIC_RELEASE);
    memcpy(&slot->rule, rule, sizeof *rule);
    __atomic_store_n(&slot->version, version + 2, __ATOMIC_RELEASE);
}

/* Asks libunwind for the caller's registers (ip: behind its call), and what rule they follow. */
static enum kind ask(const struct registers *here, uint32_t object, struct mp_window *window, struct registers *ret_caller,
                     struct rule *ret_rule)
{
    struct question question = {.here = *here, .object = object, .window = window};
    struct unw_cursor cursor;
    uint64_t ip, sp, bp;
    if (unw.init_remote(&cursor, space, &question) < 0) {
        return KIND_NONE;
    }
    question.bp_read = false;
    question.reads = 0;
    int result = unw.step(&cursor);
    if (result <= 0 || question.no_info) {
        return result == 0 && !question.no_info ? KIND_LAST : KIND_NONE;
    }
    if (unw.get_reg(&cursor, REG_IP, &ip) < 0 || unw.get_reg(&cursor, REG_SP, &sp) < 0) {
        return KIND_NONE;
    }
    bool by_bp = question.bp_read, plain = question.reads == 1 && question.last_read == sp - 8;
    question.bp_read = false;
    question.reads = 0;
    if (unw.get_reg(&cursor, REG_BP, &bp) < 0) {
        bp = 0;
        plain = false;
    }
    *ret_caller = (struct registers){ip, sp, bp};
    int64_t frame = (int64_t)(sp - (by_bp ? here->bp : here->sp));
    int64_t saved = question.reads == 1 ? (int64_t)(question.last_read - sp) : BP_KEPT;
    if (!plain || (question.reads != 1 && !question.bp_read) || frame != (int32_t)frame || saved != (int32_t)saved) {
        return KIND_OTHER;
    }
    ret_rule->frame = (int32_t)frame;
    ret_rule->bp = (int32_t)saved;
    return by_bp ? KIND_BP : KIND_SP;
}

static void learn(const struct registers *here, struct mp_window *window, struct rule *ret_rule)
{
    struct registers unused;
    uintptr_t function = 0;
    *ret_rule = (struct rule){.ip = here->ip, .object = mp_objects_find(here->ip), .kind = KIND_NONE};
    if (ret_rule->object == 0) {
        return;
    }
    ret_rule->symbol = mp_object_symbol(ret_rule->object, here->ip, &function);
    ret_rule->flags = (uint16_t)classify(here->ip, ret_rule->object, function);
    ret_rule->kind = (uint16_t)ask(here, ret_rule->object, window, &unused, ret_rule);
    rule_put(ret_rule);
}

/* mov $SYS_rt_sigreturn, %rax; syscall: what a signal handler returns to. The frame above it was interrupted, not called from. */
static bool is_signal_return(uintptr_t ip, uint32_t object)
{
    static const unsigned char code[] = {0x48, 0xC7, 0xC0, 0x0F, 0, 0, 0, 0x0F, 0x05};
    return ip + sizeof code <= mp_object_get(object)->end && memcmp((const void *)ip, code, sizeof code) == 0;
}

/* From a frame to its caller's; false: there is no way on. here->ip is that of the call, unless it was interrupted. */
static bool follow(struct registers *here, const struct rule *rule, struct mp_window *window, bool *ret_whole)
{
    struct rule unused;
    struct registers caller = {0, 0, here->bp};
    bool called = true;
    if (rule->kind == KIND_SP || rule->kind == KIND_BP) {
        caller.sp = (rule->kind == KIND_SP ? here->sp : here->bp) + (uintptr_t)(intptr_t)rule->frame;
        if (caller.sp <= here->sp || !mp_window_reaches(window, caller.sp - 8)) {
            return false;
        }
        caller.ip = read_word(caller.sp - 8);
        if (rule->bp != BP_KEPT) {
            uintptr_t saved = caller.sp + (uintptr_t)(intptr_t)rule->bp;
            if (!mp_window_reaches(window, saved)) {
                return false;
            }
            caller.bp = read_word(saved);
        }
    } else if (rule->kind == KIND_OTHER) {
        enum kind kind = ask(here, rule->object, window, &caller, &unused);
        if (kind == KIND_NONE || kind == KIND_LAST) {
            *ret_whole = kind == KIND_LAST;
            return false;
        }
        called = !is_signal_return(here->ip + 1, rule->object);
    } else {
        *ret_whole = rule->kind == KIND_LAST;
        return false;
    }
    if (caller.ip == 0) {
        *ret_whole = true;
        return false;
    }
    caller.ip -= called;
    *here = caller;
    return true;
}

/* The walk so far. */
struct walk {
    struct mp_native_frame *frames;
    uint32_t count;
    bool began; /* a frame that is not an allocation function's was passed */
};

#define HOOKS_APART 3u /* frames of pymalloc's, or of libc's, between two hooks */

/* Of the frames up to the outermost hook none is shown: the profiler's, and what lies between two of its hooks. Further out its
 * frames are those of setlocale, of the end of a code object or of a signal handler, and only they are left out. */
static void show(struct walk *walk, const struct rule *rule)
{
    if (rule->flags & MP_NATIVE_SELF) {
        walk->count = walk->began ? walk->count : 0;
        return;
    }
    walk->began = walk->began || walk->count >= HOOKS_APART || !(rule->flags & MP_NATIVE_CALLER);
    uintptr_t address = rule->object == 0 ? 0 : rule->ip - mp_object_get(rule->object)->bias;
    walk->frames[walk->count++] = (struct mp_native_frame){
        .address = (uint32_t)address, .module = rule->object, .symbol = rule->symbol, .tag = MP_NATIVE | rule->flags};
}

uint32_t mp_unwind_walk(struct mp_native_frame *frames, uint32_t max, bool *ret_whole, bool *ret_cut)
{
    struct registers here;
    __asm__ volatile("leaq 0(%%rip), %0\n\tmovq %%rsp, %1\n\tmovq %%rbp, %2"
                     : "=&r"(here.ip), "=&r"(here.sp), "=&r"(here.bp));
    struct mp_window window = mp_window_begin(here.sp);
    struct walk walk = {.frames = frames};
    *ret_whole = *ret_cut = false;
    for (uint32_t steps = 0; steps < max + 64; steps++) {
        struct rule rule;
        if (walk.count == max) {
            *ret_cut = true;
            break;
        }
        if (MP_UNLIKELY(!rule_get(here.ip, &rule))) {
            learn(&here, &window, &rule);
        }
        show(&walk, &rule);
        if (!follow(&here, &rule, &window, ret_whole)) {
            break;
        }
    }
    if (MP_UNLIKELY(window.refused)) {
        mp_profile_count(MP_NOTE_NATIVE_REFUSED);
    }
    return walk.count;
}

/* Starting. */

static bool is_pipe(int fd, struct stat *ret_stat)
{
    return fd >= 0 && mp_sys_call(SYS_fstat, fd, (long)ret_stat, 0, 0, 0, 0) == 0 && S_ISFIFO(ret_stat->st_mode);
}

/* What libunwind opens when it starts it would use for its local walk only: it is not left open in the program. */
static void start_without_pipe(void)
{
    struct stat first, second;
    int before[2] = {open("/dev/null", O_RDONLY | O_CLOEXEC), open("/dev/null", O_RDONLY | O_CLOEXEC)};
    close(before[0]);
    close(before[1]);
    unw.set_caching_policy(space, UNW_CACHE_NONE);
    struct unw_cursor cursor;
    struct question question = {.here = {0, 0, 0}};
    unw.init_remote(&cursor, space, &question);
    if (is_pipe(before[0], &first) && is_pipe(before[1], &second) && first.st_ino == second.st_ino) {
        close(before[0]);
        close(before[1]);
    }
}

const char *mp_unwind_load(void)
{
    static const struct {
        const char *name;
        void *function;
    } functions[] = {
        {SYMBOL("create_addr_space"), &unw.create_addr_space}, {SYMBOL("set_caching_policy"), &unw.set_caching_policy},
        {SYMBOL("init_remote"), &unw.init_remote},             {SYMBOL("step"), &unw.step},
        {SYMBOL("get_reg"), &unw.get_reg},                     {SYMBOL("dwarf_search_unwind_table"), &unw.search_table},
    };
    if (!mp_sys_can_peek()) {
        return "process_vm_readv and pipes are forbidden (seccomp)";
    }
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return LIBRARY " cannot be loaded";
    }
    for (size_t i = 0; i < MP_COUNT(functions); i++) {
        void *address = dlsym(library, functions[i].name);
        if (address == NULL) {
            return LIBRARY " does not have what is needed";
        }
        memcpy(functions[i].function, &address, sizeof address);
    }
    slots = mp_sys_map(RULES * sizeof *slots);
    space = unw.create_addr_space(&accessors, 0);
    if (slots == NULL || space == NULL) {
        return "no memory";
    }
    start_without_pipe();
    return NULL;
}

void mp_unwind_begin(mp_unwind_classify function)
{
    classify = function;
}

#else

const char *mp_unwind_load(void)
{
    return "only known on x86-64";
}

void mp_unwind_begin(mp_unwind_classify function)
{
    (void)function;
}

uint32_t mp_unwind_walk(struct mp_native_frame *frames, uint32_t max, bool *ret_whole, bool *ret_cut)
{
    (void)frames;
    (void)max;
    *ret_whole = *ret_cut = false;
    return 0;
}

#endif
