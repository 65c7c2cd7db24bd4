/* SPDX-License-Identifier: Apache-2.0 */
#include "remote.h"

const struct ds_store_ops remote_store_ops = {
    .name = "nfs",
    .takes_any_source = true,
    .open = remote_open,
    .open_reference = remote_open_reference,
    .close = remote_close,
    .read = remote_read,
    .quiesce = remote_quiesce,
    .check_unchanged = remote_check_unchanged,
    .physical = remote_physical,
    .storage_id = remote_storage_id,
    .domain = remote_domain,
    .plain_path = remote_plain_path,
    .name_for = remote_name_for,
    .exists = remote_exists,
    .same = remote_same,
    .guard_same = remote_guard_same,
    .create = remote_create,
    .run = remote_run,
    .sync = remote_sync,
    .reopen = remote_reopen,
    .install = remote_install,
    .discard = remote_discard,
    .space = remote_space,
    .account = remote_account_text,
};
