/* SPDX-License-Identifier: Apache-2.0 */
/* Prompts: the longer begins with the shorter, two texts differ at once, nothing repeats for long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "probe/probe.h"

static void longer_begins_with_shorter(void **state)
{
    (void)state;
    o3_buf small = O3_BUF(1 << 20), large = O3_BUF(1 << 20);
    for (size_t chars = 1; chars < 40000; chars = chars * 3 / 2 + 7) {
        probe_text(&small, 7, chars);
        probe_text(&large, 7, chars * 2);
        assert_in_range(small.len, chars > 40 ? chars - 40 : 0, chars);
        assert_memory_equal(small.data, large.data, small.len);
    }
    o3_buf_release(&small);
    o3_buf_release(&large);
}

static void texts_differ_from_the_start(void **state)
{
    (void)state;
    o3_buf texts[2] = {O3_BUF(1 << 16), O3_BUF(1 << 16)};
    for (uint64_t seed = 0; seed < 500; seed++) {
        probe_text(&texts[0], seed, 200);
        probe_text(&texts[1], seed + 1, 200);
        size_t same = 0;
        while (same < 200 && texts[0].data[same] == texts[1].data[same])
            same++;
        assert_true(same < 4);
    }
    o3_buf_release(&texts[0]);
    o3_buf_release(&texts[1]);
}

/* The server's guard ends an answer after 30 equal chunks; the prompt must give no such example. */
static void no_sentence_twice_in_a_row(void **state)
{
    (void)state;
    o3_buf text = O3_BUF(4 << 20);
    probe_text(&text, 3, 1000000);
    const char *previous = "", *end = text.data + text.len;
    size_t previous_len = 0;
    int sentences = 0, twice = 0;
    for (const char *p = text.data; p < end;) {
        size_t len = strcspn(p, ".?");
        twice += len == previous_len && !memcmp(p, previous, len);
        previous = p;
        previous_len = len;
        p += len + 1;
        sentences++;
    }
    assert_true(sentences > 5000);
    assert_int_equal(twice, 0);
    o3_buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(longer_begins_with_shorter),
                                       cmocka_unit_test(texts_differ_from_the_start),
                                       cmocka_unit_test(no_sentence_twice_in_a_row)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
