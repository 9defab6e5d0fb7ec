/* SPDX-License-Identifier: Apache-2.0 */
/* A result as a run of smollm2:135m on two cores leaves it; shared by the tests of report, export and cli. */
#ifndef O3_TEST_SAMPLE_H
#define O3_TEST_SAMPLE_H

#include "base/base.h"
#include "o3/report.h"

static inline o3_measure sample_measure(double mean, double half, double cv, int n, int64_t depth)
{
    return (o3_measure){
        .mean = mean, .low = mean - half, .high = mean + half, .cv = cv, .n = n, .depth_tokens = depth};
}

static inline o3_preset sample_preset(const char *name, int32_t num_ctx, double decode, double equal)
{
    o3_preset p = {
        .measured = true,
        .proven = true,
        .knobs = {.num_ctx = num_ctx, .num_batch = 512, .num_gpu = O3_UNSET, .num_thread = 2, .use_mmap = 1},
        .decode_per_s = sample_measure(decode, 1.1, 0.021, 5, num_ctx / 2),
        .decode_equal_per_s = sample_measure(equal, 2.0, 0.03, 5, 1000),
        .prefill_per_s = sample_measure(118.4, 6, 0.04, 3, num_ctx),
        .ttft_ms = sample_measure(num_ctx * 2.2, 90, 0.05, 5, num_ctx / 4),
        .peaks = {.count = 1,
                  .pools = {{.pool = "ram", .bytes = INT64_C(6) << 30}},
                  .temperature_c = NAN,
                  .cpu_frac = 0.98},
        .score = {.total = 0.912,
                  .context = 1,
                  .throughput = 0.56,
                  .response = NAN,
                  .w_context = 0.8,
                  .w_throughput = 0.2},
        .success_frac = 1,
        .success_low = 0.5655,
        .success_high = 1,
    };
    O3_COPY(p.name, name);
    O3_COPY(p.description, "For long conversations, document analysis, complex reasoning");
    p.peaks.pools[0].runner_bytes = (INT64_C(100) << 20) + num_ctx * INT64_C(27000);
    return p;
}

static inline void sample_result(o3_result *r)
{
    *r = (o3_result){
        .model = "smollm2:135m",
        .digest = "sha256:9077fe9d2ae1",
        .engine_version = "0.32.15",
        .engine_host = "http://127.0.0.1:11434",
        .run_id = "7d1f0c2a",
        .finished_at = "2026-08-22T10:11:12Z",
        .complete = true,
        .weights = "max_context 0.80 context + 0.20 throughput; fast_response 0.70 throughput + 0.30 response",
        .ceiling = {.proven_tokens = 8192, .allocated_tokens = 8192, .trained_tokens = 8192, .filled_tokens = 7994,
                    .proofs = 2, .num_batch = 512, .next_num_ctx = -1, .next_kind = O3_STEP_TRAINED,
                    .next_reason = "the model was trained to 8,192 tokens", .iterations = 1, .loads = 2, .fills = 2,
                    .used_frac = 0.06, .used_pool = "ram"},
        .race = {.verdict = O3_RACE_WINNER, .knobs = {O3_UNSET, 512, O3_UNSET, 2, 1}, .finalist = {O3_UNSET, 512, O3_UNSET, 2, 1},
                 .decode_weight = 0.53, .gain = 1.31, .gain_low = 1.25, .gain_high = 1.37, .promised = 1.33, .shrunk = 1.32,
                 .num_ctx = 4096, .prompt_tokens = 512, .visits = 12, .candidates = 6,
                 .why = "+31.0 % on fresh loads (95 %: +25.0 to +37.0), +33.0 % when it was chosen: taken"},
        .preset_count = 3,
        .cost = {.wall_s = 401, .lower_bound_s = 308.5, .loads = 7, .fills = 4, .requests = 41},
    };
    r->presets[0] = sample_preset("max_context", 8192, 38.4, 75.1);
    r->presets[1] = sample_preset("balanced", 8192, 38.4, 75.1);
    r->presets[2] = sample_preset("fast_response", 4096, 52.3, 75.0);
    r->baseline = sample_preset("", 4096, 51.9, 75.0);
    r->baseline.knobs = (o3_knobs){4096, 512, O3_UNSET, O3_UNSET, O3_UNSET};
    r->baseline.score.total = NAN;
    o3_note(&r->notes, "each new prompt adds up to 8 GiB of host prompt cache (LLAMA_ARG_CACHE_RAM); 33 MiB seen per "
                       "1,500 tokens");
    o3_note(&r->notes, "no temperature sensor: the limit of 85 °C could not be watched");
}

/* A file of the source tree, from wherever the test runs; NULL text if it cannot be read. */
static inline char *sample_file(const char *path)
{
    const char *given = getenv("O3_SOURCE_ROOT"), *tops[] = {given, ".", "..", "../..", "../../.."};
    for (int i = 0; i < O3_COUNT(tops); i++) {
        char *text = o3_alloc(1u << 20, 1);
        if (tops[i] && o3_read_text(tops[i], path, text, 1u << 20) >= 0)
            return text;
        free(text);
    }
    return NULL;
}

#endif
