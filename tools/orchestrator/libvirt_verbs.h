/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs of hypervisor_libvirt that have a file of their own. */
#ifndef ORCH_LIBVIRT_VERBS_H
#define ORCH_LIBVIRT_VERBS_H

#include "hypervisor_libvirt.h"

int libvirt_snapshot_find(struct hypervisor *hypervisor, const struct vm *vm,
                          struct hypervisor_snapshot *out,
                          struct ds_error *err);
int libvirt_snapshot_create(struct hypervisor *hypervisor, const struct vm *vm,
                            const char *name, bool quiesce,
                            struct hypervisor_snapshot *out,
                            struct ds_error *err);
int libvirt_snapshot_merge(struct hypervisor *hypervisor, const struct vm *vm,
                           struct ds_error *err);
int libvirt_agent(struct hypervisor *hypervisor, const char *name,
                  const char *command, unsigned timeout_seconds, char **answer,
                  struct ds_error *err);
int libvirt_addresses(struct hypervisor *hypervisor, const char *name,
                      struct texts *out, struct ds_error *err);
int libvirt_fits(struct hypervisor *hypervisor, const struct vm *vm,
                 struct ds_error *err);

/** The file of a UEFI domain's variables when its definition names none; NULL
 * when there is none here. The caller owns it. */
char *libvirt_nvram(virDomainPtr domain, const char *uri);

#endif
