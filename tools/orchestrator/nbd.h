/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks of a format that the target cannot open itself, given to it by QEMU's
 * own server: qemu-nbd over a UNIX socket of this host. libvirt has no word for
 * VHDX, and its QEMU reads and writes it.
 *
 *   web-vda.vhdx            the disk
 *   web-vda.vhdx.nbd        the socket; who may open the disk may connect
 *   web-vda.vhdx.nbd.pid    locked by the server while it lives
 *
 * The server outlives the orchestrator and each power-off, since the VM may be
 * started by others at any time. It ends with the rollback, or before the disk
 * is read on the way back. It does not outlive the host's restart: diskshift-
 * migrate(1) says how the VM is started then.
 */
#ifndef ORCH_NBD_H
#define ORCH_NBD_H

#include "vm.h"

/* sun_path, with its end. */
#define NBD_SOCKET_BYTES_MAX 108

/** Where `path` is served; the caller owns it. */
char *nbd_socket_of(const char *path);
/** Whether the server's program is there. */
bool nbd_is_there(void);
/** Serve all disks of `vm` that have a socket. One that is served already goes
 * on being so. */
int nbd_serve(const struct vm *vm, struct ds_error *err);
/** End the servers of `vm`'s disks, whose images are closed and flushed then.
 * None there is fine. */
int nbd_end(const struct vm *vm, struct ds_error *err);
/** The command that serves a disk; the caller owns it. */
char *nbd_command(const struct vm_disk *disk);
/** Disks that a hypervisor has by sockets of ours become the files behind. */
void nbd_recognize(struct vm *vm);

#endif
