/* SPDX-License-Identifier: Apache-2.0 */
#include "local.h"

const struct ds_store_ops local_store_ops = {
    .name = "local",
    .open = local_open,
    .open_reference = local_open_reference,
    .close = local_close,
    .read = local_read,
    .from_storage = local_from_storage,
    .quiesce = local_quiesce,
    .check_unchanged = local_check_unchanged,
    .physical = local_physical,
    .forget = local_forget,
    .storage_id = local_storage_id,
    .domain = local_domain,
    .name_for = local_name_for,
    .exists = local_exists,
    .same = local_same,
    .guard_same = local_guard_same,
    .create = local_create,
    .run = local_run,
    .sync = local_sync,
    .reopen = local_reopen,
    .prefetch = local_prefetch,
    .install = local_install,
    .discard = local_discard,
    .space = local_space,
};
