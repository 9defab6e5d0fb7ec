/* SPDX-License-Identifier: Apache-2.0 */
/* GGUF headers: what is read of a sound one, and what is said of each kind of a bad one. All files are made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "gguf_builder.h"
#include "o3/model.h"

static char folder[64];

static const char *path_of(const char *name)
{
    static char path[128];
    O3_FORMAT(path, "%s/%s", folder, name);
    return path;
}

static json_t *read_sound(const char *path, int64_t *ret_bytes)
{
    json_t *show = NULL;
    o3_err err = {0};
    if (o3_gguf_read(path, &show, ret_bytes, &err))
        fail_msg("%s", err.message);
    return show;
}

/* Reading must fail with these words; the builder is used up. */
static void refused_with(const char *path, o3_status status, const char *words)
{
    json_t *show = NULL;
    int64_t bytes;
    o3_err err = {0};
    o3_status got = o3_gguf_read(path, &show, &bytes, &err);
    if (got != status || !strstr(err.message, words))
        fail_msg("status %d, '%s'; wanted %d, '%s'", got, err.message, status, words);
    if (strchr(err.message, '\n') || show)
        fail_msg("not one line, or an answer beside the error: %s", err.message);
}

static void refused(gguf_builder *g, const char *words)
{
    gg_write(g, path_of("bad.gguf"));
    refused_with(path_of("bad.gguf"), O3_E_PROTOCOL, words);
}

static void raw_refused(const void *bytes, size_t len, const char *words)
{
    FILE *out = fopen(path_of("raw.gguf"), "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, len, out), len);
    fclose(out);
    refused_with(path_of("raw.gguf"), O3_E_PROTOCOL, words);
}

static void sound_file(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        gguf_builder g = gg_llama();
        int64_t data = g.data_bytes, bytes = -1;
        static const int32_t few[] = {1, -2, 3};
        g.version = version;
        gg_numbers(&g, "llama.list", few, 3);
        gg_array(&g, "tokenizer.ggml.tokens", GG_STRING, 3);
        for (int i = 0; i < 3; i++)
            gg_text(&g.keys, "a token");
        gg_key(&g, "llama.big", GG_U64);
        gg_u64(&g.keys, UINT64_MAX);
        gg_key(&g, "llama.nan", GG_F32);
        gg_u32(&g.keys, 0x7fc00000);
        gg_write(&g, path_of("good.gguf"));
        json_t *show = read_sound(path_of("good.gguf"), &bytes);
        json_t *info = json_object_get(show, "model_info"), *list = json_object_get(info, "llama.list");
        assert_int_equal(json_array_size(list), 3);
        assert_int_equal(json_integer_value(json_array_get(list, 1)), -2);
        assert_true(json_is_null(json_object_get(info, "tokenizer.ggml.tokens")));
        assert_true(json_is_real(json_object_get(info, "llama.big")));
        assert_true(json_is_null(json_object_get(info, "llama.nan")));
        assert_int_equal(json_integer_value(json_object_get(info, "general.parameter_count")) * 4, data);
        assert_int_equal(json_array_size(json_object_get(show, "tensors")), 12);
        assert_true(bytes > data);
        o3_auto(free) o3_model *m = o3_alloc(1, sizeof(*m));
        assert_int_equal(o3_model_parse(m, "m", show, NULL, NULL), O3_OK);
        assert_string_equal(m->quantization, "F32");
        assert_string_equal(m->blob_path, path_of("good.gguf"));
        assert_int_equal(m->weight_bytes, data);
        assert_int_equal(m->vocab, 100);
        assert_true(m->kv_exact);
        assert_int_equal(m->notes.count, 0);
        json_decref(show);
    }
}

static void only_short_number_arrays_stay(void **state)
{
    (void)state;
    int64_t bytes;
    static int32_t many[O3_LAYERS_MAX + 1];
    gguf_builder g = gg_llama();
    gg_numbers(&g, "llama.most", many, O3_LAYERS_MAX);
    gg_numbers(&g, "llama.more", many, O3_LAYERS_MAX + 1);
    gg_array(&g, "llama.truths", GG_BOOL, 2);
    o3_buf_add(&g.keys, "\1\0", 2);
    gg_write(&g, path_of("arrays.gguf"));
    json_t *show = read_sound(path_of("arrays.gguf"), &bytes), *info = json_object_get(show, "model_info");
    assert_int_equal(json_array_size(json_object_get(info, "llama.most")), O3_LAYERS_MAX);
    assert_true(json_is_null(json_object_get(info, "llama.more")));
    assert_true(json_is_true(json_array_get(json_object_get(info, "llama.truths"), 0)));
    assert_true(json_is_false(json_array_get(json_object_get(info, "llama.truths"), 1)));
    json_decref(show);
}

static void not_a_gguf(void **state)
{
    (void)state;
    raw_refused("", 0, "0 bytes");
    raw_refused("GG", 2, "2 bytes");
    raw_refused("<html>404</html>", 16, "does not begin with GGUF");
    raw_refused("GGUF\0\0\0\3\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1", 24, "big-endian");
    raw_refused("GGUF\1\0\0\0\1\0\0\0\1\0\0\0", 16, "version 1");
    raw_refused("GGUF\7\0\0\0\1\0\0\0\1\0\0\0", 16, "version 7");
    raw_refused("GGUF\3\0\0\0\1\0\0\0\0\0\0\0", 16, "in the middle of its header");
    refused_with(path_of("absent.gguf"), O3_E_NOT_FOUND, "absent.gguf");
    refused_with(folder, O3_E_IO, "no regular file");
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    refused_with(path_of("pipe"), O3_E_IO, "no regular file");
}

static void lies_about_lengths(void **state)
{
    (void)state;
    gguf_builder g = gg_llama();
    g.key_count = UINT64_C(1) << 63;
    refused(&g, "keys");
    g = gg_llama();
    g.tensor_count = UINT64_C(1) << 63;
    refused(&g, "tensors");
    g = gg_llama();
    g.data_bytes = 10 << 20;
    g.key_count = 20000;
    refused(&g, "20000 keys");
    g = gg_llama();
    gg_array(&g, "tokenizer.ggml.tokens", GG_STRING, UINT64_C(1) << 63);
    refused(&g, "texts");
    g = gg_llama();
    gg_array(&g, "llama.list", GG_U64, (UINT64_C(1) << 61) + 1); /* 8 of each would overflow to 8 */
    refused(&g, "values");
    g = gg_llama();
    gg_key(&g, "llama.text", GG_STRING);
    gg_u64(&g.keys, INT64_MAX);
    refused(&g, "bytes");
    g = gg_llama();
    gg_array(&g, "tokenizer.ggml.tokens", GG_STRING, 2);
    gg_text(&g.keys, "a");
    gg_u64(&g.keys, UINT64_MAX);
    refused(&g, "bytes");
    g = gg_llama();
    gg_u64(&g.keys, UINT64_MAX); /* the length of a key's name */
    g.key_count++;
    refused(&g, "name");
}

static void nonsense_in_keys(void **state)
{
    (void)state;
    gguf_builder g = gg_llama();
    gg_array(&g, "llama.deep", GG_ARRAY, 1);
    for (int i = 0; i < 100000; i++) {
        gg_u32(&g.keys, GG_ARRAY);
        gg_u64(&g.keys, 1);
    }
    refused(&g, "array of arrays");
    g = gg_llama();
    gg_key(&g, "llama.what", 13);
    refused(&g, "unknown type 13 at key llama.what");
    g = gg_llama();
    gg_array(&g, "llama.what", 77, 1);
    refused(&g, "unknown values");
    g = gg_llama();
    gg_number(&g, "llama.block_count", 3);
    refused(&g, "llama.block_count twice");
    g = gg_llama();
    gg_number(&g, "llama.\n", 3);
    refused(&g, "no text");
    static const uint32_t alignments[] = {0, 3, 1u << 31};
    for (int i = 0; i < O3_COUNT(alignments); i++) {
        g = gg_llama();
        gg_number(&g, "general.alignment", alignments[i]);
        refused(&g, "alignment");
    }
}

static void nonsense_in_tensors(void **state)
{
    (void)state;
    gguf_builder g = gg_llama();
    gg_tensor(&g, "blk.0.x", UINT64_C(1) << 40, UINT64_C(1) << 40);
    g.data_bytes = 0;
    refused(&g, "shape beyond all memory");
    g = gg_llama();
    g.data_bytes = INT64_MAX - 31;
    gg_tensor(&g, "blk.0.x", 64, 0);
    g.data_bytes = 0;
    refused(&g, "beyond all files");
    g = gg_llama();
    gg_text(&g.tensors, "blk.0.x");
    gg_u32(&g.tensors, 4000000000u);
    o3_buf_add(&g.tensors, folder, 64);
    g.tensor_count++;
    refused(&g, "4000000000 dimensions");
    g = gg_llama();
    gg_text(&g.tensors, "blk.0.x");
    gg_u32(&g.tensors, 1);
    gg_u64(&g.tensors, 33);
    gg_u32(&g.tensors, 8); /* Q8_0 */
    gg_u64(&g.tensors, 0);
    g.tensor_count++;
    refused(&g, "rows of 33 values");
}

static void a_cut_download_says_what_is_missing(void **state)
{
    (void)state;
    gguf_builder g = gg_llama();
    g.data_bytes -= 1000;
    refused(&g, "1000 bytes");
    /* and wherever else it was cut: an error, never a crash or an answer */
    g = gg_llama();
    o3_buf file = gg_bytes(&g);
    for (size_t len = 0; len < file.len; len += 7) {
        FILE *out = fopen(path_of("cut.gguf"), "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(o3_buf_text(&file), 1, len, out), len);
        fclose(out);
        refused_with(path_of("cut.gguf"), O3_E_PROTOCOL, "download it again");
    }
    o3_buf_release(&file);
    o3_buf_release(&g.keys);
    o3_buf_release(&g.tensors);
}

static void an_unknown_tensor_type_is_no_error(void **state)
{
    (void)state;
    int64_t bytes;
    gguf_builder g = gg_llama();
    gg_text(&g.tensors, "blk.0.new.weight");
    gg_u32(&g.tensors, 1);
    gg_u64(&g.tensors, 64);
    gg_u32(&g.tensors, 999);
    gg_u64(&g.tensors, 0);
    g.tensor_count++;
    gg_write(&g, path_of("new.gguf"));
    json_t *show = read_sound(path_of("new.gguf"), &bytes);
    o3_auto(free) o3_model *m = o3_alloc(1, sizeof(*m));
    o3_engine_model entry = {.size_bytes = bytes};
    assert_int_equal(o3_model_parse(m, "m", show, &entry, NULL), O3_OK);
    assert_int_equal(m->weight_bytes, bytes);
    assert_true(m->notes.count > 0);
    json_decref(show);
}

static void write_part(int number, int count, int says_number)
{
    char name[64], tensor[32];
    gguf_builder g = number == 1 ? gg_llama() : gg_new();
    gg_key(&g, "split.no", GG_U16);
    o3_buf_add(&g.keys, &(uint16_t){htole16((uint16_t)(says_number - 1))}, 2);
    gg_key(&g, "split.count", GG_U16);
    o3_buf_add(&g.keys, &(uint16_t){htole16((uint16_t)count)}, 2);
    O3_FORMAT(tensor, "blk.1.part%d.weight", number);
    gg_tensor(&g, tensor, 64, 10);
    O3_FORMAT(name, "big-%05d-of-%05d.gguf", number, count);
    gg_write(&g, path_of(name));
}

static void split_files(void **state)
{
    (void)state;
    int64_t bytes, whole = 0;
    struct stat st;
    char first[128];
    O3_COPY(first, path_of("big-00001-of-00003.gguf"));
    write_part(1, 3, 1);
    write_part(3, 3, 3);
    refused_with(first, O3_E_NOT_FOUND, "big-00002-of-00003.gguf is missing");
    write_part(2, 3, 3);
    refused_with(first, O3_E_PROTOCOL, "not part 2 of 3");
    write_part(2, 3, 2);
    json_t *show = read_sound(first, &bytes);
    for (int i = 1; i <= 3; i++) {
        char name[64];
        O3_FORMAT(name, "big-%05d-of-00003.gguf", i);
        assert_int_equal(stat(path_of(name), &st), 0);
        whole += st.st_size;
    }
    assert_int_equal(bytes, whole);
    o3_auto(free) o3_model *m = o3_alloc(1, sizeof(*m));
    assert_int_equal(o3_model_parse(m, "m", show, NULL, NULL), O3_OK);
    assert_int_equal(m->layer[1].weight_bytes - m->layer[0].weight_bytes, 3 * 64 * 10 * 4);
    assert_int_equal(m->parameters * 4, m->weight_bytes);
    json_decref(show);
    refused_with(path_of("big-00002-of-00003.gguf"), O3_E_PROTOCOL, "name the first part");
    assert_int_equal(rename(first, path_of("renamed.gguf")), 0);
    refused_with(path_of("renamed.gguf"), O3_E_PROTOCOL, "-00001-of-00003.gguf");
}

/* 150,000 tokens and as many merges are stepped over without being kept. Processor time, because the machine may be
 * busy; 100 ms is ten times what it takes. */
static void vocabularies_cost_little(void **state)
{
    (void)state;
    int64_t bytes;
    char token[32];
    gguf_builder g = gg_llama();
    gg_array(&g, "tokenizer.ggml.tokens", GG_STRING, 150000);
    for (int i = 0; i < 150000; i++) {
        O3_FORMAT(token, "token-%d", i);
        gg_text(&g.keys, token);
    }
    gg_array(&g, "tokenizer.ggml.scores", GG_F32, 150000);
    for (int i = 0; i < 150000; i++)
        gg_u32(&g.keys, 0);
    gg_write(&g, path_of("vocabulary.gguf"));
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    json_t *show = read_sound(path_of("vocabulary.gguf"), &bytes);
    getrusage(RUSAGE_SELF, &after);
    double ms = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1e3 +
                (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec) / 1e3;
    assert_true(json_is_null(json_object_get(json_object_get(show, "model_info"), "tokenizer.ggml.scores")));
    json_decref(show);
    if (ms > 100)
        fail_msg("reading took %.1f ms of processor time", ms);
}

static int make_folder(void **state)
{
    (void)state;
    O3_COPY(folder, "o3-test-gguf-XXXXXX");
    char place[64];
    const char *tmp = getenv("TMPDIR");
    O3_FORMAT(place, "%s/%s", tmp && strlen(tmp) < 32 ? tmp : "/tmp", folder);
    O3_COPY(folder, place);
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    O3_FORMAT(command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_file),
        cmocka_unit_test(only_short_number_arrays_stay),
        cmocka_unit_test(not_a_gguf),
        cmocka_unit_test(lies_about_lengths),
        cmocka_unit_test(nonsense_in_keys),
        cmocka_unit_test(nonsense_in_tensors),
        cmocka_unit_test(a_cut_download_says_what_is_missing),
        cmocka_unit_test(an_unknown_tensor_type_is_no_error),
        cmocka_unit_test(split_files),
        cmocka_unit_test(vocabularies_cost_little),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
