/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmware_lock.h"

/* The examples of Broadcom KB 340515 and of unit/test_local_open.c. */
static void test_vmware_lock__id_is_written_lowest_byte_first(void **state)
{
    struct vmware_locks locks = { .count = 0 };

    (void)state;
    vmware_locks_see(&locks, ".lck-e003090001000000");
    vmware_locks_see(&locks, ".lck-3409000000000000");
    assert_int_equal(locks.count, 2);
    assert_int_equal(locks.list[0].file_id, 4295558112);
    assert_int_equal(locks.list[1].file_id, 0x934);
}

static void test_vmware_lock__other_names_are_none(void **state)
{
    static const char *const names[] = {
        ".lck",
        ".lck-",
        ".lck-34g9000000000000",
        ".lck-34090000000000000",
        "lck-3409000000000000",
        "a.vmdk.lck",
        "",
    };
    struct vmware_locks locks = { .count = 0 };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        vmware_locks_see(&locks, names[i]);
    assert_int_equal(locks.count, 0);
    assert_null(vmware_locks_find(&locks, 5));
}

static void test_vmware_lock__ours_anothers_and_nobodys(void **state)
{
    struct vmware_locks locks = { .count = 0 };

    (void)state;
    vmware_locks_see(&locks, ".lck-0500000000000000");
    vmware_locks_see(&locks, ".lck-0600000000000000");
    vmware_locks_know(&locks, 5);
    vmware_locks_know(&locks, 6);
    vmware_locks_know(&locks, 7);
    assert_string_equal(vmware_locks_find(&locks, 6)->name,
                        ".lck-0600000000000000");
    assert_null(vmware_locks_find(&locks, 7));
    vmware_locks_see(&locks, ".lck-0900000000000000");
    assert_string_equal(vmware_locks_find(&locks, 7)->name,
                        ".lck-0900000000000000");
}

static void test_vmware_lock__too_many_are_taken_for_ours(void **state)
{
    struct vmware_locks locks = { .count = 0 };
    char name[32];

    (void)state;
    for (unsigned i = 0; i <= VMWARE_LOCK_COUNT_MAX; i++) {
        snprintf(name, sizeof(name), ".lck-%02x00000000000000", i);
        vmware_locks_see(&locks, name);
        vmware_locks_know(&locks, i);
    }
    assert_non_null(vmware_locks_find(&locks, 12345));
}

static void test_vmware_lock__holder_is_the_longest_text(void **state)
{
    static const uint8_t esx[] = "\1\2ab\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0"
                                 "esx.vmware.com\0\0\0\0x";
    uint8_t noise[VMWARE_HEAD_BYTES];
    char holder[VMWARE_HOLDER_BYTES];

    (void)state;
    vmware_holder(esx, sizeof(esx), holder);
    assert_string_equal(holder, "esx.vmware.com");
    vmware_holder(esx, 6, holder);
    assert_string_equal(holder, "");
    vmware_holder(NULL, 0, holder);
    assert_string_equal(holder, "");
    memset(noise, 'x', sizeof(noise));
    vmware_holder(noise, sizeof(noise), holder);
    assert_int_equal(strlen(holder), VMWARE_HOLDER_BYTES - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vmware_lock__id_is_written_lowest_byte_first),
        cmocka_unit_test(test_vmware_lock__other_names_are_none),
        cmocka_unit_test(test_vmware_lock__ours_anothers_and_nobodys),
        cmocka_unit_test(test_vmware_lock__too_many_are_taken_for_ours),
        cmocka_unit_test(test_vmware_lock__holder_is_the_longest_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
