/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ESXi, by libvirt's esx driver: esx://[user@]host, vpx://... for a vCenter.
 * It has no events and no agent: power states are polled, guests are reached
 * by SSH. Disks are named "[store] web/web.vmdk", networks are port groups.
 *
 * A VM is made in one of three ways:
 *   by the API, where libvirt's own VMX writer has words for all of it;
 *   else by SSH to the host: our VMX is put beside the disk and registered;
 *   else by a person: EINPROGRESS, with the steps, and our VMX where that is
 *   ours to write. Once the VM is there, defining it again succeeds.
 */
#include "hypervisor_libvirt.h"
#include "libvirt_verbs.h"
#include "ssh.h"
#include "vmx.h"
#include "xml.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <libvirt/virterror.h>

#define SSH_SECONDS 120
#define OUTPUT_BYTES_MAX 65536

struct esx {
    struct libvirt libvirt;
    struct ssh_host ssh; /* host NULL: a vCenter, which has no shell */
};

/* -- connecting ----------------------------------------------------------- */

static bool takes(const char *uri)
{
    return text_begins(uri, "esx://") || text_begins(uri, "vpx://");
}

static void close_esx(struct hypervisor *hypervisor)
{
    struct esx *esx = (struct esx *)hypervisor;

    ssh_host_free(&esx->ssh);
    libvirt_close(hypervisor);
}

static int open_esx(const char *uri, const struct hypervisor_login *login,
                    struct hypervisor **out, struct ds_error *err)
{
    struct hypervisor *opened = NULL;
    struct esx *esx;
    int result;

    /* What it does not know of later versions it would warn of on stderr, and
     * print its errors there, which we have anyway. */
    setenv("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null", 0);
    result = libvirt_connect(uri, login, &hypervisor_esx, &opened, err);
    if (result != 0)
        return result;
    /* Ours begins with libvirt's. */
    esx = need_more(opened, sizeof(*esx));
    esx->ssh = (struct ssh_host){ 0 };
    esx->libvirt.common.can = HYPERVISOR_CAN_SNAPSHOT | HYPERVISOR_CAN_QUIESCE |
                              HYPERVISOR_CAN_DEFINE | HYPERVISOR_CAN_AUTOSTART |
                              HYPERVISOR_CAN_BY_HAND;
    if (text_begins(uri, "esx://")) {
        if (!ssh_host_parse(uri + strlen("esx://"), login, &esx->ssh))
            ssh_host_free(&esx->ssh);
        esx->ssh.port = 0; /* the URI's is the API's */
        if (esx->ssh.user == NULL)
            esx->ssh.user = text_copy("root");
    }
    *out = &esx->libvirt.common;
    return 0;
}

/* -- inventory ------------------------------------------------------------ */

/* The domain XML lacks what is the same for all of ESXi's VMs. */
static int describe(struct hypervisor *hypervisor, const char *name,
                    struct vm *out, struct ds_error *err)
{
    int result = hypervisor_libvirt.describe(hypervisor, name, out, err);

    for (size_t i = 0; result == 0 && i < out->disk_count; i++)
        if (out->disks[i].format == NULL)
            text_set(&out->disks[i].format, "vmdk");
    for (size_t i = 0; result == 0 && i < out->nic_count; i++)
        if (out->nics[i].link == VM_LINK_BRIDGE)
            out->nics[i].link = VM_LINK_NETWORK;
    return result;
}

static bool has_port_group(virNetworkPtr network, const char *name)
{
    autofree char *text = virNetworkGetXMLDesc(network, 0);
    autoxml struct xml *root = NULL;
    const struct xml *group;

    if (text == NULL || xml_parse(text, strlen(text), NULL, &root, NULL) != 0)
        return false;
    for (group = xml_at(root, "portgroup"); group != NULL;
         group = xml_next(group))
        if (text_same(xml_attribute(group, "name"), name))
            return true;
    return false;
}

/* libvirt's networks are ESXi's switches; NICs are on port groups of these. */
static int has_network(struct hypervisor *hypervisor, enum vm_link link,
                       const char *network, struct ds_error *err)
{
    struct libvirt *libvirt = (struct libvirt *)hypervisor;
    virNetworkPtr *networks = NULL;
    bool found = false;
    int count;

    if (link != VM_LINK_NETWORK && link != VM_LINK_BRIDGE)
        return 0;
    count = virConnectListAllNetworks(libvirt->connection, &networks, 0);
    if (count < 0)
        return libvirt_failed(hypervisor, "find network", network, err);
    for (int i = 0; i < count; i++) {
        found = found || has_port_group(networks[i], network);
        virNetworkFree(networks[i]);
    }
    free(networks);
    return found;
}

static int runs_format(struct hypervisor *hypervisor, const char *format,
                       struct ds_error *err)
{
    (void)hypervisor, (void)err;
    return strcmp(format, "vmdk") == 0;
}

/* -- by the API ----------------------------------------------------------- */

/* What libvirt 9's VMX writer has no words for. */
static const char *lacks_words(const struct vm *vm)
{
    if (vm->secure_boot)
        return "secure boot";
    if (vm->tpm != VM_TPM_NONE)
        return "a TPM";
    for (size_t i = 0; i < vm->disk_count; i++) {
        const struct vm_disk *disk = &vm->disks[i];

        if (disk->bus == VM_BUS_NVME)
            return "NVMe";
        if (disk->shared || disk->independent)
            return "shared or independent disks";
        if (disk->boot_order > 1 || (disk->boot_order == 1 && i > 0))
            return "an order of booting";
        if (disk->path[0] != '[')
            return "disks outside of a datastore";
    }
    for (size_t i = 0; i < vm->nic_count; i++)
        if (vm->nics[i].unplugged)
            return "unplugged network interfaces";
    return NULL;
}

static void put(FILE *out, const char *before, const char *text,
                const char *after)
{
    autofree char *escaped = xml_escape(text);

    fprintf(out, "%s%s%s", before, escaped, after);
}

/* Disks go to places in the order they come, as vmx_write has it; libvirt
 * wants the place and the name of the device to agree. */
static void put_disk(FILE *out, const struct vm_disk *disk, unsigned index)
{
    bool ide = disk->bus == VM_BUS_IDE;
    unsigned per_bus = ide ? 2 : disk->bus == VM_BUS_SATA ? 30 : 15;
    unsigned unit = index % per_bus;
    char letters[3] = { 0 };

    if (index < 26)
        letters[0] = (char)('a' + index);
    else
        letters[0] = (char)('a' + index / 26 - 1),
        letters[1] = (char)('a' + index % 26);
    if (disk->bus == VM_BUS_SCSI && unit >= 7)
        unit++;
    put(out, "<disk type='file' device='disk'><source file='", disk->path,
        "'/>");
    fprintf(out,
            "<target dev='%s%s' bus='%s'/><address type='drive' "
            "controller='%u' bus='%u' target='0' unit='%u'/></disk>\n",
            ide ? "hd" : "sd", letters, vm_bus_name(disk->bus),
            ide ? 0 : index / per_bus, ide ? index / per_bus : 0, unit);
}

static void put_disks(FILE *out, const struct vm *vm)
{
    unsigned counts[VM_BUS_COUNT] = { 0 };

    for (size_t i = 0; i < vm->disk_count; i++) {
        const struct vm_disk *disk = &vm->disks[i];
        unsigned index = counts[disk->bus]++;

        put_disk(out, disk, index);
        if (disk->bus == VM_BUS_SCSI && index % 15 == 0) {
            fprintf(out, "<controller type='scsi' index='%u'", index / 15);
            put(out, " model='",
                disk->controller != NULL ? disk->controller : "lsilogic",
                "'/>\n");
        }
    }
}

static void put_nic(FILE *out, const struct vm_nic *nic)
{
    fprintf(out, "<interface type='bridge'>");
    if (nic->mac[0] != '\0')
        put(out, "<mac address='", nic->mac, "'/>");
    put(out, "<source bridge='", nic->network != NULL ? nic->network : "",
        "'/>");
    put(out, "<model type='", nic->model != NULL ? nic->model : "e1000",
        "'/></interface>\n");
}

static char *esx_xml(const struct vm *vm)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    if (out == NULL)
        return need(1);
    put(out, "<domain type='vmware'><name>", vm->name, "</name>\n");
    if (vm->uuid != NULL)
        put(out, "<uuid>", vm->uuid, "</uuid>\n");
    if (vm->description != NULL)
        put(out, "<description>", vm->description, "</description>\n");
    fprintf(out,
            "<memory unit='KiB'>%llu</memory><vcpu>%u</vcpu>\n"
            "<os%s><type arch='x86_64'>hvm</type></os>\n",
            (unsigned long long)(vm->memory_bytes / 1024), vm->cpu_count,
            vm->firmware == VM_FIRMWARE_UEFI ? " firmware='efi'" : "");
    if (vm->socket_count != 0)
        fprintf(out,
                "<cpu><topology sockets='%u' cores='%u' threads='%u'/>"
                "</cpu>\n",
                vm->socket_count, vm->core_count, vm->thread_count);
    fputs("<devices>\n", out);
    put_disks(out, vm);
    for (size_t i = 0; i < vm->nic_count; i++)
        put_nic(out, &vm->nics[i]);
    fputs("</devices></domain>\n", out);
    fclose(out);
    return text;
}

static int define_by_api(struct hypervisor *hypervisor, const struct vm *vm,
                         struct ds_error *err)
{
    struct libvirt *libvirt = (struct libvirt *)hypervisor;
    autofree char *text = esx_xml(vm);
    autodomain virDomainPtr made =
        virDomainDefineXML(libvirt->connection, text);

    return made != NULL ? 0
                        : libvirt_failed(hypervisor, "define", vm->name, err);
}

/* -- by SSH --------------------------------------------------------------- */

/* The first disk's directory, as the disks are named. */
static char *home_of(const struct vm *vm)
{
    return path_directory(vm->disk_count > 0 ? vm->disks[0].path : ".");
}

/* "[store] web" as the host's shell has it, or NULL. */
static char *shell_path(const char *directory)
{
    const char *bracket = directory[0] == '[' ? strchr(directory, ']') : NULL;

    if (bracket != NULL)
        return text_format("/vmfs/volumes/%.*s/%s",
                           (int)(bracket - directory - 1), directory + 1,
                           bracket[1] == ' ' ? bracket + 2 : bracket + 1);
    return text_begins(directory, "/vmfs/volumes/") ? text_copy(directory)
                                                    : NULL;
}

/* A VMX of this name that says something else is somebody's: it stays. */
static char *register_command(const char *vmx)
{
    autofree char *quoted = shell_quote(vmx);

    return text_format(
        "f=%s; umask 077; cat >\"$f.diskshift\" || exit 1; "
        "if [ -e \"$f\" ] && [ \"$(cat \"$f\")\" != \"$(cat "
        "\"$f.diskshift\")\" "
        "]; then rm -f \"$f.diskshift\"; echo \"$f exists\" >&2; exit 3; fi; "
        "mv \"$f.diskshift\" \"$f\" && vim-cmd solo/registervm \"$f\"",
        quoted);
}

static int define_by_ssh(struct esx *esx, const struct vm *vm, const char *vmx,
                         const char *text, struct ds_error *err)
{
    autofree char *command = register_command(vmx);
    struct process_result done = { 0 };
    int result = ssh_run(&esx->ssh, command, text, strlen(text), SSH_SECONDS,
                         OUTPUT_BYTES_MAX, &done, err);

    if (result != 0)
        return result;
    make_plain(done.output);
    if (done.exit_status != 0)
        result = fail(err, DS_ERR_REFUSED, "define %s: %.200s %.200s", vm->name,
                      done.errors, done.output);
    process_result_free(&done);
    return result;
}

/* -- by a person ---------------------------------------------------------- */

/* The VMX is beside the disks where they are ours to write to. */
static int hand_over(const struct vm *vm, const char *home, const char *text,
                     const char *lacking, const struct ds_error *why,
                     struct ds_error *err)
{
    const char *reason =
        why->message[0] != '\0' ? why->message : "a vCenter has no shell";
    bool written =
        vm->by_hand_path != NULL &&
        file_write(vm->by_hand_path, text, strlen(text), 0600, NULL) == 0;

    fail(err, DS_ERR_SYSTEM,
         "define %s: libvirt cannot tell ESXi of %s, and %.150s: a person has "
         "to %s%.200s%s, in %s, with the name %s",
         vm->name, lacking, reason,
         written ? "register " : "make the VM over the disks",
         written ? path_name(vm->by_hand_path) : "",
         written ? " (vim-cmd solo/registervm PATH, or in the host's client)"
                 : " (in the host's client), or to let SSH to the host in",
         home, vm->name);
    if (err != NULL)
        err->system_errno = EINPROGRESS;
    return -DS_ERR_SYSTEM;
}

/* "[store] web/web.vmdk", "/vmfs/volumes/store/web/web.vmdk" */
static bool takes_path(const char *path)
{
    return path != NULL &&
           (path[0] == '[' || text_begins(path, "/vmfs/volumes/"));
}

static int define(struct hypervisor *hypervisor, const struct vm *vm,
                  struct ds_error *err)
{
    struct esx *esx = (struct esx *)hypervisor;
    autofree char *home = home_of(vm), *text = NULL, *place = NULL,
                  *file = NULL;
    struct ds_error why = DS_ERROR_INIT;
    const char *lacking = lacks_words(vm);
    int result = hypervisor_libvirt.find(hypervisor, vm->name, err);

    if (result != 0) /* there already, by us or by a person; or an error */
        return result > 0 ? 0 : result;
    result = vmx_write(vm, home, &text, err);
    if (result != 0)
        return fail_within(err, "define %s", vm->name);
    if (lacking == NULL)
        return define_by_api(hypervisor, vm, err);
    place = shell_path(home);
    if (place != NULL && esx->ssh.host != NULL) {
        file = text_format("%s/%s.vmx", place, vm->name);
        result = define_by_ssh(esx, vm, file, text, &why);
        if (result == 0 || why.system_errno != EHOSTUNREACH) {
            *err = why;
            return result;
        }
    }
    return hand_over(vm, home, text, lacking, &why, err);
}

/* -- snapshots ------------------------------------------------------------ */

/* What the disks are now. */
static int list_overlays(struct hypervisor *hypervisor, const char *name,
                         struct texts *out, struct ds_error *err)
{
    struct vm now = { 0 };
    int result = describe(hypervisor, name, &now, err);

    for (size_t i = 0; result == 0 && i < now.disk_count; i++)
        texts_add(out, now.disks[i].path != NULL ? now.disks[i].path : "");
    vm_free(&now);
    return result;
}

/* The last of ours by name; the esx driver does not list them otherwise. */
static int find_ours(struct hypervisor *hypervisor, const char *name,
                     char **out, struct ds_error *err)
{
    autodomain virDomainPtr domain = NULL;
    int result = libvirt_domain(hypervisor, name, &domain, err), count;
    char **names;

    if (result != 0)
        return result;
    count = virDomainSnapshotNum(domain, 0);
    names = need(sizeof(*names) * (size_t)(count > 0 ? count : 0));
    if (count > 0)
        count = virDomainSnapshotListNames(domain, names, count, 0);
    for (int i = 0; i < count; i++) {
        if (text_begins(names[i], HYPERVISOR_SNAPSHOT_PREFIX))
            text_set(out, names[i]);
        free(names[i]);
    }
    free(names);
    return count < 0
               ? libvirt_failed(hypervisor, "list snapshots of", name, err)
               : *out != NULL;
}

static int snapshot_find(struct hypervisor *hypervisor, const struct vm *vm,
                         struct hypervisor_snapshot *out, struct ds_error *err)
{
    int found = find_ours(hypervisor, vm->name, &out->name, err);
    int result = found > 0
                     ? list_overlays(hypervisor, vm->name, &out->overlays, err)
                     : 0;

    return result != 0 ? result : found;
}

static int snapshot_create(struct hypervisor *hypervisor, const struct vm *vm,
                           const char *name, bool quiesce,
                           struct hypervisor_snapshot *out,
                           struct ds_error *err)
{
    autodomain virDomainPtr domain = NULL;
    autofree char *text =
        text_format("<domainsnapshot><name>%s</name></domainsnapshot>", name);
    virDomainSnapshotPtr made;
    int result = libvirt_domain(hypervisor, vm->name, &domain, err);

    if (result != 0)
        return result;
    made = virDomainSnapshotCreateXML(
        domain, text, quiesce ? VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE : 0);
    if (made == NULL)
        return libvirt_failed(hypervisor, "make a snapshot of", vm->name, err);
    virDomainSnapshotFree(made);
    text_set(&out->name, name);
    return list_overlays(hypervisor, vm->name, &out->overlays, err);
}

static int delete_snapshot(struct hypervisor *hypervisor, const char *vm_name,
                           const char *name, struct ds_error *err)
{
    autodomain virDomainPtr domain = NULL;
    virDomainSnapshotPtr snapshot;
    int result = libvirt_domain(hypervisor, vm_name, &domain, err);

    if (result != 0)
        return result;
    snapshot = virDomainSnapshotLookupByName(domain, name, 0);
    if (snapshot == NULL || virDomainSnapshotDelete(snapshot, 0) != 0)
        result =
            libvirt_failed(hypervisor, "merge a snapshot of", vm_name, err);
    if (snapshot != NULL)
        virDomainSnapshotFree(snapshot);
    return result;
}

/* Deleting one consolidates the disks before it answers. */
static int snapshot_merge(struct hypervisor *hypervisor, const struct vm *vm,
                          struct ds_error *err)
{
    int result;

    do {
        autofree char *name = NULL;

        result = find_ours(hypervisor, vm->name, &name, err);
        if (result > 0 && delete_snapshot(hypervisor, vm->name, name, err) != 0)
            return -(int)err->error_class;
    } while (result > 0);
    return result;
}

/* -- what is libvirt's own ------------------------------------------------ */

static int list(struct hypervisor *hypervisor, struct texts *names,
                struct ds_error *err)
{
    return hypervisor_libvirt.list(hypervisor, names, err);
}

static int find(struct hypervisor *hypervisor, const char *name,
                struct ds_error *err)
{
    return hypervisor_libvirt.find(hypervisor, name, err);
}

static int undefine(struct hypervisor *hypervisor, const char *name,
                    struct ds_error *err)
{
    return hypervisor_libvirt.undefine(hypervisor, name, err);
}

static int autostart(struct hypervisor *hypervisor, const char *name, bool on,
                     struct ds_error *err)
{
    return hypervisor_libvirt.autostart(hypervisor, name, on, err);
}

static int get_state(struct hypervisor *hypervisor, const char *name,
                     enum hypervisor_state *out, struct ds_error *err)
{
    return hypervisor_libvirt.state(hypervisor, name, out, err);
}

static int start(struct hypervisor *hypervisor, const char *name,
                 struct ds_error *err)
{
    return hypervisor_libvirt.start(hypervisor, name, err);
}

static int shut_down(struct hypervisor *hypervisor, const char *name,
                     struct ds_error *err)
{
    return hypervisor_libvirt.shut_down(hypervisor, name, err);
}

static int force_off(struct hypervisor *hypervisor, const char *name,
                     struct ds_error *err)
{
    return hypervisor_libvirt.force_off(hypervisor, name, err);
}

const struct hypervisor_ops hypervisor_esx = {
    .name = "esx",
    .takes = takes,
    .open = open_esx,
    .close = close_esx,
    .list = list,
    .find = find,
    .describe = describe,
    .has_network = has_network,
    .runs_format = runs_format,
    .takes_path = takes_path,
    .define = define,
    .undefine = undefine,
    .autostart = autostart,
    .state = get_state,
    .start = start,
    .shut_down = shut_down,
    .force_off = force_off,
    .snapshot_find = snapshot_find,
    .snapshot_create = snapshot_create,
    .snapshot_merge = snapshot_merge,
};
