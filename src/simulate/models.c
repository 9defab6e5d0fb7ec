/* SPDX-License-Identifier: Apache-2.0 */
/* Dimensions of real models (their published config.json), 0.1B to 235B: dense, sliding window, mixture of experts. */
#include "simulate_impl.h"

static const struct row {
    const char *name;
    double parameters;
    int layers, embedding, heads, heads_kv, head_dim, ff, vocab, experts, experts_used;
    int window, full_every; /* sliding window of all layers but every n-th; 0 = none */
    int trained;
    double bits;            /* a weight */
    bool tied;
} rows[] = {
    {"smollm2:135m", 0.135e9, 30, 576, 9, 3, 64, 1536, 49152, 0, 0, 0, 0, 8192, 5.8, true},
    {"gemma3:270m", 0.268e9, 18, 640, 4, 1, 256, 2048, 262144, 0, 0, 512, 6, 32768, 8.5, true},
    {"qwen3:0.6b", 0.6e9, 28, 1024, 16, 8, 128, 3072, 151936, 0, 0, 0, 0, 40960, 5, true},
    {"gemma3:1b", 1.0e9, 26, 1152, 4, 1, 256, 6912, 262144, 0, 0, 512, 6, 32768, 5, true},
    {"llama3.2:1b", 1.24e9, 16, 2048, 32, 8, 64, 8192, 128256, 0, 0, 0, 0, 131072, 8.5, true},
    {"llama3.2:3b", 3.2e9, 28, 3072, 24, 8, 128, 8192, 128256, 0, 0, 0, 0, 131072, 5, true},
    {"phi4-mini", 3.8e9, 32, 3072, 24, 8, 128, 8192, 200064, 0, 0, 0, 0, 131072, 5, true},
    {"gemma3:4b", 3.9e9, 34, 2560, 8, 4, 256, 10240, 262144, 0, 0, 1024, 6, 131072, 5, true},
    {"qwen3:4b", 4.0e9, 36, 2560, 32, 8, 128, 9728, 151936, 0, 0, 0, 0, 262144, 5, true},
    {"llama3.1:8b", 8.0e9, 32, 4096, 32, 8, 128, 14336, 128256, 0, 0, 0, 0, 131072, 4.9, false},
    {"qwen3:8b", 8.2e9, 36, 4096, 32, 8, 128, 12288, 151936, 0, 0, 0, 0, 40960, 5, false},
    {"gemma3:12b", 12.2e9, 48, 3840, 16, 8, 256, 15360, 262144, 0, 0, 1024, 6, 131072, 4.9, true},
    {"qwen3:14b", 14.8e9, 40, 5120, 40, 8, 128, 17408, 151936, 0, 0, 0, 0, 40960, 5, false},
    {"gpt-oss:20b", 20.9e9, 24, 2880, 64, 8, 64, 2880, 201088, 32, 4, 128, 2, 131072, 5, false},
    {"mistral-small:24b", 23.6e9, 40, 5120, 32, 8, 128, 32768, 131072, 0, 0, 0, 0, 131072, 4.9, false},
    {"gemma3:27b", 27.0e9, 62, 5376, 32, 16, 128, 21504, 262144, 0, 0, 1024, 6, 131072, 4.9, true},
    {"qwen3:30b-a3b", 30.5e9, 48, 2048, 32, 4, 128, 768, 151936, 128, 8, 0, 0, 262144, 4.9, false},
    {"qwen3:32b", 32.8e9, 64, 5120, 64, 8, 128, 25600, 151936, 0, 0, 0, 0, 40960, 4.9, false},
    {"mixtral:8x7b", 46.7e9, 32, 4096, 32, 8, 128, 14336, 32000, 8, 2, 0, 0, 32768, 4.5, false},
    {"llama3.3:70b", 70.6e9, 80, 8192, 64, 8, 128, 28672, 128256, 0, 0, 0, 0, 131072, 4.8, false},
    {"gpt-oss:120b", 116.8e9, 36, 2880, 64, 8, 64, 2880, 201088, 128, 4, 128, 2, 131072, 4.5, false},
    {"qwen3:235b-a22b", 235.0e9, 94, 4096, 64, 4, 128, 1536, 151936, 128, 8, 0, 0, 262144, 4.8, false},
};
const int sim_model_count = O3_COUNT(rows);

void sim_model_make(int index, o3_model *ret_model)
{
    const struct row *r = &rows[index];
    o3_model *m = ret_model;
    double bytes = r->parameters * r->bits / 8, table = (double)r->vocab * r->embedding * r->bits / 8;
    double layers = bytes - table * (r->tied ? 1 : 2);
    *m = (o3_model){.file_bytes = (int64_t)bytes, .parameters = (int64_t)r->parameters, .trained_tokens = r->trained,
                    .layers = r->layers, .embedding = r->embedding, .heads = r->heads, .heads_kv = r->heads_kv,
                    .ff = r->ff, .vocab = r->vocab, .experts = r->experts, .experts_used = r->experts_used,
                    .head_dim = r->head_dim, .rope_factor = NAN, .weight_bytes = (int64_t)bytes,
                    .token_embd_bytes = (int64_t)table, .output_bytes = r->tied ? 0 : (int64_t)table,
                    .largest_tensor_bytes = (int64_t)table, .has_output_tensor = !r->tied, .kv_exact = true};
    O3_COPY(m->name, r->name);
    O3_FORMAT(m->digest, "sha256:%016llx", (unsigned long long)o3_hash(r->name, strlen(r->name), 1));
    O3_COPY(m->architecture, r->experts ? "qwen3moe" : r->window ? "gemma3" : "llama");
    O3_COPY(m->quantization, "Q4_K_M");
    for (int i = 0; i < r->layers; i++) {
        o3_layer *l = &m->layer[i];
        *l = (o3_layer){.weight_bytes = (int64_t)(layers / r->layers), .heads_kv = r->heads_kv, .key_dim = r->head_dim,
                        .value_dim = r->head_dim};
        l->window_tokens = r->window && (i + 1) % r->full_every ? r->window : 0;
        l->expert_bytes = r->experts ? l->weight_bytes / 10 * 9 : 0;
    }
}
