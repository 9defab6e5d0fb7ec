/* SPDX-License-Identifier: Apache-2.0 */
/* Where the bytes lie, against what a real llama-server (b10488, Vulkan on the CPU, a device of 2048 MiB) printed for
 * two files, and the rules of fitting, spilling and mapping on devices of our own making. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "predict/predict_impl.h"

#define MIB 1048576.0
#define OUTPUT 1 /* the output matrix counts as a layer */

static o3_model *model_new(const char *architecture, int layers, int heads, int heads_kv, int head, int embedding, int ff,
                           int vocab, double embd_mib, double layer_mib)
{
    o3_model *m = o3_alloc(1, sizeof(*m));
    *m = (o3_model){.layers = layers, .embedding = embedding, .heads = heads, .heads_kv = heads_kv, .head_dim = head,
                    .ff = ff, .vocab = vocab, .kv_exact = true, .trained_tokens = 32768,
                    .token_embd_bytes = (int64_t)(embd_mib * MIB), .output_bytes = 0};
    O3_COPY(m->architecture, architecture);
    m->weight_bytes = m->token_embd_bytes;
    for (int i = 0; i < layers; i++) {
        m->layer[i] = (o3_layer){.weight_bytes = (int64_t)(layer_mib * MIB), .heads_kv = heads_kv, .key_dim = head,
                                 .value_dim = head, .begin_bytes = m->weight_bytes};
        m->weight_bytes += m->layer[i].weight_bytes;
        m->layer[i].end_bytes = m->weight_bytes;
    }
    m->largest_tensor_bytes = m->token_embd_bytes;
    m->file_bytes = m->weight_bytes + (2 << 20);
    return m;
}

static o3_model *smollm2(void)
{
    o3_model *m = model_new("llama", 30, 9, 3, 64, 576, 1536, 49152, 28.69, (92.10 - 28.69) / 30);
    m->parameters = 134515008;
    m->layer[9].begin_bytes = m->weight_bytes - m->layer[9].weight_bytes; /* sorted as text, block 9 is the last */
    m->layer[9].end_bytes = m->weight_bytes;
    return m;
}

static o3_model *gemma3(void)
{
    o3_model *m = model_new("gemma3", 18, 4, 1, 256, 640, 2048, 262144, 170.00, 65.16 / 18);
    m->parameters = 268098176;
    for (int i = 0; i < m->layers; i++)
        m->layer[i].window_tokens = i % 6 < 5 ? 512 : 0;
    return m;
}

/* RAM, and devices of these sizes. */
static o3_profile *machine(int gpus, const double *gpu_mib, int64_t max_tensor_mib)
{
    o3_profile *p = o3_alloc(1, sizeof(*p));
    p->usable_cpus = 2;
    p->pool_count = 1 + gpus;
    p->pools[0] = (o3_pool){.name = "ram", .total_bytes = (int64_t)(24576 * MIB), .safe_bytes = (int64_t)(20000 * MIB)};
    p->gpu_count = gpus;
    for (int i = 0; i < gpus; i++) {
        p->gpus[i] = (o3_gpu){.vendor = O3_GPU_SOFTWARE, .pool = 1 + i, .bandwidth_bytes_per_s = NAN, .fp16_flops = NAN,
                              .max_tensor_bytes = max_tensor_mib < 0 ? -1 : max_tensor_mib << 20};
        O3_FORMAT(p->pools[1 + i].name, "gpu %d", i);
        p->pools[1 + i].total_bytes = (int64_t)(gpu_mib[i] * MIB);
        p->pools[1 + i].safe_bytes = (int64_t)(0.9 * gpu_mib[i] * MIB);
    }
    return p;
}

static o3_setting setting_at(int num_ctx, int slots, bool flash, const char *kv, int num_gpu)
{
    return (o3_setting){.knobs = {num_ctx, 512, num_gpu, O3_UNSET, O3_UNSET}, .parallel = slots, .flash_attention = flash,
                        .kv_type = o3_kv_type_find(kv), .era = O3_ERA_C, .fit_target_bytes = 1024L << 20};
}

static void close_to(double bytes, double mib, double share, const char *what)
{
    if (fabs(bytes / MIB - mib) > share * mib)
        fail_msg("%s: %.2f MiB, the engine has %.2f", what, bytes / MIB, mib);
}

static double sum_of(const memory_place *p)
{
    return p->weights + p->kv + p->state + p->compute + p->output;
}

/* num_ctx of a slot; MiB on the CPU and on the GPU as the log has them, output 4 V n */
typedef struct row {
    bool gemma;
    int num_ctx, slots;
    bool flash;
    const char *kv;
    int num_gpu;
    double weights[2], cache[2], compute[2], output;
} row;

static const row rows[] = {
    {false, 4096, 1, true, "f16", 99, {28.69, 92.10}, {0, 90.00}, {6.26, 15.26}, 0.19},
    {false, 4096, 1, true, "f16", 10, {92.10, 47.71}, {63.00, 27.00}, {6.26, 17.70}, 0.19},
    {false, 4096, 2, true, "q8_0", O3_UNSET, {28.69, 92.10}, {0, 95.62}, {6.29, 15.29}, 0.38},
    {false, 4096, 2, true, "q8_0", 10, {92.10, 47.71}, {66.94, 28.69}, {6.29, 19.78}, 0.38},
    {false, 4096, 1, false, "f16", 99, {28.69, 92.10}, {0, 90.00}, {11.01, 83.01}, 0.19},
    {false, 4096, 1, false, "f16", 10, {92.10, 47.71}, {63.00, 27.00}, {11.01, 87.70}, 0.19},
    {true, 4096, 1, true, "f16", O3_UNSET, {170.00, 65.16}, {0, 27.00}, {7.52, 21.52}, 1.00},
    {true, 4096, 1, true, "f16", 10, {202.39, 32.77}, {12.00, 15.00}, {7.52, 25.93}, 1.00},
    {true, 4096, 2, true, "q8_0", 99, {170.00, 65.16}, {0, 28.69}, {8.05, 22.05}, 2.00},
    {true, 4096, 2, true, "q8_0", 10, {202.39, 32.77}, {12.75, 15.94}, {8.05, 26.68}, 2.00},
    {true, 4096, 1, false, "f16", 99, {170.00, 65.16}, {0, 27.00}, {14.51, 51.51}, 1.00},
    {true, 4096, 1, false, "f16", 10, {202.39, 32.77}, {12.00, 15.00}, {14.51, 51.75}, 1.00},
};

static void software_device(void **state)
{
    (void)state;
    o3_auto(free) o3_model *models[] = {smollm2(), gemma3()};
    o3_auto(free) o3_profile *profile = machine(1, (double[]){2048}, 128);
    for (int i = 0; i < O3_COUNT(rows); i++) {
        const row *r = &rows[i];
        memory_layout layout;
        o3_setting s = setting_at(r->num_ctx, r->slots, r->flash, r->kv, r->num_gpu);
        predict_layout(&layout, profile, models[r->gemma], &s);
        assert_int_equal(layout.count, 2);
        bool partial = r->num_gpu == 10;
        char what[96];
        for (int p = 0; p < 2; p++) {
            const memory_place *at = &layout.at[p];
            O3_FORMAT(what, "row %d, %s", i, p ? "device" : "host");
            close_to(at->kv, r->cache[p], 0.001, what);
            close_to(at->weights, r->weights[p], 0.01, what); /* blocks of our twins are all of one size */
            close_to(sum_of(at), r->weights[p] + r->cache[p] + r->compute[p] + (p ? 0 : r->output), partial ? 0.06 : 0.03,
                     what);
        }
        close_to(layout.at[0].compute, r->compute[0], 0.002, "host compute");
        assert_int_equal(layout.at[1].layers, partial ? 10 : models[r->gemma]->layers + OUTPUT);
        assert_true((layout.spilled_frac > 0) == partial);
    }
    free(models[1]);
}

static void host_only(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m = smollm2();
    o3_auto(free) o3_profile *profile = machine(1, (double[]){2048}, 128);
    memory_layout layout, none;
    o3_setting s = setting_at(4096, 1, true, "f16", 0);
    predict_layout(&layout, profile, m, &s);
    profile->gpu_count = 0;
    s.knobs.num_gpu = O3_UNSET;
    predict_layout(&none, profile, m, &s);
    for (const memory_layout *l = &layout; l; l = l == &layout ? &none : NULL) {
        assert_int_equal(l->count, 1);
        assert_int_equal(l->at[0].layers, m->layers + OUTPUT);
        close_to(l->at[0].weights, 92.10, 0.001, "weights once, not twice");
        assert_false(l->at[0].mapped);
        assert_true(l->spilled_frac == 0 || l == &layout);
    }
    assert_true(sum_of(&layout.at[0]) == sum_of(&none.at[0]));
}

/* The automatic placement takes fewer layers as the window grows, never more than fit. */
static void spill(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m = smollm2();
    o3_auto(free) o3_profile *profile = machine(1, (double[]){2048}, 128);
    int before = m->layers + OUTPUT;
    for (int num_ctx = 1024; num_ctx <= 16384; num_ctx *= 2) {
        memory_layout layout;
        o3_setting s = setting_at(num_ctx, 1, true, "f16", O3_UNSET);
        s.fit_target_bytes = 1850L << 20;
        predict_layout(&layout, profile, m, &s);
        int layers = layout.count > 1 ? layout.at[1].layers : 0;
        assert_true(layers <= before);
        assert_true(layers == 0 || sum_of(&layout.at[1]) <= (2048 - 1850) * MIB);
        assert_int_equal(layers + layout.at[0].layers, m->layers + OUTPUT);
        if (num_ctx <= 2048)
            assert_true(layout.spilled_frac == 0);
        if (num_ctx == 8192)
            assert_int_equal(layers, 19); /* what the real server placed with this target */
        before = layers;
    }
}

/* Without pages of the file the host holds its own tensors only. */
static void mapped(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m = smollm2();
    o3_auto(free) o3_profile *profile = machine(1, (double[]){2048}, 128);
    memory_layout layout;
    o3_setting s = setting_at(4096, 1, true, "f16", 10);
    s.knobs.use_mmap = 0;
    predict_layout(&layout, profile, m, &s);
    close_to(layout.at[0].weights, 28.69 + 21 * (92.10 - 28.69) / 30, 0.001, "no mapping");
    s.knobs.use_mmap = O3_UNSET;
    m->layer[3].end_bytes = m->layer[3].begin_bytes = 0; /* order unknown: what is sure */
    predict_layout(&layout, profile, m, &s);
    close_to(layout.at[0].weights, 28.69 + 21 * (92.10 - 28.69) / 30, 0.001, "order unknown");
}

/* One device alone where it takes all, else all of them in proportion to what is free. */
static void several_devices(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m = smollm2();
    o3_auto(free) o3_profile *one = machine(2, (double[]){1100, 2048}, -1);
    memory_layout layout;
    o3_setting s = setting_at(4096, 1, true, "f16", O3_UNSET);
    predict_layout(&layout, one, m, &s);
    assert_int_equal(layout.count, 3);
    assert_int_equal(layout.at[1].layers, 0);
    assert_int_equal(layout.at[2].layers, m->layers + OUTPUT);
    o3_auto(free) o3_profile *both = machine(2, (double[]){1024 + 110, 1024 + 150}, -1);
    predict_layout(&layout, both, m, &s);
    assert_int_equal(layout.at[1].layers + layout.at[2].layers, m->layers + OUTPUT);
    assert_in_range(layout.at[1].layers, 13, 17);
    assert_true(layout.spilled_frac == 0);
    for (int d = 0; d < 2; d++)
        assert_true(sum_of(&layout.at[1 + d]) <= (double)both->pools[1 + d].total_bytes - 1024 * MIB);
}

/* Every memory must take its part; memory that a GPU shares with the host counts in both. */
static void ceilings(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m = smollm2();
    o3_auto(free) o3_profile *profile = machine(1, (double[]){2048}, 128);
    o3_calibration none = O3_CALIBRATION_NONE;
    o3_setting s = setting_at(O3_UNSET, 1, true, "f16", 99);
    int limiting;
    profile->pools[1].safe_bytes = (int64_t)(400 * MIB);
    int64_t device = o3_predict_ceiling(profile, m, &s, false, &none, &limiting);
    assert_int_equal(limiting, 1);
    o3_setting at = o3_setting_at(&s, device);
    o3_estimate e;
    o3_predict(&e, profile, m, &at, &none);
    assert_true(e.pools[1].total_bytes.high <= 400 * MIB);
    at = o3_setting_at(&s, device + O3_CTX_GRID);
    o3_predict(&e, profile, m, &at, &none);
    assert_true(e.pools[1].total_bytes.high > 400 * MIB);
    profile->pools[0].safe_bytes = (int64_t)(500 * MIB);
    profile->gpus[0].unified = true;
    int64_t shared = o3_predict_ceiling(profile, m, &s, false, &none, &limiting);
    assert_int_equal(limiting, 0);
    assert_in_range(shared, 256, device - 1);
    profile->pools[0].used_bytes = profile->pools[0].models_bytes = (int64_t)(100 * MIB);
    assert_int_equal(o3_predict_ceiling(profile, m, &s, true, &none, NULL), shared);
    assert_true(o3_predict_ceiling(profile, m, &s, false, &none, NULL) < shared);
}

/* The sum of the log lines as Ollama reads them: nothing of the host where all layers are on the device; of two caches
 * the later line; no more weights than the file has. */
static void reported_size(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m = gemma3();
    o3_auto(free) o3_profile *profile = machine(1, (double[]){2048}, 128);
    memory_layout layout;
    o3_setting s = setting_at(4096, 1, true, "f16", 99);
    predict_layout(&layout, profile, m, &s);
    close_to(predict_ps(&layout, m, &s), 65.16 + 15 + layout.at[1].compute / MIB, 0.0001, "all on the device");
    s.knobs.num_gpu = 0;
    predict_layout(&layout, profile, m, &s);
    close_to(predict_ps(&layout, m, &s), 235.16 + 15 + 1 + layout.at[0].compute / MIB, 0.0001, "all on the host");
    o3_auto(free) o3_model *other = smollm2();
    s.knobs.num_gpu = 10;
    predict_layout(&layout, profile, other, &s);
    close_to(predict_ps(&layout, other, &s),
             92.10 + 2 + 90 + 0.19 + (layout.at[0].compute + layout.at[1].compute) / MIB, 0.0001, "some of both");
}

/* The ceiling is a window that fits, and the next one does not: by a line as by halving. */
static void ceiling_is_the_last_that_fits(void **state)
{
    (void)state;
    const o3_calibration none = O3_CALIBRATION_NONE;
    o3_model *models[] = {smollm2(), gemma3()};
    const o3_profile *profile = machine(0, NULL, -1);
    o3_pool *ram = (o3_pool *)&profile->pools[0];
    for (int i = 0; i < 2 * 40; i++) {
        o3_model *m = models[i % 2];
        o3_setting s = setting_at(O3_CTX_GRID, 1 + i % 3, i % 5 != 0, "f16", O3_UNSET);
        int limiting;
        o3_estimate e;
        ram->safe_bytes = (int64_t)((150 + 37 * i) * MIB);
        int64_t ceiling = o3_predict_ceiling(profile, m, &s, true, &none, &limiting);
        s.knobs.num_ctx = (int32_t)ceiling;
        o3_predict_bytes(&e, profile, m, &s, &none);
        assert_true(!ceiling || e.total_bytes.high <= (double)ram->safe_bytes);
        s.knobs.num_ctx += O3_CTX_GRID;
        o3_predict_bytes(&e, profile, m, &s, &none);
        assert_true(ceiling == m->trained_tokens || e.total_bytes.high > (double)ram->safe_bytes);
        assert_int_equal(limiting, ceiling == m->trained_tokens ? -1 : 0);
    }
    free(models[0]);
    free(models[1]);
    free((void *)profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(software_device), cmocka_unit_test(host_only), cmocka_unit_test(spill), cmocka_unit_test(mapped),
        cmocka_unit_test(several_devices), cmocka_unit_test(ceilings), cmocka_unit_test(reported_size),
        cmocka_unit_test(ceiling_is_the_last_that_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
