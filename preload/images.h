/* SPDX-License-Identifier: MIT
 * What has been written of private mappings of files: the data of the program and its libraries, theirs that begins as zeroes
 * (.bss) included, and of files that the program maps so.
 *
 * Such pages are no file's any more, and no allocator's: of all that makes up a process's size nothing else would name them.
 *
 * Context: writer.
 */
#ifndef MP_PRELOAD_IMAGES_H
#define MP_PRELOAD_IMAGES_H

#include <stdbool.h>

#include "core/resident.h"

/* `own` and `copied` to *ret. False where the kernel does not tell. */
bool mp_images_written(struct mp_resident *ret);

#endif
