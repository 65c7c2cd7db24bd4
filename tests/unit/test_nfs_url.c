/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nfs/remote.h"

static void test_url__parts(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    struct remote_url url;

    (void)state;
    assert_int_equal(remote_url_parse("nfs://h/a/b/c.vmdk", &url, &err), 0);
    assert_string_equal(url.host, "h");
    assert_string_equal(url.directory, "/a/b");
    assert_string_equal(url.name, "c.vmdk");
    assert_string_equal(url.plain, "nfs://h/a/b/c.vmdk");
    assert_false(url.has_settings);
    assert_int_equal(url.settings.port, 0);
    remote_url_free(&url);

    assert_int_equal(
        remote_url_parse("nfs://[fe80::1]:99/x?uid=7&mountport=5", &url, &err),
        0);
    assert_string_equal(url.host, "fe80::1");
    assert_string_equal(url.directory, "/");
    assert_string_equal(url.name, "x");
    assert_string_equal(url.plain, "nfs://[fe80::1]:99/x");
    assert_true(url.has_settings);
    assert_int_equal(url.settings.port, 99);
    assert_int_equal(url.settings.mount_port, 5);
    assert_int_equal(url.settings.user.uid, 7);
    remote_url_free(&url);

    assert_int_equal(
        remote_url_parse(
            "nfs://h/d/"
            "?nfs42=0&version=3&patience=2&slots=3&pieces=9&lanes=4",
            &url, &err),
        0);
    assert_string_equal(url.name, "");
    assert_true(url.settings.no_nfs42);
    assert_int_equal(url.settings.patience_ms, 2000);
    assert_int_equal(url.settings.slot_count, 3);
    assert_int_equal(url.settings.piece_count, 9);
    assert_int_equal(url.settings.lane_count, 4);
    remote_url_free(&url);
}

static void test_url__refused(void **state)
{
    static const char *const wrong[] = {
        "http://h/x",
        "nfs://",
        "nfs://h",
        "nfs://h?uid=0",
        "nfs:///x",
        "nfs://h:/x",
        "nfs://h:65536/x",
        "nfs://h:12a/x",
        "nfs://[::1/x",
        "nfs://[::1]2/x",
        "nfs://h/../x",
        "nfs://h/a/./x",
        "nfs://h/a/..",
        "nfs://h/x?version=4",
        "nfs://h/x?uid",
        "nfs://h/x?uid=",
        "nfs://h/x?uid=-1",
        "nfs://h/x?nfsport=70000",
        "nfs://h/x?unknown=1",
        "nfs://h/x?timeout=0",
        "nfs://h/x?uid=99999999999999999999",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct ds_error err = DS_ERROR_INIT;
        struct remote_url url;

        if (remote_url_parse(wrong[i], &url, &err) == 0)
            fail_msg("accepted %s", wrong[i]);
        assert_int_equal(err.error_class, DS_ERR_ARG);
        assert_non_null(strstr(err.message, "nfs: path: "));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url__parts),
        cmocka_unit_test(test_url__refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
