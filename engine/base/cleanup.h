/* SPDX-License-Identifier: Apache-2.0 */
/* Scope cleanup: `ds_autofree char *p = ...;` frees at the end of the scope;
 * ds_steal(&p) hands it out. */
#ifndef DS_BASE_CLEANUP_H
#define DS_BASE_CLEANUP_H

#include <stdlib.h>

static inline void ds_cleanup_free(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}

#define ds_autofree __attribute__((cleanup(ds_cleanup_free)))
#define ds_auto(function) __attribute__((cleanup(function)))

#define ds_steal(pointer_to_pointer)                                           \
    __extension__({                                                            \
        __typeof__(*(pointer_to_pointer)) stolen_ = *(pointer_to_pointer);     \
        *(pointer_to_pointer) = NULL;                                          \
        stolen_;                                                               \
    })

#endif
