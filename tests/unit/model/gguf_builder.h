/* SPDX-License-Identifier: Apache-2.0 */
/* Writes GGUF files for tests: keys and tensors are appended, then header and data go to a file. Values are those of
 * the format; what they say may be as wrong as a test wants it. */
#ifndef O3_TEST_GGUF_BUILDER_H
#define O3_TEST_GGUF_BUILDER_H

#include <endian.h>
#include <unistd.h>

#include "base/base.h"

typedef struct gguf_builder {
    o3_buf keys, tensors;
    uint32_t version;
    uint64_t key_count, tensor_count; /* as announced; added to by each append */
    int64_t data_bytes;               /* behind the header; grows with each tensor */
    int64_t alignment;
} gguf_builder;

enum { GG_U8, GG_I8, GG_U16, GG_I16, GG_U32, GG_I32, GG_F32, GG_BOOL, GG_STRING, GG_ARRAY, GG_U64, GG_I64, GG_F64 };

static inline gguf_builder gg_new(void)
{
    return (gguf_builder){.keys = O3_BUF(64u << 20), .tensors = O3_BUF(64u << 20), .version = 3, .alignment = 32};
}

static inline void gg_u32(o3_buf *buf, uint32_t x)
{
    x = htole32(x);
    o3_buf_add(buf, &x, sizeof(x));
}

static inline void gg_u64(o3_buf *buf, uint64_t x)
{
    x = htole64(x);
    o3_buf_add(buf, &x, sizeof(x));
}

static inline void gg_text(o3_buf *buf, const char *text)
{
    gg_u64(buf, strlen(text));
    o3_buf_str(buf, text);
}

static inline void gg_key(gguf_builder *g, const char *key, uint32_t type)
{
    gg_text(&g->keys, key);
    gg_u32(&g->keys, type);
    g->key_count++;
}

static inline void gg_number(gguf_builder *g, const char *key, uint32_t value)
{
    gg_key(g, key, GG_U32);
    gg_u32(&g->keys, value);
}

static inline void gg_string(gguf_builder *g, const char *key, const char *value)
{
    gg_key(g, key, GG_STRING);
    gg_text(&g->keys, value);
}

static inline void gg_array(gguf_builder *g, const char *key, uint32_t type, uint64_t count)
{
    gg_key(g, key, GG_ARRAY);
    gg_u32(&g->keys, type);
    gg_u64(&g->keys, count);
}

static inline void gg_numbers(gguf_builder *g, const char *key, const int32_t *values, int count)
{
    gg_array(g, key, GG_I32, (uint64_t)count);
    for (int i = 0; i < count; i++)
        gg_u32(&g->keys, (uint32_t)values[i]);
}

/* F32; its bytes follow those of the tensors before it. */
static inline void gg_tensor(gguf_builder *g, const char *name, uint64_t row, uint64_t rows)
{
    gg_text(&g->tensors, name);
    gg_u32(&g->tensors, rows ? 2 : 1);
    gg_u64(&g->tensors, row);
    if (rows)
        gg_u64(&g->tensors, rows);
    gg_u32(&g->tensors, 0);
    gg_u64(&g->tensors, (uint64_t)g->data_bytes);
    g->tensor_count++;
    g->data_bytes += (int64_t)(row * (rows ? rows : 1) * 4 + 31) / 32 * 32;
}

static inline o3_buf gg_bytes(const gguf_builder *g)
{
    o3_buf file = O3_BUF(256u << 20);
    o3_buf_str(&file, "GGUF");
    gg_u32(&file, g->version);
    gg_u64(&file, g->tensor_count);
    gg_u64(&file, g->key_count);
    o3_buf_add(&file, o3_buf_text(&g->keys), g->keys.len);
    o3_buf_add(&file, o3_buf_text(&g->tensors), g->tensors.len);
    while (file.len % (size_t)g->alignment)
        o3_buf_add(&file, "", 1);
    return file;
}

/* The header, and a hole as long as the data. */
static inline void gg_write(gguf_builder *g, const char *path)
{
    o3_buf file = gg_bytes(g);
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(o3_buf_text(&file), 1, file.len, out) != file.len || fclose(out) ||
        truncate(path, (off_t)file.len + g->data_bytes))
        abort();
    o3_buf_release(&file);
    o3_buf_release(&g->keys);
    o3_buf_release(&g->tensors);
}

/* A llama of two layers, untied, 100 tokens. */
static inline gguf_builder gg_llama(void)
{
    static const char *const layer[] = {"attn_q", "attn_k", "attn_v", "attn_output"};
    gguf_builder g = gg_new();
    char name[64];
    gg_string(&g, "general.architecture", "llama");
    gg_number(&g, "general.file_type", 0);
    gg_number(&g, "llama.context_length", 2048);
    gg_number(&g, "llama.block_count", 2);
    gg_number(&g, "llama.embedding_length", 64);
    gg_number(&g, "llama.attention.head_count", 4);
    gg_number(&g, "llama.attention.head_count_kv", 2);
    gg_number(&g, "llama.feed_forward_length", 96);
    gg_tensor(&g, "token_embd.weight", 64, 100);
    for (int i = 0; i < 2; i++) {
        for (int t = 0; t < O3_COUNT(layer); t++) {
            O3_FORMAT(name, "blk.%d.%s.weight", i, layer[t]);
            gg_tensor(&g, name, 64, t == 1 || t == 2 ? 32 : 64);
        }
        O3_FORMAT(name, "blk.%d.ffn_down.weight", i);
        gg_tensor(&g, name, 96, 64);
    }
    gg_tensor(&g, "output.weight", 64, 100);
    return g;
}

#endif
