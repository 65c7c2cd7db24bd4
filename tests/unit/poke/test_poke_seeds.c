/* SPDX-License-Identifier: Apache-2.0 */
/* Images of every form, by qemu-img and by us (tests/fuzz/seeds), cut off at
 * every sector of their records and at random elsewhere. */
#include "poke.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEED_BYTES_MAX ((size_t)1 << 20)

static char seed_path[1024];

static void make(struct fuzz_case *fuzz)
{
    uint8_t *bytes = malloc(SEED_BYTES_MAX);
    FILE *file = fopen(seed_path, "rb");
    size_t length;

    assert_non_null(bytes);
    assert_non_null(file);
    length = fread(bytes, 1, SEED_BYTES_MAX, file);
    (void)fclose(file);
    fuzz_case_parse(fuzz, bytes, length);
    fuzz_case_repair(fuzz);
    poke_own(bytes);
}

/* Lines that are missing from a text nobody misses; raw disks and what decodes
 * to nothing (key material and units are cut from seeds) say nothing either. */
static bool is_left_out(const char *name)
{
    static const char *const names[] = { "found-",     "custom", "luks",
                                         "compressed", "beside", "backed" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strncmp(name, names[i], strlen(names[i])) == 0)
            return true;
    return name[0] == '.';
}

static void cut_seeds(const char *format)
{
    char directory[512];
    unsigned count = 0;
    struct dirent *entry;
    DIR *seeds;

    (void)snprintf(directory, sizeof(directory), "%s/tests/fuzz/corpus/%s",
                   DS_SOURCE_DIR, format);
    seeds = opendir(directory);
    assert_non_null(seeds);
    while ((entry = readdir(seeds)) != NULL) {
        const struct poke_sample sample = { .name = entry->d_name,
                                            .format = format,
                                            .make = make,
                                            .is_lines = true };

        if (is_left_out(entry->d_name))
            continue;
        (void)snprintf(seed_path, sizeof(seed_path), "%s/%s", directory,
                       entry->d_name);
        poke_truncate(&sample);
        count++;
    }
    (void)closedir(seeds);
    assert_true(count > 0);
}

#define TEST_OF(format)                                                        \
    static void test_poke_seeds__##format(void **state)                        \
    {                                                                          \
        (void)state;                                                           \
        cut_seeds(#format);                                                    \
    }
TEST_OF(vmdk)
TEST_OF(vhd)
TEST_OF(vhdx)
TEST_OF(qcow2)
TEST_OF(vdi)
TEST_OF(ova)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poke_seeds__vmdk),
        cmocka_unit_test(test_poke_seeds__vhd),
        cmocka_unit_test(test_poke_seeds__vhdx),
        cmocka_unit_test(test_poke_seeds__qcow2),
        cmocka_unit_test(test_poke_seeds__vdi),
        cmocka_unit_test(test_poke_seeds__ova),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
