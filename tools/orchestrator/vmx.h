/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMware's VMX: lines `key = "value"`, keys in any case, `#` begins a comment,
 * `|22` in a value stands for the byte 0x22. The line `.encoding` says how the
 * text is encoded; it is UTF-8 from here on. A .vmsd is written likewise.
 */
#ifndef ORCH_VMX_H
#define ORCH_VMX_H

#include "vm.h"

#define VMX_LINE_COUNT_MAX 16384

struct vmx_entry {
    char *key;
    char *value;
    unsigned line;
};

/** Sorted by key, regardless of case. */
struct vmx {
    struct vmx_entry *entries;
    size_t count;
};

int vmx_parse(const char *text, size_t length_bytes, struct vmx *out,
              struct ds_error *err);
void vmx_free(struct vmx *vmx);
#define autovmx __attribute__((cleanup(vmx_free)))

/** NULL when there is none. */
const struct vmx_entry *vmx_find(const struct vmx *vmx, const char *key);
/** The value of a key that is put together, or NULL. */
const char *vmx_get(const struct vmx *vmx, const char *format, ...)
    PRINTF_LIKE(2, 3);
/** Whether it is "TRUE"; false when absent. */
bool vmx_true(const struct vmx *vmx, const char *format, ...) PRINTF_LIKE(2, 3);

/**
 * A new VMX for `vm`, which is to lie in `directory`, named as the disks' paths
 * are ("[store] web", "/vmfs/volumes/store/web"): disks that lie there are
 * named without it. UNSUPPORTED for what VMware has not. The caller owns *out.
 */
int vmx_write(const struct vm *vm, const char *directory, char **out,
              struct ds_error *err);

/** "lsilogic", "pvscsi" and libvirt's word for it. NULL: not known. */
const char *vmx_controller_from(const char *vmware);
const char *vmx_controller_to(const char *libvirt);

#endif
