/* SPDX-License-Identifier: Apache-2.0 */
/* VMs that are files: `migrate import web.vmx`. hypervisor_files is built of
 * these. Disks' paths are made absolute from the file's directory; their
 * formats are found by opening them (ds_disk_open, no_refs). Hostile text:
 * every count and number is checked, what is not understood and matters is an
 * error that names file and line. */
#ifndef ORCH_IMPORT_H
#define ORCH_IMPORT_H

#include "vm.h"

#define IMPORT_BYTES_MAX (1u << 20)

/** By the file's name: .vmx, .ovf, .ova, .xml. UNSUPPORTED otherwise. */
int import_vm(const char *path, struct vm *out, struct ds_error *err);

/* Each from text; `path` is for messages and for what lies beside it. */
int import_vmx(const char *text, const char *path, struct vm *out,
               struct ds_error *err);
int import_ovf(const char *text, const char *path, struct vm *out,
               struct ds_error *err);

#endif
