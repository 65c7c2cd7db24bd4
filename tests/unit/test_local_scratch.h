/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real filesystems for a test, of which nothing remains however it ends: the
 * process enters a mount namespace of its own, mounts a tmpfs there and in it
 * images on loop devices that detach themselves. When the last process of the
 * namespace is gone, so is all of it.
 */
#ifndef TEST_LOCAL_SCRATCH_H
#define TEST_LOCAL_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "local/local.h"

#define SCRATCH_SKIP 77 /* ctest's SKIP_RETURN_CODE */
#define SCRATCH_IMAGE_BYTES ((off_t)400 * 1024 * 1024)

static char scratch_root[3072];

/* A path beneath the scratch directory, in one of eight turning buffers. */
static inline const char *scratch_path(const char *name)
{
    static char paths[8][4096];
    static unsigned turn;
    char *path = paths[turn++ % 8];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", scratch_root, name);
    return path;
}

/* Enter the namespace; the program ends as skipped where it may not. */
static inline void scratch_begin(void)
{
    const char *given = getenv("DS_TEST_DIR");
    (void)snprintf(scratch_root, sizeof(scratch_root), "%s",
                   given != NULL ? given : "/tmp");
    (void)mkdir(scratch_root, 0755);
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("scratch", scratch_root, "tmpfs", 0, "mode=0755") != 0) {
        (void)fprintf(stderr, "skipped: cannot mount: %s\n", strerror(errno));
        exit(SCRATCH_SKIP);
    }
}

static inline int scratch_loop(int image_fd, char device[32])
{
    int control_fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    struct loop_config config = { .fd = (uint32_t)image_fd };
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    for (int round = 0; control_fd >= 0 && round < 32; round++) {
        int number = ioctl(control_fd, LOOP_CTL_GET_FREE);
        (void)snprintf(device, 32, "/dev/loop%d", number);
        int fd = open(device, O_RDWR | O_CLOEXEC);
        if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0) {
            (void)close(control_fd);
            return fd;
        }
        if (fd >= 0) /* another test was faster */
            (void)close(fd);
    }
    if (control_fd >= 0)
        (void)close(control_fd);
    return -1;
}

/* Mount a fresh filesystem at scratch_path(name). `make` is the command that
 * makes it, up to the device: "mkfs.xfs -q". False where it cannot be had. */
static inline bool scratch_mount(const char *name, const char *type,
                                 const char *make)
{
    char command[256];
    char device[32];
    int image_fd = open(scratch_root, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (image_fd < 0 || ftruncate(image_fd, SCRATCH_IMAGE_BYTES) != 0)
        return false;
    int loop_fd = scratch_loop(image_fd, device);
    (void)close(image_fd);
    if (loop_fd < 0)
        return false;
    (void)snprintf(command, sizeof(command), "%s %s >/dev/null 2>&1", make,
                   device);
    bool mounted = mkdir(scratch_path(name), 0755) == 0 &&
                   system(command) == 0 &&
                   mount(device, scratch_path(name), type, 0, NULL) == 0;
    (void)close(loop_fd); /* the mount keeps it */
    if (!mounted)
        (void)fprintf(stderr, "no %s here\n", type);
    return mounted;
}

static inline bool scratch_mount_xfs(void)
{
    return scratch_mount("xfs", "xfs", "mkfs.xfs -q");
}

static inline bool scratch_mount_btrfs(void)
{
    return scratch_mount("btrfs", "btrfs", "mkfs.btrfs -q");
}

static inline bool scratch_mount_ext4(void)
{
    return scratch_mount("ext4", "ext4", "mkfs.ext4 -q");
}

/* A pattern that is nowhere zero and differs at each place and by seed. */
static inline void scratch_fill(uint8_t *bytes, size_t length, unsigned seed)
{
    uint32_t state = seed * 2654435761u + 1;
    for (size_t i = 0; i < length; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24 | 1);
    }
}

static inline void scratch_write(const char *path, const void *bytes,
                                 size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(local_write_fully(fd, bytes, length, 0), 0);
    assert_int_equal(fsync(fd), 0);
    (void)close(fd);
}

static inline void scratch_write_pattern(const char *path, size_t length,
                                         unsigned seed)
{
    uint8_t *bytes = malloc(length + 1);
    assert_non_null(bytes);
    scratch_fill(bytes, length, seed);
    scratch_write(path, bytes, length);
    free(bytes);
}

static inline void scratch_compare(const char *path, const void *bytes,
                                   size_t length)
{
    uint8_t *found = malloc(length + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_non_null(found);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, found, length + 1), length);
    assert_memory_equal(found, bytes, length);
    (void)close(fd);
    free(found);
}

static inline void scratch_no_error(int rc, const struct ds_error *err)
{
    if (rc != 0)
        fail_msg("%d: %s: %s", rc, err->file, err->message);
}

static inline struct ds_file *scratch_open(const char *path)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_file *file = NULL;
    scratch_no_error(local_open(path, &file, &err), &err);
    return file;
}

static inline struct ds_file *
scratch_create(const char *path, const struct ds_file *from, bool clone_from)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_create_request request = { .path = path,
                                         .attributes_from = from,
                                         .clone_from = clone_from };
    struct ds_file *file = NULL;
    scratch_no_error(local_create(&request, &file, &err), &err);
    return file;
}

/* Check class and a word of the message. */
static inline void scratch_expect(int rc, const struct ds_error *err,
                                  enum ds_error_class error_class,
                                  const char *word)
{
    assert_int_equal(rc, -(int)error_class);
    assert_int_equal(err->error_class, error_class);
    if (strstr(err->message, word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err->message, word);
}

#endif
