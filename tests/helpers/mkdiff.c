/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes one layer of a chain of VHD or VHDX files:
 *
 *     mkdiff vhd|vhdx SIZE SEED IMAGE MODEL [OPTION...]
 *
 * MODEL is a raw file with what the parent's guest reads; it becomes what this
 * layer's guest reads (made of zeros when it is not there). The same arguments
 * make the same layer. Options:
 *
 *     parent=SEED:NAME   the layer is a child of NAME, made with SEED
 *     block=BYTES        2097152
 *     grain=BYTES        of runs in partial blocks, a multiple of 512; 4096
 *     sector=512|4096    VHDX
 *     unaligned          VHD: blocks 512 bytes off the page, as old writers do
 */
#include "../unit/diff_vhdx.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static int usage(void)
{
    fprintf(stderr, "usage: mkdiff vhd|vhdx SIZE SEED IMAGE MODEL "
                    "[parent=SEED:NAME] [block=BYTES] [grain=BYTES] "
                    "[sector=BYTES] [unaligned]\n");
    return 2;
}

static int take_option(struct diff_spec *spec, char *text)
{
    char *value = strchr(text, '=');

    if (strcmp(text, "unaligned") == 0) {
        spec->unaligned = true;
        return 0;
    }
    if (value == NULL)
        return 2;
    *value++ = '\0';
    if (strcmp(text, "parent") == 0) {
        char *end;

        spec->parent_seed = strtoull(value, &end, 10);
        spec->parent_name = end + 1;
        return *end == ':' && spec->parent_seed != 0 ? 0 : 2;
    }
    if (strcmp(text, "block") == 0)
        spec->block_bytes = strtoull(value, NULL, 10);
    else if (strcmp(text, "grain") == 0)
        spec->grain_bytes = strtoull(value, NULL, 10);
    else if (strcmp(text, "sector") == 0)
        spec->sector_bytes = (uint32_t)strtoul(value, NULL, 10);
    else
        return 2;
    return 0;
}

int main(int argc, char **argv)
{
    struct diff_spec spec = { .block_bytes = 2097152 };
    uint8_t *model;
    int fd;

    if (argc < 6)
        return usage();
    spec.size_bytes = strtoull(argv[2], NULL, 10);
    spec.seed = strtoull(argv[3], NULL, 10);
    for (int i = 6; i < argc; i++)
        if (take_option(&spec, argv[i]) != 0)
            return usage();
    if (spec.size_bytes == 0 || spec.size_bytes % 512 != 0 || spec.seed == 0)
        return usage();
    fd = open(argv[5], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, (off_t)spec.size_bytes) != 0)
        diff_fail(argv[5]);
    model =
        mmap(NULL, spec.size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (model == MAP_FAILED)
        diff_fail(argv[5]);
    if (strcmp(argv[1], "vhd") == 0)
        diff_vhd_make(argv[4], &spec, model);
    else if (strcmp(argv[1], "vhdx") == 0)
        diff_vhdx_make(argv[4], &spec, model);
    else
        return usage();
    if (munmap(model, spec.size_bytes) != 0 || close(fd) != 0)
        diff_fail(argv[5]);
    return 0;
}
