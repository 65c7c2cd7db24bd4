/* SPDX-License-Identifier: Apache-2.0 */
/* Counting who refers to each cluster: qcow2_references.c walks all that
 * refers, qcow2_refcount.c keeps the counts and holds the image's to them. */
#ifndef DS_QCOW2_REFCOUNT_H
#define DS_QCOW2_REFCOUNT_H

#include "qcow2.h"

/* 32 MiB: 256 GiB of file at a time with clusters of 64 KiB. A file that is
 * larger is walked once for every such stretch that something refers to. */
#define QCOW2_COUNT_WINDOW_CLUSTERS (UINT64_C(4) << 20)
/* In a window the counts of so many clusters come into use together. */
#define QCOW2_COUNT_GROUP_CLUSTERS UINT64_C(512)
#define QCOW2_COUNT_GROUP_WORDS                                                \
    (QCOW2_COUNT_WINDOW_CLUSTERS / QCOW2_COUNT_GROUP_CLUSTERS / 64)

struct cluster_count {
    uint32_t found;  /* references, at most UINT32_MAX */
    uint32_t stored; /* the image's count, at most UINT32_MAX */
};

struct qcow2_counting {
    struct qcow2_image *image;
    ds_finding_fn *finding;
    void *user;
    struct cluster_count *counts; /* of the groups in use */
    uint64_t in_use[QCOW2_COUNT_GROUP_WORDS];
    uint64_t window_begin; /* clusters */
    uint64_t window_end;
    uint64_t behind;       /* the first behind it that is referred to */
    uint64_t compared_end; /* those before are compared */
    uint64_t file_clusters;
    bool first_window;
    bool broken; /* a reference cannot be trusted: counts say nothing */
    struct ds_window l1;
    struct ds_window l2;
};

/** One entry of the active tables that says whether its count is one. */
typedef int qcow2_copied_fn(struct qcow2_counting *counting, const char *what,
                            uint64_t raw, uint64_t at_bytes,
                            uint64_t host_offset_bytes, struct ds_error *err);

void qcow2_count_range(struct qcow2_counting *counting, uint64_t offset_bytes,
                       uint64_t length_bytes);
int qcow2_report(struct qcow2_counting *counting, bool is_leak,
                 uint64_t offset_bytes, const char *message,
                 struct ds_error *err);

/** Count all references of the image that fall into the window. What must
 * not be followed is reported in the first window and makes `broken`. */
int qcow2_count_references(struct qcow2_counting *counting,
                           struct ds_error *err);

/** Visit the entries of the active L1 and L2 tables that refer to something. */
int qcow2_visit_active(struct qcow2_counting *counting, qcow2_copied_fn *visit,
                       struct ds_error *err);

#endif
