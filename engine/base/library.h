/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Libraries that are loaded when they are first needed: one more that the
 * program is linked with would cost every run its time.
 *
 *     struct api { __typeof__(xyz_open) *open; ... };
 *     static const struct ds_library_function functions[] = {
 *         { "xyz_open", offsetof(struct api, open) }, ...
 *     };
 *     missing = ds_library_load("libxyz.so.4", functions, count, &api);
 *
 * It stays loaded until the process ends. Call it once, by pthread_once: what
 * it says is kept by the caller, who words the error, since only he knows what
 * the library is for and which package has it.
 */
#ifndef DS_BASE_LIBRARY_H
#define DS_BASE_LIBRARY_H

#include <stddef.h>

struct ds_library_function {
    const char *name; /* the symbol */
    size_t offset;    /* of a pointer to such a function in the caller's struct
                       */
};

/** Load the library of this name and put the addresses into `api`. NULL, or
 * what is missing: the symbol's name, "library" for all of it. */
const char *ds_library_load(const char *soname,
                            const struct ds_library_function *functions,
                            size_t function_count, void *api);

#endif
