/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>

#include "base/base.h"

static void units(void **state)
{
    static const struct { const char *text; double seconds; } durations[] = {
        {"90", 90}, {"90s", 90}, {"15m", 900}, {"1h30m", 5400}, {"0.5h", 1800}, {"", -1}, {"m", -1}, {"1x", -1}, {"-5", -1},
        {"1h30", 3630},
    };
    static const struct { const char *text; int64_t bytes; } sizes[] = {
        {"4096", 4096}, {"320M", 320 << 20}, {"1.5GiB", INT64_C(1610612736)}, {"2k", 2048}, {"", -1}, {"1Q", -1}, {"5Mx", -1},
    };
    char text[32];
    (void)state;
    for (int i = 0; i < O3_COUNT(durations); i++) {
        double seconds = -1;
        if (!o3_parse_duration(durations[i].text, &seconds))
            seconds = -1;
        if (fabs(seconds - durations[i].seconds) > 1e-9)
            fail_msg("'%s' is %g s", durations[i].text, seconds);
    }
    for (int i = 0; i < O3_COUNT(sizes); i++) {
        int64_t bytes = -1;
        if (!o3_parse_bytes(sizes[i].text, &bytes))
            bytes = -1;
        assert_int_equal(bytes, sizes[i].bytes);
    }
    o3_fmt_bytes(text, sizeof(text), NAN);
    assert_string_equal(text, "unknown");
    o3_fmt_bytes(text, sizeof(text), 320.0 * 1048576);
    assert_string_equal(text, "320 MiB");
    o3_fmt_duration(text, sizeof(text), 401);
    assert_string_equal(text, "6 min 41 s");
}

static void a_buffer_never_passes_its_maximum(void **state)
{
    (void)state;
    o3_buf buf = O3_BUF(10);
    o3_buf_str(&buf, "12345678");
    assert_false(buf.overflow);
    o3_buf_str(&buf, "abc");
    assert_true(buf.overflow);
    assert_int_equal(buf.len, 10);
    o3_buf_release(&buf);
    assert_string_equal(o3_buf_text(&buf), "");
}

static void cancel_reasons(void **state)
{
    (void)state;
    o3_cancel *cancel = o3_cancel_new();
    struct pollfd p = {.fd = o3_cancel_fd(cancel), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    o3_cancel_set(cancel, O3_CANCEL_SAFETY);
    assert_int_equal(o3_cancel_get(cancel), O3_CANCEL_SAFETY);
    assert_int_equal(poll(&p, 1, 0), 1);
    o3_cancel_set(cancel, O3_CANCEL_USER); /* the user's wish outranks a stop that the run would survive */
    assert_int_equal(o3_cancel_get(cancel), O3_CANCEL_USER);
    o3_cancel_clear(cancel, O3_CANCEL_SAFETY);
    assert_int_equal(o3_cancel_get(cancel), O3_CANCEL_USER);
    o3_cancel_clear(cancel, O3_CANCEL_USER);
    assert_int_equal(o3_cancel_get(cancel), O3_CANCEL_NONE);
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(o3_cancel_get(NULL), O3_CANCEL_NONE);
    o3_cancel_free(cancel);
}

static void suggestions(void **state)
{
    static const char *const names[] = {"smollm2:135m", "gemma3:270m", "optimize"};
    (void)state;
    assert_string_equal(o3_nearest("smollm:135m", names, 3), "smollm2:135m");
    assert_string_equal(o3_nearest("optimise", names, 3), "optimize");
    assert_null(o3_nearest("xyz", names, 3));
    assert_null(o3_nearest("", names, 3));
}

static void random_streams(void **state)
{
    o3_rng a, b, c;
    double sum = 0;
    (void)state;
    o3_rng_seed(&a, 1, 2);
    o3_rng_seed(&b, 1, 2);
    o3_rng_seed(&c, 1, 3);
    uint64_t first = o3_rng_u64(&a);
    assert_true(first == o3_rng_u64(&b));
    assert_true(first != o3_rng_u64(&c));
    for (int i = 0; i < 100000; i++) {
        double x = o3_rng_unit(&a);
        assert_true(x >= 0 && x < 1);
        sum += x;
        assert_true(o3_rng_below(&b, 7) < 7);
    }
    assert_true(fabs(sum / 100000 - 0.5) < 0.005);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units), cmocka_unit_test(a_buffer_never_passes_its_maximum), cmocka_unit_test(cancel_reasons),
        cmocka_unit_test(suggestions), cmocka_unit_test(random_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
