/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options whose value is more than a member of struct options: words of a
 * list, numbers with limits, lists. options.c's table names them.
 */
#ifndef CLI_OPTION_VALUES_H
#define CLI_OPTION_VALUES_H

#include "options.h"

int apply_strategy(struct options *options, const char *value,
                   struct ds_error *err);
int apply_verify(struct options *options, const char *value,
                 struct ds_error *err);
int apply_sandbox(struct options *options, const char *value,
                  struct ds_error *err);
int apply_growth(struct options *options, const char *value,
                 struct ds_error *err);
int apply_progress(struct options *options, const char *value,
                   struct ds_error *err);
int apply_max_memory(struct options *options, const char *value,
                     struct ds_error *err);
int apply_max_virtual_size(struct options *options, const char *value,
                           struct ds_error *err);
int apply_max_key_rounds(struct options *options, const char *value,
                         struct ds_error *err);
int apply_max_output(struct options *options, const char *value,
                     struct ds_error *err);
int apply_resize(struct options *options, const char *value,
                 struct ds_error *err);
int apply_option(struct options *options, const char *value,
                 struct ds_error *err);
int apply_to(struct options *options, const char *value, struct ds_error *err);
int apply_stage(struct options *options, const char *value,
                struct ds_error *err);
int apply_task(struct options *options, const char *value,
               struct ds_error *err);

#endif
