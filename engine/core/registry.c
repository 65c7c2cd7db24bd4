/* SPDX-License-Identifier: Apache-2.0 */
#include "registry.h"

#include <string.h>
#include <strings.h>

#include "arith.h"
#include "clone_via.h"
#include "fail.h"

extern const struct ds_format_ops vmdk_format_ops;
extern const struct ds_format_ops vhd_format_ops;
extern const struct ds_format_ops vhdx_format_ops;
extern const struct ds_format_ops qcow2_format_ops;
extern const struct ds_format_ops vdi_format_ops;
extern const struct ds_format_ops ova_format_ops;
extern const struct ds_format_ops raw_format_ops;
extern const struct ds_store_ops local_store_ops;
#ifdef DS_NFS
extern const struct ds_store_ops remote_store_ops;
#endif
#ifdef DS_ONTAP
extern const struct ds_clone_via_ops ontap_clone_via_ops;
#endif

static const struct ds_format_ops *const formats[] = {
    &vmdk_format_ops, &vhd_format_ops, &vhdx_format_ops, &qcow2_format_ops,
    &vdi_format_ops,  &ova_format_ops, &raw_format_ops,  NULL,
};

const struct ds_format_ops *ds_registry_format_at(size_t index)
{
    size_t count = sizeof(formats) / sizeof(formats[0]) - 1;

    return index < count ? formats[index] : NULL;
}

const struct ds_format_ops *ds_registry_format(const char *name)
{
    for (size_t i = 0; formats[i] != NULL; i++)
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    return NULL;
}

const struct ds_store_ops *ds_registry_store(const char *path)
{
    if (strncmp(path, "nfs://", 6) == 0)
#ifdef DS_NFS
        return &remote_store_ops;
#else
        return NULL;
#endif
    return &local_store_ops;
}

void ds_traffic_each(ds_traffic_fn *each, void *user)
{
    static const struct ds_store_ops *const stores[] = {
        &local_store_ops,
#ifdef DS_NFS
        &remote_store_ops,
#endif
    };

    for (size_t i = 0; i < sizeof(stores) / sizeof(stores[0]); i++)
        if (stores[i]->traffic != NULL)
            stores[i]->traffic(each, user);
}

static const struct ds_clone_via_ops *const arrays[] = {
#ifdef DS_ONTAP
    &ontap_clone_via_ops,
#endif
    NULL,
};

int ds_clone_via_open(const struct ds_clone_via_options *options,
                      struct ds_clone_via **out, struct ds_error *err)
{
    for (size_t i = 0; arrays[i] != NULL; i++)
        if (strcmp(arrays[i]->name, options->name) == 0)
            return arrays[i]->open(options, out, err);
    return ds_fail(err, DS_ERR_ARG,
                   "clone-via: have %.100s expect a kind of storage array "
                   "that this build knows%s",
                   options->name,
                   arrays[0] != NULL ? ": ontap" : "; it knows none");
}

void ds_clone_via_close(struct ds_clone_via *via)
{
    if (via != NULL)
        via->ops->close(via);
}

int ds_storage_describe(const char *path, bool probe, struct ds_storage *out,
                        struct ds_error *err)
{
    const struct ds_store_ops *store = ds_registry_store(path);

    *out = (struct ds_storage){ 0 };
    if (store == NULL || store->describe == NULL)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "%.300s: built without paths of this kind", path);
    out->store = store->name;
    return store->describe(path, probe, out, err);
}

static int probe_read(struct ds_file *file, struct ds_probe *probe,
                      struct ds_error *err)
{
    uint64_t size = file->size_bytes;
    int result;

    probe->file = file;
    probe->head_bytes = (size_t)ds_min_u64(size, sizeof(probe->head));
    probe->tail_bytes = (size_t)ds_min_u64(size, sizeof(probe->tail));
    result = ds_file_read(file, 0, probe->head, probe->head_bytes, err);
    if (result == 0)
        result = ds_file_read(file, size - probe->tail_bytes, probe->tail,
                              probe->tail_bytes, err);
    return result;
}

/* A guest can write any bytes into its raw disk. When the name says that the
 * file is raw, an image header inside is not believed without being told. */
static bool name_says_raw(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot != NULL && strcasecmp(dot, ".raw") == 0;
}

int ds_registry_looks_like(struct ds_file *file,
                           const struct ds_format_ops **out,
                           struct ds_error *err)
{
    struct ds_probe probe = { 0 };
    int result = probe_read(file, &probe, err);

    *out = NULL;
    for (size_t i = 0; result == 0 && *out == NULL && formats[i] != NULL; i++)
        if (formats[i]->probe(&probe))
            *out = formats[i];
    return result;
}

int ds_registry_probe(struct ds_file *file, const struct ds_format_ops **out,
                      struct ds_error *err)
{
    struct ds_probe probe = { 0 };
    const struct ds_format_ops *found = NULL;
    int result = probe_read(file, &probe, err);

    if (result != 0)
        return result;
    for (size_t i = 0; formats[i] != NULL; i++) {
        if (!formats[i]->probe(&probe))
            continue;
        if (found != NULL)
            return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_REFUSED,
                              "probe: fits both %s and %s; name the format",
                              found->name, formats[i]->name);
        found = formats[i];
    }
    if (found != NULL && name_says_raw(file->path))
        return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "probe: its name says raw and its content %s; name "
                          "the format",
                          found->name);
    *out = found != NULL ? found : &raw_format_ops;
    return 0;
}
