/* SPDX-License-Identifier: MIT
 * The libc functions behind the ones we interpose: see real.h.
 *
 * Context: any but hooks and the writer.
 */
#include "preload/real.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

int mp_real_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    static int (*real)(int, const struct sigaction *, struct sigaction *);
    if (real == NULL) {
        real = (int (*)(int, const struct sigaction *, struct sigaction *))dlsym(RTLD_NEXT, "sigaction");
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
        real = (char *(*)(int, const char *))dlsym(RTLD_NEXT, "setlocale");
    }
    return real != NULL ? real(category, locale) : NULL;
}
