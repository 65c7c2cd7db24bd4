/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt: connections, inventory, definitions, power. Snapshots are in
 * libvirt_snapshot.c, the guest in libvirt_guest.c. */
#include "hypervisor_libvirt.h"
#include "libvirt_verbs.h"
#include "xml.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <libvirt/virterror.h>

/* -- errors and connections ----------------------------------------------- */

static void say_nothing(void *user, virErrorPtr error)
{
    (void)user, (void)error;
}

static enum ds_error_class class_of(int code, int *errnum)
{
    *errnum = 0;
    switch (code) {
    case VIR_ERR_NO_DOMAIN:
    case VIR_ERR_NO_NETWORK:
    case VIR_ERR_NO_DOMAIN_SNAPSHOT:
        *errnum = ENOENT;
        return DS_ERR_SYSTEM;
    case VIR_ERR_RPC:
    case VIR_ERR_NO_CONNECT:
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_SYSTEM_ERROR:
        *errnum = EHOSTUNREACH;
        return DS_ERR_SYSTEM;
    case VIR_ERR_AGENT_UNRESPONSIVE:
    case VIR_ERR_OPERATION_TIMEOUT:
        *errnum = ETIMEDOUT;
        return DS_ERR_SYSTEM;
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_OPERATION_UNSUPPORTED:
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
        return DS_ERR_UNSUPPORTED;
    default:
        return DS_ERR_REFUSED;
    }
}

int libvirt_failed(struct hypervisor *hypervisor, const char *verb,
                   const char *name, struct ds_error *err)
{
    virErrorPtr last = virGetLastError();
    int errnum;
    enum ds_error_class error_class =
        class_of(last != NULL ? last->code : VIR_ERR_INTERNAL_ERROR, &errnum);
    int result =
        fail(err, error_class, "%s %s: %s", verb, name,
             last != NULL && last->message != NULL ? last->message
                                                   : "no reason given");

    (void)hypervisor;
    if (err != NULL)
        err->system_errno = errnum;
    return result;
}

static void add_file(char **address, const char *key, const char *path)
{
    char *longer;

    if (path == NULL)
        return;
    longer = text_format("%s%c%s=%s", *address,
                         strchr(*address, '?') != NULL ? '&' : '?', key, path);
    free(*address);
    *address = longer;
}

/* Names of files go into the URI, since libvirt's environment variables are
 * the whole process's and threads have logins of their own. */
static char *address_of(const char *uri, const struct hypervisor_login *login)
{
    char *address = text_copy(uri);

    if (login == NULL)
        return address;
    if (strstr(uri, "+ssh:") != NULL)
        add_file(&address, "keyfile", login->ssh_key);
    add_file(&address, "authfile", login->auth_file);
    return address;
}

static int dial(struct libvirt *libvirt, struct ds_error *err)
{
    libvirt->connection =
        virConnectOpenAuth(libvirt->address, virConnectAuthPtrDefault, 0);
    if (libvirt->connection == NULL) {
        virErrorPtr last = virGetLastError();
        int result =
            fail(err, DS_ERR_SYSTEM, "connect to %s: %s", libvirt->common.uri,
                 last != NULL ? last->message : "no reason given");

        if (err != NULL)
            err->system_errno = EHOSTUNREACH;
        return result;
    }
    text_set(&libvirt->driver, virConnectGetType(libvirt->connection));
    return 0;
}

/* "qemu:///system", "qemu+unix:///system?socket=..." */
static bool is_this_host(const char *uri)
{
    const char *host = strstr(uri, "://");

    return host != NULL && host[3] == '/';
}

static uint32_t abilities(const char *driver, const char *uri)
{
    const uint32_t common = HYPERVISOR_CAN_DEFINE | HYPERVISOR_CAN_AUTOSTART;

    if (text_same(driver, "QEMU"))
        return common | HYPERVISOR_CAN_SNAPSHOT | HYPERVISOR_CAN_QUIESCE |
               HYPERVISOR_CAN_AGENT | HYPERVISOR_CAN_ADDRESSES |
               HYPERVISOR_CAN_REPORT | HYPERVISOR_CAN_NVRAM |
               (is_this_host(uri) ? HYPERVISOR_CAN_NBD : 0u);
    return common;
}

int libvirt_connect(const char *uri, const struct hypervisor_login *login,
                    const struct hypervisor_ops *ops, struct hypervisor **out,
                    struct ds_error *err)
{
    struct libvirt *libvirt = need(sizeof(*libvirt));
    int result;

    virSetErrorFunc(NULL, say_nothing);
    libvirt->common.ops = ops;
    libvirt->common.uri = text_copy(uri);
    libvirt->address = address_of(uri, login);
    result = dial(libvirt, err);
    if (result != 0) {
        libvirt_close(&libvirt->common);
        return result;
    }
    libvirt->common.can = abilities(libvirt->driver, uri);
    *out = &libvirt->common;
    return 0;
}

static int open_libvirt(const char *uri, const struct hypervisor_login *login,
                        struct hypervisor **out, struct ds_error *err)
{
    return libvirt_connect(uri, login, &hypervisor_libvirt, out, err);
}

void libvirt_close(struct hypervisor *hypervisor)
{
    struct libvirt *libvirt = (struct libvirt *)hypervisor;

    if (libvirt->connection != NULL)
        virConnectClose(libvirt->connection);
    free(libvirt->address);
    free(libvirt->driver);
    free(hypervisor->uri);
    free(libvirt);
}

static int connected(struct libvirt *libvirt, struct ds_error *err)
{
    if (libvirt->connection != NULL &&
        virConnectIsAlive(libvirt->connection) != 0)
        return 0;
    if (libvirt->connection != NULL)
        virConnectClose(libvirt->connection);
    libvirt->connection = NULL;
    return dial(libvirt, err);
}

int libvirt_domain(struct hypervisor *hypervisor, const char *name,
                   virDomainPtr *out, struct ds_error *err)
{
    struct libvirt *libvirt = (struct libvirt *)hypervisor;
    int result = connected(libvirt, err);

    if (result != 0)
        return result;
    *out = virDomainLookupByName(libvirt->connection, name);
    return *out != NULL ? 0 : libvirt_failed(hypervisor, "find", name, err);
}

static bool takes(const char *uri)
{
    return strstr(uri, ":/") != NULL;
}

/* -- inventory ------------------------------------------------------------ */

static int list(struct hypervisor *hypervisor, struct texts *names,
                struct ds_error *err)
{
    struct libvirt *libvirt = (struct libvirt *)hypervisor;
    virDomainPtr *domains = NULL;
    int result = connected(libvirt, err), count;

    if (result != 0)
        return result;
    count = virConnectListAllDomains(libvirt->connection, &domains, 0);
    if (count < 0)
        return libvirt_failed(hypervisor, "list", hypervisor->uri, err);
    for (int i = 0; i < count; i++) {
        texts_add(names, virDomainGetName(domains[i]));
        virDomainFree(domains[i]);
    }
    free(domains);
    return 0;
}

static int find(struct hypervisor *hypervisor, const char *name,
                struct ds_error *err)
{
    struct ds_error mine = DS_ERROR_INIT;
    autodomain virDomainPtr domain = NULL;
    int result = libvirt_domain(hypervisor, name, &domain, &mine);

    if (result == 0)
        return 1;
    if (mine.system_errno == ENOENT)
        return 0;
    *err = mine;
    return result;
}

/* An overlay of ours stands before the disk that it was made of. */
static int describe(struct hypervisor *hypervisor, const char *name,
                    struct vm *out, struct ds_error *err)
{
    autodomain virDomainPtr domain = NULL;
    autofree char *text = NULL;
    int autostart = 0, count;
    int result = libvirt_domain(hypervisor, name, &domain, err);

    if (result != 0)
        return result;
    text = virDomainGetXMLDesc(domain,
                               VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
    if (text == NULL) /* a reader may not see passwords, and needs none */
        text = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE);
    if (text == NULL)
        return libvirt_failed(hypervisor, "describe", name, err);
    result = vm_from_domain_xml(text, out, err);
    if (result != 0)
        return fail_within(err, "describe %s", name);
    if (out->firmware == VM_FIRMWARE_UEFI && out->nvram_path == NULL)
        out->nvram_path = libvirt_nvram(domain, hypervisor->uri);
    if (virDomainGetAutostart(domain, &autostart) == 0)
        out->autostart = autostart != 0;
    count = virDomainSnapshotNum(domain, 0);
    out->snapshot_count = count > 0 ? (unsigned)count : 0;
    return 0;
}

static int has_network(struct hypervisor *hypervisor, enum vm_link link,
                       const char *network, struct ds_error *err)
{
    struct libvirt *libvirt = (struct libvirt *)hypervisor;
    virNetworkPtr found;
    int result = connected(libvirt, err);

    if (result != 0)
        return result;
    /* Whether another host has a bridge is not told by every libvirt. */
    if (link != VM_LINK_NETWORK)
        return 1;
    found = virNetworkLookupByName(libvirt->connection, network);
    if (found != NULL) {
        virNetworkFree(found);
        return 1;
    }
    return virGetLastErrorCode() == VIR_ERR_NO_NETWORK
               ? 0
               : libvirt_failed(hypervisor, "find network", network, err);
}

static int runs_format(struct hypervisor *hypervisor, const char *format,
                       const struct pairs *options, struct ds_error *err)
{
    static const char *const known[] = { "raw", "qcow2", "vmdk", "vhd", "vdi" };

    (void)hypervisor, (void)options;
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (strcmp(format, known[i]) == 0)
            return 1;
    fail(err, DS_ERR_UNSUPPORTED, "have %s expect raw, qcow2, vmdk, vhd or vdi",
         format);
    return 0;
}

static int capabilities(struct hypervisor *hypervisor, struct xml **out,
                        struct ds_error *err)
{
    struct libvirt *libvirt = (struct libvirt *)hypervisor;
    autofree char *text = NULL;
    int result = connected(libvirt, err);

    if (result != 0)
        return result;
    text = virConnectGetCapabilities(libvirt->connection);
    if (text == NULL)
        return libvirt_failed(hypervisor, "ask", hypervisor->uri, err);
    return xml_parse(text, strlen(text), NULL, out, err);
}

static int has_machine(struct hypervisor *hypervisor, const char *machine,
                       struct ds_error *err)
{
    autoxml struct xml *root = NULL;
    int result = capabilities(hypervisor, &root, err);
    const struct xml *guest = xml_at(root, "guest");

    for (; result == 0 && guest != NULL; guest = xml_next(guest)) {
        const struct xml *at = xml_at(guest, "arch/machine");

        for (; at != NULL; at = xml_next(at))
            if (strcmp(at->text, machine) == 0 ||
                text_same(xml_attribute(at, "canonical"), machine))
                return 1;
    }
    return result;
}

/* -- what exists ---------------------------------------------------------- */

/* "kvm" where there is hardware help, else the first that there is. */
static int best_type(struct hypervisor *hypervisor, char **out,
                     struct ds_error *err)
{
    autoxml struct xml *root = NULL;
    int result = capabilities(hypervisor, &root, err);
    const struct xml *at = xml_at(root, "guest/arch/domain");

    for (; at != NULL; at = xml_next(at)) {
        const char *type = xml_attribute(at, "type");

        if (*out == NULL || text_same(type, "kvm"))
            text_set(out, type);
    }
    return result;
}

static int define(struct hypervisor *hypervisor, const struct vm *vm,
                  struct ds_error *err)
{
    struct libvirt *libvirt = (struct libvirt *)hypervisor;
    autofree char *type = text_copy(vm->accelerator), *text = NULL;
    struct vm named = *vm; /* borrows */
    autodomain virDomainPtr there = NULL, made = NULL;
    char uuid[VIR_UUID_STRING_BUFLEN];
    int result = connected(libvirt, err);

    if (result == 0 && type == NULL)
        result = best_type(hypervisor, &type, err);
    if (result != 0)
        return result;
    /* Defining it again must not make it another one. */
    there = virDomainLookupByName(libvirt->connection, vm->name);
    if (there != NULL && virDomainGetUUIDString(there, uuid) == 0)
        named.uuid = uuid;
    text = vm_to_domain_xml(&named, type != NULL ? type : "qemu");
    made = virDomainDefineXML(libvirt->connection, text);
    return made != NULL ? 0
                        : libvirt_failed(hypervisor, "define", vm->name, err);
}

static int undefine(struct hypervisor *hypervisor, const char *name,
                    struct ds_error *err)
{
    struct ds_error mine = DS_ERROR_INIT;
    autodomain virDomainPtr domain = NULL;
    int result = libvirt_domain(hypervisor, name, &domain, &mine);

    if (result != 0 && mine.system_errno == ENOENT)
        return 0;
    if (result != 0) {
        *err = mine;
        return result;
    }
    if (virDomainUndefineFlags(
            domain, VIR_DOMAIN_UNDEFINE_NVRAM |
                        VIR_DOMAIN_UNDEFINE_MANAGED_SAVE |
                        VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA) == 0 ||
        virDomainUndefine(domain) == 0)
        return 0;
    return libvirt_failed(hypervisor, "undefine", name, err);
}

static int autostart(struct hypervisor *hypervisor, const char *name, bool on,
                     struct ds_error *err)
{
    autodomain virDomainPtr domain = NULL;
    int result = libvirt_domain(hypervisor, name, &domain, err);

    if (result == 0 && virDomainSetAutostart(domain, on) != 0)
        result = libvirt_failed(hypervisor, "set autostart of", name, err);
    return result;
}

/* Cuts "<mac .../>" out wherever it stands: libvirt makes new ones. */
static void cut_macs(char *text)
{
    char *at;

    while ((at = strstr(text, "<mac address=")) != NULL) {
        char *end = strstr(at, "/>");

        if (end == NULL)
            return;
        memmove(at, end + 2, strlen(end + 2) + 1);
    }
}

static int renew_macs(struct hypervisor *hypervisor, const char *name,
                      struct ds_error *err)
{
    struct libvirt *libvirt = (struct libvirt *)hypervisor;
    autodomain virDomainPtr domain = NULL, made = NULL;
    autofree char *text = NULL;
    int result = libvirt_domain(hypervisor, name, &domain, err);

    if (result != 0)
        return result;
    text = virDomainGetXMLDesc(domain,
                               VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
    if (text == NULL)
        return libvirt_failed(hypervisor, "describe", name, err);
    cut_macs(text);
    made = virDomainDefineXML(libvirt->connection, text);
    return made != NULL ? 0 : libvirt_failed(hypervisor, "define", name, err);
}

/* -- power ---------------------------------------------------------------- */

static enum hypervisor_state state_of(int state)
{
    switch (state) {
    case VIR_DOMAIN_SHUTOFF:
        return HYPERVISOR_OFF;
    case VIR_DOMAIN_SHUTDOWN:
        return HYPERVISOR_STOPPING;
    case VIR_DOMAIN_CRASHED:
        return HYPERVISOR_CRASHED;
    case VIR_DOMAIN_PAUSED:
    case VIR_DOMAIN_PMSUSPENDED:
        return HYPERVISOR_PAUSED;
    default:
        return HYPERVISOR_RUNNING;
    }
}

static int get_state(struct hypervisor *hypervisor, const char *name,
                     enum hypervisor_state *out, struct ds_error *err)
{
    autodomain virDomainPtr domain = NULL;
    int state = 0;
    int result = libvirt_domain(hypervisor, name, &domain, err);

    if (result != 0)
        return result;
    if (virDomainGetState(domain, &state, NULL, 0) != 0)
        return libvirt_failed(hypervisor, "ask for the state of", name, err);
    *out = state_of(state);
    return 0;
}

/* What was refused because it is so already is no failure. */
static int unless_state(struct hypervisor *hypervisor, const char *name,
                        enum hypervisor_state wanted, const char *verb,
                        struct ds_error *err)
{
    struct ds_error first = DS_ERROR_INIT;
    enum hypervisor_state state = HYPERVISOR_CRASHED;
    int result = libvirt_failed(hypervisor, verb, name, &first);

    if (get_state(hypervisor, name, &state, NULL) == 0 && state == wanted)
        return 0;
    if (err != NULL)
        *err = first;
    return result;
}

static int start(struct hypervisor *hypervisor, const char *name,
                 struct ds_error *err)
{
    autodomain virDomainPtr domain = NULL;
    int result = libvirt_domain(hypervisor, name, &domain, err);

    if (result == 0 && virDomainCreate(domain) != 0)
        result =
            unless_state(hypervisor, name, HYPERVISOR_RUNNING, "start", err);
    return result;
}

static int shut_down(struct hypervisor *hypervisor, const char *name,
                     struct ds_error *err)
{
    autodomain virDomainPtr domain = NULL;
    int result = libvirt_domain(hypervisor, name, &domain, err);

    if (result != 0 ||
        ((hypervisor->can & HYPERVISOR_CAN_AGENT) != 0 &&
         virDomainShutdownFlags(domain, VIR_DOMAIN_SHUTDOWN_GUEST_AGENT) == 0))
        return result;
    if (virDomainShutdown(domain) != 0)
        result =
            unless_state(hypervisor, name, HYPERVISOR_OFF, "shut down", err);
    return result;
}

static int force_off(struct hypervisor *hypervisor, const char *name,
                     struct ds_error *err)
{
    autodomain virDomainPtr domain = NULL;
    int result = libvirt_domain(hypervisor, name, &domain, err);

    if (result == 0 && virDomainDestroy(domain) != 0)
        result =
            unless_state(hypervisor, name, HYPERVISOR_OFF, "power off", err);
    return result;
}

const struct hypervisor_ops hypervisor_libvirt = {
    .name = "libvirt",
    .takes = takes,
    .open = open_libvirt,
    .close = libvirt_close,
    .list = list,
    .find = find,
    .describe = describe,
    .has_network = has_network,
    .runs_format = runs_format,
    .has_machine = has_machine,
    .fits = libvirt_fits,
    .define = define,
    .undefine = undefine,
    .autostart = autostart,
    .renew_macs = renew_macs,
    .state = get_state,
    .start = start,
    .shut_down = shut_down,
    .force_off = force_off,
    .snapshot_find = libvirt_snapshot_find,
    .snapshot_create = libvirt_snapshot_create,
    .snapshot_merge = libvirt_snapshot_merge,
    .agent = libvirt_agent,
    .addresses = libvirt_addresses,
};
