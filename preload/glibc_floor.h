/* SPDX-License-Identifier: MIT
 * Lets a library that was built with a new glibc load with an old one, from 2.28.
 *
 * glibc 2.34 moved libdl into libc and gave its functions a new version, which a program linked with it then asks for; the
 * old version is still there for those who name it. Where an old glibc runs, libdl.so.2 has them: it must be linked by name.
 * What else became newer than 2.28 (stat, fstat, pthread_sigmask) is not called at all.
 *
 * Included before everything else where MPROFILE_PORTABLE is set (CMakeLists.txt).
 */
#ifndef MP_PRELOAD_GLIBC_FLOOR_H
#define MP_PRELOAD_GLIBC_FLOOR_H

#if defined(__x86_64__)
#define MP_OLDEST "GLIBC_2.2.5"
#define MP_OLDEST_DLADDR1 "GLIBC_2.3.3"
#elif defined(__aarch64__)
#define MP_OLDEST "GLIBC_2.17"
#define MP_OLDEST_DLADDR1 "GLIBC_2.17"
#endif

#ifdef MP_OLDEST
__asm__(".symver dlopen, dlopen@" MP_OLDEST);
__asm__(".symver dlclose, dlclose@" MP_OLDEST);
__asm__(".symver dlsym, dlsym@" MP_OLDEST);
__asm__(".symver dladdr, dladdr@" MP_OLDEST);
__asm__(".symver dladdr1, dladdr1@" MP_OLDEST_DLADDR1);
#endif

#endif
