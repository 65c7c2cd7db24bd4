/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptions of VMs, as `migrate import` takes them from strangers:
 *
 *   vmx      VMware's
 *   ovf      OVF's envelope; what does not begin with '<' is the head of an OVA
 *   domain   libvirt's domain XML
 *
 * What was taken must be a VM that every other part can use: it goes through
 * the journal's JSON and comes back the same, and what is written of it for
 * libvirt and VMware is taken in turn, with the machine in it that went in. Of
 * 0 to 3: 0 refused, 1 no VM that could be, 2 a VM, 3 one that VMware takes.
 *
 * A harness of its own, since the orchestrator is a program and not a part of
 * the library that harness.c knows.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "import.h"
#include "vmx.h"

static int judge(int result, const struct ds_error *err)
{
    assert(result <= 0);
    assert(result == 0 ||
           (err->message[0] != '\0' && result == -(int)err->error_class));
    return result;
}

/* -- in ---------------------------------------------------------------------*/

static int from_package(const char *text, size_t length_bytes, struct vm *vm,
                        struct ds_error *err)
{
    int descriptor = memfd_create("ova", MFD_CLOEXEC);
    autofree char *head = NULL;
    char path[64];
    size_t bytes = 0;
    int result;

    assert(descriptor >= 0 &&
           write(descriptor, text, length_bytes) == (ssize_t)length_bytes);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
    result = judge(import_ova_descriptor(path, &head, &bytes, err), err);
    (void)close(descriptor);
    return result != 0 ? result : import_ovf(head, bytes, vm, err);
}

/* As import.c reads a file: no zeros in it, '\0' behind it. */
static int take(const char *format, const char *text, size_t length_bytes,
                struct vm *vm, struct ds_error *err)
{
    if (strcmp(format, "ovf") == 0 && text[0] != '<')
        return from_package(text, length_bytes, vm, err);
    if (memchr(text, '\0', length_bytes) != NULL)
        return fail(err, DS_ERR_CORRUPT, "byte %zu is 0", strlen(text));
    if (strcmp(format, "vmx") == 0)
        return import_vmx(text, length_bytes, vm, err);
    if (strcmp(format, "domain") == 0)
        return vm_from_domain_xml(text, vm, err);
    return import_ovf(text, length_bytes, vm, err);
}

/* -- out again --------------------------------------------------------------*/

static void through_json(const struct vm *vm)
{
    struct ds_error err = DS_ERROR_INIT;
    autojson json_t *json = vm_to_json(vm), *again_json = NULL, *read = NULL;
    autofree char *text = json_dumps(json, 0);
    struct vm again = { 0 };

    assert(text != NULL);
    read = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert(read != NULL);
    assert(judge(vm_from_json(read, &again, &err), &err) == 0);
    again_json = vm_to_json(&again);
    assert(json_equal(json, again_json));
    vm_free(&again);
}

static void assert_same_machine(const struct vm *vm, const struct vm *again)
{
    assert(again->memory_bytes == vm->memory_bytes / 1024 * 1024);
    assert(again->cpu_count == vm->cpu_count);
    assert(again->firmware == vm->firmware);
    assert(again->disk_count == vm->disk_count);
    assert(again->nic_count == vm->nic_count);
    for (size_t i = 0; i < vm->nic_count; i++)
        assert(strcmp(again->nics[i].mac, vm->nics[i].mac) == 0);
}

static void through_libvirt(const struct vm *vm)
{
    struct ds_error err = DS_ERROR_INIT;
    autofree char *text = NULL;
    struct vm again = { 0 };

    for (size_t i = 0; i < vm->nic_count; i++)
        if (vm->nics[i].link == VM_LINK_OTHER)
            return; /* preflight refuses it */
    text = vm_to_domain_xml(vm, "kvm");
    assert(judge(vm_from_domain_xml(text, &again, &err), &err) == 0);
    assert_same_machine(vm, &again);
    vm_free(&again);
}

static bool through_vmware(const struct vm *vm)
{
    struct ds_error err = DS_ERROR_INIT;
    autofree char *text = NULL;
    struct vm again = { 0 };

    if (judge(vmx_write(vm, "/vmfs/volumes/a/b", &text, &err), &err) != 0)
        return false;
    assert(judge(import_vmx(text, strlen(text), &again, &err), &err) == 0);
    assert(strcmp(vm->name, again.name) == 0);
    assert_same_machine(vm, &again);
    vm_free(&again);
    return true;
}

/* As a plan has it before anything is written: disks are files of the target's,
 * whatever they were (preflight refuses the others). */
static void place(struct vm *vm)
{
    for (size_t i = 0; i < vm->disk_count; i++) {
        text_set(&vm->disks[i].path, "/vmfs/volumes/a/b/web.vmdk");
        text_set(&vm->disks[i].format, "vmdk");
    }
}

static int use(struct vm *vm)
{
    struct ds_error err = DS_ERROR_INIT;
    struct vm copy;
    bool vmware;

    assert(vm->disk_count <= VM_DISK_COUNT_MAX);
    assert(vm->nic_count <= VM_NIC_COUNT_MAX);
    if (vm->name == NULL || vm->name[0] == '\0')
        text_set(&vm->name, "web");
    for (size_t i = 0; i < vm->disk_count; i++)
        if (vm->disks[i].member != NULL)
            text_set(&vm->disks[i].path, "/vm/web.ova");
    if (judge(vm_check(vm, "fuzz", &err), &err) != 0)
        return 1;
    vm_copy(&copy, vm);
    through_json(&copy);
    place(&copy);
    through_libvirt(&copy);
    vmware = through_vmware(&copy);
    vm_free(&copy);
    return vmware ? 3 : 2;
}

int fuzz_one(const char *format, const uint8_t *input, size_t length_bytes)
{
    struct ds_error err = DS_ERROR_INIT;
    autofree char *text = need(length_bytes + 1);
    struct vm vm = { 0 };
    int reached = 0;

    if (length_bytes > 0)
        memcpy(text, input, length_bytes);
    if (judge(take(format, text, length_bytes, &vm, &err), &err) == 0) {
        reached = use(&vm);
        vm_free(&vm);
    }
    return reached;
}
