/* SPDX-License-Identifier: Apache-2.0 */
/* What libvirt's drivers share: the verbs that are the same for QEMU, Xen,
 * ESXi and test:///. A driver on top of it takes hypervisor_libvirt's verbs
 * into its own table and replaces some. */
#ifndef ORCH_HYPERVISOR_LIBVIRT_H
#define ORCH_HYPERVISOR_LIBVIRT_H

#include "hypervisor.h"

#include <libvirt/libvirt.h>

struct libvirt {
    struct hypervisor common;
    virConnectPtr connection;
    char *address; /* the URI as given to libvirt, with files of the login */
    char *driver;  /* "QEMU", "Xen", "ESX", "TEST" */
};

/** Connect; the table of `common` is the caller's to set. */
int libvirt_connect(const char *uri, const struct hypervisor_login *login,
                    const struct hypervisor_ops *ops, struct hypervisor **out,
                    struct ds_error *err);
void libvirt_close(struct hypervisor *hypervisor);
/** The domain, after a lost connection has been made anew; the caller frees
 * it (virDomainFree). ENOENT when there is none. */
int libvirt_domain(struct hypervisor *hypervisor, const char *name,
                   virDomainPtr *out, struct ds_error *err);
/** What libvirt said last, in our classes: "VERB NAME: message". */
int libvirt_failed(struct hypervisor *hypervisor, const char *verb,
                   const char *name, struct ds_error *err);

#define autodomain __attribute__((cleanup(libvirt_cleanup_domain)))
static inline void libvirt_cleanup_domain(virDomainPtr *domain)
{
    if (*domain != NULL)
        virDomainFree(*domain);
}

#endif
