/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs that are files: `migrate import web.vmx`. hypervisor_files is built of
 * these.
 *
 *   .vmx        disks are VMDKs
 *   .ovf, .ova  a disk is a member of the package: its path is the package's,
 *               its format "ova", vm_disk.member its id in there
 *   .xml        libvirt's domain XML; disks have the formats that it says
 *
 * Hostile text: every count and number is checked, and what is not understood
 * and matters is an error that names file and line. A disk's file lies beneath
 * the description's directory, or beneath `allow_refs` when that is not NULL,
 * wherever links lead. Where a description names it elsewhere, as one does
 * that was moved, the file of the same name beside it is meant. Disks are
 * opened once, with their parents, so that what cannot be read is told here.
 */
#ifndef ORCH_IMPORT_H
#define ORCH_IMPORT_H

#include "vm.h"

#define IMPORT_BYTES_MAX (1u << 20)

/** By the file's name: .vmx, .ovf, .ova, .xml. UNSUPPORTED otherwise. */
int import_vm(const char *path, const char *allow_refs, struct vm *out,
              struct ds_error *err);

/** "file:///vm/web.vmx?allow-refs=/vm", as hypervisor_files takes it.
 * `allow_refs` may be NULL; the caller owns it. */
char *import_uri(const char *path, const char *allow_refs);

/* Each from text, without a look at the disks; their paths are as written. */
int import_vmx(const char *text, size_t length_bytes, struct vm *out,
               struct ds_error *err);
int import_ovf(const char *text, size_t length_bytes, struct vm *out,
               struct ds_error *err);

/** The descriptor of an OVA: its first member, which the standard says it is.
 * The caller owns it. */
int import_ova_descriptor(const char *path, char **out, size_t *length_bytes,
                          struct ds_error *err);

#endif
