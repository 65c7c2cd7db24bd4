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
#include "esx_xml.h"
#include "hypervisor_libvirt.h"
#include "libvirt_verbs.h"
#include "plan.h"
#include "ssh.h"
#include "vmx.h"
#include "xml.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <libvirt/virterror.h>

#define VOLUMES "/vmfs/volumes/"
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

/* Of its own sparse and split disks none is powered on: what VMware's hosted
 * products write has to be imported first (VMware KB 1022242). */
static int runs_format(struct hypervisor *hypervisor, const char *format,
                       const struct pairs *options, struct ds_error *err)
{
    const char *subformat =
        options != NULL ? pairs_find(options, "subformat") : NULL;

    (void)hypervisor;
    if (strcmp(format, "vmdk") == 0 && text_same(subformat, "vmfs"))
        return 1;
    fail(err, DS_ERR_UNSUPPORTED,
         "have %s, subformat %s expect vmdk, subformat vmfs (--format vmdk "
         "-o subformat=vmfs)",
         format, subformat != NULL ? subformat : "of its standard");
    return 0;
}

/* -- names of files ------------------------------------------------------- */

/* "[store] web/web.vmdk", "/vmfs/volumes/store/web/web.vmdk" */
static bool takes_path(const char *path)
{
    return path != NULL && (path[0] == '[' || text_begins(path, VOLUMES));
}

/* A volume by its UUID: 5f0c8a12-1b2c3d4e-0000-0123456789ab */
static bool is_uuid(const char *name, size_t length)
{
    return length == 35 && strspn(name, "0123456789abcdef-") >= length;
}

/* "/vmfs/volumes/store/web/a.vmdk" is "[store] web/a.vmdk", by which name alone
 * the API knows it. */
static void name_by_store(char **path)
{
    const char *store = *path + strlen(VOLUMES);
    size_t length;
    char *named;

    if (!text_begins(*path, VOLUMES))
        return;
    length = strcspn(store, "/");
    if (is_uuid(store, length))
        return;
    named = text_format("[%.*s] %s", (int)length, store,
                        store + length + (store[length] == '/'));
    free(*path);
    *path = named;
}

/* 1 or 0: whether there is the datastore of "[store] web/a.vmdk". */
static int has_store(struct hypervisor *hypervisor, const char *path,
                     struct ds_error *err)
{
    struct libvirt *libvirt = (struct libvirt *)hypervisor;
    autofree char *store =
        text_format("%.*s", (int)strcspn(path + 1, "]"), path + 1);
    virStoragePoolPtr found =
        virStoragePoolLookupByName(libvirt->connection, store);

    if (found != NULL) {
        virStoragePoolFree(found);
        return 1;
    }
    return virGetLastErrorCode() == VIR_ERR_NO_STORAGE_POOL
               ? 0
               : libvirt_failed(hypervisor, "find datastore", store, err);
}

/* libvirt lists datastores and the descriptors in them, without their sizes:
 * of a directory its datastore is all that can be told. */
static int sees(struct hypervisor *hypervisor, const char *path,
                uint64_t least_bytes, struct ds_error *err)
{
    struct libvirt *libvirt = (struct libvirt *)hypervisor;
    autofree char *named = text_copy(path);
    virStorageVolPtr found = NULL;
    int code, result;

    (void)least_bytes;
    name_by_store(&named);
    if (named[0] != '[')
        return fail(err, DS_ERR_UNSUPPORTED, "look for %s: in no datastore",
                    path);
    result = has_store(hypervisor, named, err);
    if (result <= 0 || !text_ends(named, ".vmdk"))
        return result;
    found = virStorageVolLookupByPath(libvirt->connection, named);
    if (found != NULL) {
        virStorageVolFree(found);
        return 1;
    }
    code = virGetLastErrorCode();
    result = libvirt_failed(hypervisor, "look for", path, err);
    /* Of what is not there the driver says one or the other. */
    return code == VIR_ERR_NO_STORAGE_VOL || code == VIR_ERR_INTERNAL_ERROR
               ? 0
               : result;
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

static int define_by_api(struct hypervisor *hypervisor, const struct vm *vm,
                         struct ds_error *err)
{
    struct libvirt *libvirt = (struct libvirt *)hypervisor;
    autofree char *text = esx_domain_xml(vm);
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

/* Its VMX can be written: as many devices, of the kinds there are. */
static int fits(struct hypervisor *hypervisor, const struct vm *vm,
                struct ds_error *err)
{
    autofree char *home = home_of(vm), *text = NULL;

    (void)hypervisor;
    return vmx_write(vm, home, &text, err);
}

static int define_named(struct hypervisor *hypervisor, const struct vm *vm,
                        struct ds_error *err)
{
    struct esx *esx = (struct esx *)hypervisor;
    autofree char *home = home_of(vm), *text = NULL, *place = NULL,
                  *file = NULL;
    struct ds_error why = DS_ERROR_INIT;
    const char *lacking = lacks_words(vm);
    int result = vmx_write(vm, home, &text, err);

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

static int define(struct hypervisor *hypervisor, const struct vm *vm,
                  struct ds_error *err)
{
    struct vm named = { 0 };
    int result = hypervisor_libvirt.find(hypervisor, vm->name, err);

    if (result != 0) /* there already, by us or by a person; or an error */
        return result > 0 ? 0 : result;
    vm_copy(&named, vm);
    for (size_t i = 0; i < named.disk_count; i++)
        name_by_store(&named.disks[i].path);
    result = define_named(hypervisor, &named, err);
    vm_free(&named);
    return result;
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

/* What a VM's home has once it was registered, and then once it ran. */
static const char *const leaves[] = { "*.vmx",   "*.vmxf",     "*.vmsd",
                                      "*.nvram", "vmware.log", NULL };

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
    .sees = sees,
    .fits = fits,
    .define = define,
    .undefine = undefine,
    .leaves = leaves,
    .autostart = autostart,
    .state = get_state,
    .start = start,
    .shut_down = shut_down,
    .force_off = force_off,
    .snapshot_find = snapshot_find,
    .snapshot_create = snapshot_create,
    .snapshot_merge = snapshot_merge,
};
