/* SPDX-License-Identifier: Apache-2.0 */
/* Where a domain's UEFI variables are, where its definition does not say: up to
 * libvirt 9.1 a firmware that libvirt chose is chosen anew at each start, and
 * only a running domain shows the file. */
#include "hypervisor_libvirt.h"
#include "libvirt_verbs.h"
#include "xml.h"

#include <string.h>

static char *of_running(virDomainPtr domain)
{
    char *text = virDomainGetXMLDesc(domain, 0), *path = NULL;
    autoxml struct xml *root = NULL;

    if (text != NULL && xml_parse(text, strlen(text), NULL, &root, NULL) == 0)
        path = text_copy(xml_text(root, "os/nvram"));
    free(text);
    return path;
}

/* The driver's own place for them, on this host alone: one file per name. */
static char *of_name(const char *uri, const char *name)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    autofree char *standard =
        text_format("%s/.config", home != NULL ? home : "/root");
    char *path =
        strstr(uri, "/session") == NULL
            ? text_format("/var/lib/libvirt/qemu/nvram/%s_VARS.fd", name)
            : text_format("%s/libvirt/qemu/nvram/%s_VARS.fd",
                          config != NULL ? config : standard, name);

    if (strstr(uri, ":///") != NULL && path_exists(path))
        return path;
    free(path);
    return NULL;
}

char *libvirt_nvram(virDomainPtr domain, const char *uri)
{
    char *path = virDomainIsActive(domain) == 1 ? of_running(domain) : NULL;

    return path != NULL ? path : of_name(uri, virDomainGetName(domain));
}
