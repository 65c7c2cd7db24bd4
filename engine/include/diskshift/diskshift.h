/* SPDX-License-Identifier: Apache-2.0 */
/** Everything that libdiskshift offers. */
#ifndef DISKSHIFT_DISKSHIFT_H
#define DISKSHIFT_DISKSHIFT_H

#include <diskshift/convert.h>
#include <diskshift/disk.h>
#include <diskshift/error.h>
#include <diskshift/guest_script.h>
#include <diskshift/storage.h>
#include <diskshift/traffic.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The library's version, "MAJOR.MINOR.PATCH". */
DS_PUBLIC const char *ds_version(void);

#ifdef __cplusplus
}
#endif
#endif
