/* SPDX-License-Identifier: Apache-2.0 */
/* Two small models as their files describe them, and the machine on which their rates were taken. */
#ifndef O3_TEST_SPEED_MODELS_H
#define O3_TEST_SPEED_MODELS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "predict/speed.h"

#define assert_near(value, wanted, off) check_near((value), (wanted), (off), #value, __LINE__)
static inline void check_near(double value, double wanted, double off, const char *what, int line)
{
    if (!(fabs(value - wanted) <= off))
        fail_msg("line %d: %s is %g, not %g", line, what, value, wanted);
}

static inline o3_model *smollm2(void)
{
    o3_model *m = o3_alloc(1, sizeof(*m));
    *m = (o3_model){.quantization = "Q4_1", .parameters = 134515008, .trained_tokens = 8192, .layers = 30,
                    .embedding = 576, .heads = 9, .heads_kv = 3, .head_dim = 64, .ff = 1536, .vocab = 49152,
                    .experts = -1, .experts_used = -1, .weight_bytes = 96576768, .token_embd_bytes = 30081024,
                    .kv_exact = true};
    for (int i = 0; i < m->layers; i++)
        m->layer[i] = (o3_layer){.weight_bytes = 2216448, .heads_kv = 3, .key_dim = 64, .value_dim = 64};
    return m;
}

static inline o3_model *gemma3(void)
{
    o3_model *m = o3_alloc(1, sizeof(*m));
    *m = (o3_model){.quantization = "Q4_K_M", .parameters = 268098176, .trained_tokens = 32768, .layers = 18,
                    .embedding = 640, .heads = 4, .heads_kv = 1, .head_dim = 256, .ff = 2048, .vocab = 262144,
                    .experts = -1, .experts_used = -1, .weight_bytes = 246587904, .token_embd_bytes = 178257920,
                    .kv_exact = true};
    for (int i = 0; i < m->layers; i++)
        m->layer[i] = (o3_layer){.weight_bytes = 3795968, .heads_kv = 1, .key_dim = 256, .value_dim = 256,
                                 .window_tokens = i % 6 == 5 ? 0 : 512};
    return m;
}

/* Two cores of an AMD EPYC (Zen 5), what `o3 hardware --measure` says there. */
static inline o3_profile *two_cores(bool measured)
{
    o3_profile *p = o3_alloc(1, sizeof(*p));
    *p = (o3_profile){.usable_cpus = 2, .cores = 2, .cpus_online = 2, .isa = "avx2 avx512f avx512_vnni",
                      .bandwidth = O3_BANDWIDTH_NONE};
    if (measured)
        p->bandwidth = (o3_bandwidth){40e9, 40e9, 45e9, 505e9, 1};
    return p;
}

static inline o3_setting setting_at(int num_ctx)
{
    return (o3_setting){.knobs = {num_ctx, 512, O3_UNSET, O3_UNSET, O3_UNSET}, .parallel = 1,
                        .kv_type = o3_kv_type_find("f16"), .flash_attention = true, .era = O3_ERA_C};
}

/* Rates that were taken there while nothing else ran: medians of four samples, Ollama 0.32.15. */
typedef struct taken {
    int num_ctx, num_thread, depth;
    double decode_per_s;
} taken;
static const taken smollm2_taken[] = {
    {2048, O3_UNSET, 239, 141.7}, {2048, O3_UNSET, 488, 115.1}, {2048, O3_UNSET, 1003, 108.8},
    {2048, O3_UNSET, 2023, 87.0}, {8192, O3_UNSET, 430, 125.3}, {8192, O3_UNSET, 2031, 83.9},
    {8192, O3_UNSET, 4061, 61.9}, {8192, O3_UNSET, 6116, 48.4}, {8192, O3_UNSET, 8168, 41.3},
    {2048, 1, 213, 130.1},        {2048, 1, 2028, 64.8},        {2048, 4, 214, 47.5},
    {2048, 4, 1001, 40.8},
};
static const taken gemma3_taken[] = {
    {2048, O3_UNSET, 231, 84.8},  {2048, O3_UNSET, 994, 84.6},  {2048, O3_UNSET, 2021, 83.6},
    {8192, O3_UNSET, 432, 88.1},  {8192, O3_UNSET, 2021, 82.8}, {8192, O3_UNSET, 4068, 78.0},
    {8192, O3_UNSET, 8162, 72.0}, {2048, 1, 993, 72.4},         {2048, 4, 1000, 42.4},
};
/* Seconds for a whole prompt from its first token on. */
typedef struct filled {
    int num_ctx, num_batch, tokens;
    double seconds;
} filled;
static const filled smollm2_filled[] = {
    {2048, 512, 987, 2.70},  {2048, 512, 2007, 6.09},  {8192, 512, 2015, 6.46},  {8192, 512, 4045, 15.86},
    {8192, 512, 8152, 44.66}, {2048, 128, 2008, 6.13}, {2048, 2048, 2011, 5.95},
};
static const filled gemma3_filled[] = {
    {2048, 512, 978, 1.30},   {2048, 512, 2005, 2.69}, {8192, 512, 4052, 6.23}, {8192, 512, 8146, 14.03},
    {2048, 32, 2005, 3.71},   {2048, 128, 2015, 2.77}, {2048, 2048, 2004, 2.87},
};

#endif
