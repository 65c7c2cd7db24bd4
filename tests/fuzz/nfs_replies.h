/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DS_TESTS_FUZZ_NFS_REPLIES_H
#define DS_TESTS_FUZZ_NFS_REPLIES_H

#include <stddef.h>
#include <stdint.h>

/**
 * The NFSv4.2 client against a server whose replies the input spoils. An input
 * is a list of edits of 8 bytes:
 *
 *     reply, kind, offset (2, big-endian), value (4, big-endian)
 *
 * Edits of the n-th reply are done to what would be right there (see `spoil`),
 * in order. What the client says must hold: an error with class and message, or
 * every piece with a status; and it must end, by a clock that only waiting
 * moves. 0: no session, 1: no file, 2: some work failed, 3: all was done.
 */
int fuzz_nfs_replies(const uint8_t *input, size_t length_bytes);

#endif
