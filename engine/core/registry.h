/* SPDX-License-Identifier: Apache-2.0 */
/* Which formats and stores there are. The only place that knows all. */
#ifndef DS_CORE_REGISTRY_H
#define DS_CORE_REGISTRY_H

#include "format.h"

/** The format of that name, or NULL. */
const struct ds_format_ops *ds_registry_format(const char *name);

/** The formats by index, NULL past the end. Raw is the last. */
const struct ds_format_ops *ds_registry_format_at(size_t index);

/** The store that serves `path`; NULL: it was left out of this build. */
const struct ds_store_ops *ds_registry_store(const char *path);

/** The format whose content `file` has. Raw when it is none of the others,
 * REFUSED when it is two of them or its name says raw and its content not. */
int ds_registry_probe(struct ds_file *file, const struct ds_format_ops **out,
                      struct ds_error *err);

/** The first format whose header `file` carries, NULL for none: what a guest
 * may have written into a disk that is said to be raw. */
int ds_registry_looks_like(struct ds_file *file,
                           const struct ds_format_ops **out,
                           struct ds_error *err);

#endif
