/* SPDX-License-Identifier: MIT
 * The libc functions behind the ones we interpose: see real.h.
 *
 * Context: any but the writer.
 */
#include "preload/real.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

bool mp_real_is_us(const void *address)
{
    Dl_info there, here;
    return dladdr(address, &there) != 0 && dladdr((const void *)(uintptr_t)mp_real_is_us, &here) != 0 &&
           there.dli_fbase == here.dli_fbase;
}

/* To a dlsym that is interposed before us, and calls the real one, RTLD_NEXT means "after the interposer": that is ourselves. */
void *mp_real_next(const char *name)
{
    void *address = dlsym(RTLD_NEXT, name);
    if (address == NULL || !mp_real_is_us(address)) {
        return address;
    }
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    return libc != NULL ? dlsym(libc, name) : NULL;
}

int mp_real_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    static int (*real)(int, const struct sigaction *, struct sigaction *);
    if (real == NULL) {
        real = (int (*)(int, const struct sigaction *, struct sigaction *))mp_real_next("sigaction");
    }
    if (real == NULL) {
        errno = ENOSYS;
        return -1;
    }
    return real(number, action, old);
}

char *mp_real_setlocale(int category, const char *locale)
{
    static char *(*real)(int, const char *);
    if (real == NULL) {
        real = (char *(*)(int, const char *))mp_real_next("setlocale");
    }
    return real != NULL ? real(category, locale) : NULL;
}
