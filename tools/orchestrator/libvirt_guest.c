/* SPDX-License-Identifier: Apache-2.0 */
/* What libvirt tells of a running guest, and the way to its agent. */
#include "hypervisor_libvirt.h"
#include "libvirt_verbs.h"

#include <string.h>

#include <libvirt/libvirt-qemu.h>

int libvirt_agent(struct hypervisor *hypervisor, const char *name,
                  const char *command, unsigned timeout_seconds, char **answer,
                  struct ds_error *err)
{
    autodomain virDomainPtr domain = NULL;
    int result = libvirt_domain(hypervisor, name, &domain, err);

    if (result != 0)
        return result;
    *answer =
        virDomainQemuAgentCommand(domain, command, (int)timeout_seconds, 0);
    return *answer != NULL
               ? 0
               : libvirt_failed(hypervisor, "ask the agent of", name, err);
}

static void add_addresses(virDomainPtr domain, unsigned source,
                          struct texts *out)
{
    virDomainInterfacePtr *interfaces = NULL;
    int count = virDomainInterfaceAddresses(domain, &interfaces, source, 0);

    for (int i = 0; i < count; i++) {
        const char *mac = interfaces[i]->hwaddr;

        for (unsigned j = 0; mac != NULL && j < interfaces[i]->naddrs; j++) {
            autofree char *line =
                text_format("%s %s", mac, interfaces[i]->addrs[j].addr);

            if (!texts_have(out, line))
                texts_add(out, line);
        }
        virDomainInterfaceFree(interfaces[i]);
    }
    free(interfaces);
}

/* Each source knows some guests; that one has no answer is no fault. */
int libvirt_addresses(struct hypervisor *hypervisor, const char *name,
                      struct texts *out, struct ds_error *err)
{
    autodomain virDomainPtr domain = NULL;
    int result = libvirt_domain(hypervisor, name, &domain, err);

    if (result != 0)
        return result;
    add_addresses(domain, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE, out);
    add_addresses(domain, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP, out);
    add_addresses(domain, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, out);
    return 0;
}
