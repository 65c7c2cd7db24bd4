/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DS_TESTS_FUZZ_MODES_H
#define DS_TESTS_FUZZ_MODES_H

#include <stddef.h>
#include <stdint.h>

/**
 * What a fuzzer's name means beyond a format's:
 *
 *   luks      a qcow2 whose passphrase is known: unlocked, read, decrypted
 *   convert   any image, converted in memory to one of many targets: what was
 *             planned, done and verified must agree (whole.h)
 *   chain     images over images of other formats, found from the content
 *   text      a VMDK descriptor, an OVF descriptor or a manifest, as it stands
 *   codec     bytes that are said to be compressed
 *   nfs       replies of an NFSv4.2 server (nfs_replies.h)
 *
 * 0 to 3, as fuzz_one; -1: no mode of this name.
 */
int fuzz_mode(const char *name, const uint8_t *input, size_t length_bytes);

#endif
