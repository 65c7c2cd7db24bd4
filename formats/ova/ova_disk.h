/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of a tar archive, byte for byte: POSIX.1-1988 "ustar", with
 * GNU's base-256 numbers and the extended headers of POSIX.1-2001 ("pax").
 * Everything comes in blocks of 512 bytes.
 *
 *   | header | member, filled up to 512 | header | member | ... | two of zeros
 * |
 */
#ifndef OVA_DISK_H
#define OVA_DISK_H

#include <stddef.h>
#include <stdint.h>

#define TAR_BLOCK_BYTES 512u
#define TAR_NAME_BYTES 100u

struct tar_header_disk {
    char name[TAR_NAME_BYTES];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char chksum[8];
    char typeflag;
    char linkname[100];
    char magic[6]; /* "ustar" and NUL; GNU: "ustar " */
    char version[2];
    char uname[32];
    char gname[32];
    char devmajor[8];
    char devminor[8];
    char prefix[155];
    char reserved[12];
};
_Static_assert(sizeof(struct tar_header_disk) == TAR_BLOCK_BYTES, "header");
_Static_assert(offsetof(struct tar_header_disk, size) == 124, "header");
_Static_assert(offsetof(struct tar_header_disk, chksum) == 148, "header");
_Static_assert(offsetof(struct tar_header_disk, typeflag) == 156, "header");
_Static_assert(offsetof(struct tar_header_disk, magic) == 257, "header");
_Static_assert(offsetof(struct tar_header_disk, prefix) == 345, "header");

#define TAR_TYPE_REGULAR '0'
#define TAR_TYPE_REGULAR_OLD '\0'
#define TAR_TYPE_CONTIGUOUS '7'
#define TAR_TYPE_DIRECTORY '5'
#define TAR_TYPE_PAX 'x'        /* for the next member */
#define TAR_TYPE_PAX_GLOBAL 'g' /* for all that follow */
#define TAR_TYPE_GNU_NAME 'L'   /* the next member's long name */
#define TAR_TYPE_GNU_SPARSE 'S'

#endif
