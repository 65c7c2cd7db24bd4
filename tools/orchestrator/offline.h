/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's script: made, and for guests that cannot be reached put where a
 * person finds it, as a file and as an ISO image to be attached. */
#ifndef ORCH_OFFLINE_H
#define ORCH_OFFLINE_H

#include "stage.h"

/** The first script for a guest's system, or the person's own; the caller
 * owns it. */
int script_make(struct migration *migration, const char *system, bool offline,
                char **out, struct ds_error *err);

char *offline_directory(const struct migration *migration);
int offline_write(struct migration *migration, const char *directory,
                  struct ds_error *err);
int offline_remove(const char *directory, struct ds_error *err);

#endif
