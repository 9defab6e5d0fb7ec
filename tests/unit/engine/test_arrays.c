/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary cut out of a verbose answer: the same text wherever the network splits it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine/engine_impl.h"

static const struct {
    const char *in, *out;
} cases[] = {
    {"{}", "{}"},
    {"", ""},
    {"{\"a\":[1,2],\"tokenizer.ggml.tokens\":[\"a\",\"b\"],\"b\":3}", "{\"a\":[1,2],\"tokenizer.ggml.tokens\":null,\"b\":3}"},
    {"{\"tokenizer.x\" : \t\n [ ] , \"tokenizer.y\":5}", "{\"tokenizer.x\" : \t\n null , \"tokenizer.y\":5}"},
    /* brackets, quotes and escapes inside of what is cut */
    {"{\"tokenizer.t\":[\"]\",\"[\",\"\\\"]\",\"\\\\\",[[\"]\"],{\"k\":[1]}],\"\\\\\\\"\"]}", "{\"tokenizer.t\":null}"},
    /* and of what stays */
    {"{\"m\":\"\\\"tokenizer.t\\\":[1,2]\",\"n\":[\"tokenizer.\",[2]]}",
     "{\"m\":\"\\\"tokenizer.t\\\":[1,2]\",\"n\":[\"tokenizer.\",[2]]}"},
    {"{\"m\":\"a\\\\\",\"tokenizer.t\":[1]}", "{\"m\":\"a\\\\\",\"tokenizer.t\":null}"},
    /* only this beginning, only arrays */
    {"{\"tokenize\":[1],\"xtokenizer.a\":[2],\"tokenizer\":[3],\"Tokenizer.a\":[4]}",
     "{\"tokenize\":[1],\"xtokenizer.a\":[2],\"tokenizer\":[3],\"Tokenizer.a\":[4]}"},
    {"{\"tokenizer.a\":{\"b\":[1]},\"tokenizer.c\":\"[\",\"tokenizer.d\":null,\"e\":[5]}",
     "{\"tokenizer.a\":{\"b\":[1]},\"tokenizer.c\":\"[\",\"tokenizer.d\":null,\"e\":[5]}"},
    {"{\"o\":{\"tokenizer.a\":[[],[[]]],\"p\":[\"\\u005d\"]},\"tokenizer.b\":[0]}",
     "{\"o\":{\"tokenizer.a\":null,\"p\":[\"\\u005d\"]},\"tokenizer.b\":null}"},
    {"{\"tok\\u0065nizer.a\":[1]}", "{\"tok\\u0065nizer.a\":[1]}"}, /* never written like this; stays */
    {"{\"tokenizer.a\":[1,2", "{\"tokenizer.a\":null"}, /* broken off; the parser says so */
};

static void compare(int number, size_t split, const o3_buf *got)
{
    if (strcmp(o3_buf_text(got), cases[number].out))
        fail_msg("case %d split at %zu: %s", number, split, o3_buf_text(got));
}

static void any_split_gives_the_same(void **state)
{
    (void)state;
    for (int c = 0; c < O3_COUNT(cases); c++) {
        size_t len = strlen(cases[c].in);
        for (size_t split = 0; split <= len; split++) {
            arrays_filter f = arrays_filter_new(1000);
            assert_true(arrays_filter_add(&f, cases[c].in, split));
            assert_true(arrays_filter_add(&f, cases[c].in + split, len - split));
            compare(c, split, &f.out);
            o3_buf_release(&f.out);
        }
        arrays_filter f = arrays_filter_new(1000); /* a byte at a time */
        for (size_t i = 0; i < len; i++)
            assert_true(arrays_filter_add(&f, cases[c].in + i, 1));
        compare(c, 1, &f.out);
        o3_buf_release(&f.out);
    }
}

static void what_passes_is_bounded_and_what_is_cut_is_not(void **state)
{
    (void)state;
    arrays_filter f = arrays_filter_new(64);
    assert_true(arrays_filter_add(&f, "{\"tokenizer.a\":[0", 17));
    for (int i = 0; i < 10000; i++)
        assert_true(arrays_filter_add(&f, ",[\"]\"]", 6));
    assert_true(arrays_filter_add(&f, "],\"b\":", 6));
    assert_string_equal(o3_buf_text(&f.out), "{\"tokenizer.a\":null,\"b\":");
    bool fits = true;
    for (int i = 0; i < 20 && fits; i++)
        fits = arrays_filter_add(&f, "[1],", 4);
    assert_false(fits);
    assert_true(f.out.len <= 64);
    o3_buf_release(&f.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_split_gives_the_same),
        cmocka_unit_test(what_passes_is_bounded_and_what_is_cut_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
