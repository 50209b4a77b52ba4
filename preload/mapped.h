/* SPDX-License-Identifier: MIT
 * The file that is mapped at an address: what a module is, where the loader knows it by a relative name (dlopen("./lib.so")), which says
 * nothing once the program is in another folder.
 *
 * Context: hook, one thread at a time.
 */
#ifndef MP_PRELOAD_MAPPED_H
#define MP_PRELOAD_MAPPED_H

#include <stdint.h>

/* Its absolute path as /proc/self/maps has it, valid until the next call; NULL where that cannot be read or names no file. */
const char *mp_mapped_file(uintptr_t address);

#endif
