/* SPDX-License-Identifier: Apache-2.0 */
/* The table of calls, summed up over servers. */
#include "remote.h"

static const char *const nfs3_names[NFS3_CALL_COUNT] = {
#define NAME(upper, lower) #upper,
    NFS3_PROCEDURES(NAME)
#undef NAME
};

static void add(struct nfs_count *sum, const struct nfs_count *count)
{
    sum->round_trips += count->round_trips;
    sum->operations += count->operations;
    sum->sent_bytes += count->sent_bytes;
    sum->received_bytes += count->received_bytes;
}

static void tell(ds_traffic_fn *each, void *user, const char *protocol,
                 const char *procedure, const struct nfs_count *count)
{
    const struct ds_traffic row = {
        .protocol = protocol,
        .procedure = procedure,
        .round_trips = count->round_trips,
        .operations = count->operations,
        .sent_bytes = count->sent_bytes,
        .received_bytes = count->received_bytes,
    };

    if (count->round_trips > 0)
        each(user, &row);
}

void remote_traffic(ds_traffic_fn *each, void *user)
{
    struct nfs_count portmap = { 0 }, mount = { 0 };
    struct nfs_count nfs3[NFS3_CALL_COUNT] = { 0 };
    struct nfs_count nfs42[NFS42_OP_COUNT] = { 0 };

    for (const struct remote_server *server = remote_servers(); server != NULL;
         server = server->next) {
        add(&portmap, &server->nfs3->portmap_count);
        add(&mount, &server->nfs3->mount_count);
        for (size_t i = 0; i < NFS3_CALL_COUNT; i++)
            add(&nfs3[i], &server->nfs3->counts[i]);
        for (size_t i = 0; i < NFS42_OP_COUNT; i++)
            add(&nfs42[i], &server->counts42[i]);
    }
    tell(each, user, "portmap", "GETPORT", &portmap);
    tell(each, user, "MOUNT", "MNT", &mount);
    for (size_t i = 0; i < NFS3_CALL_COUNT; i++)
        tell(each, user, "NFSv3", nfs3_names[i], &nfs3[i]);
    for (size_t i = 0; i < NFS42_OP_COUNT; i++)
        tell(each, user, "NFSv4.2", nfs42_purpose_name((enum nfs42_op)i),
             &nfs42[i]);
}
