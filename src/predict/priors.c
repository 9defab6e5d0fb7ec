/* SPDX-License-Identifier: Apache-2.0 */
/* What speed is expected of a device before anything was measured on it. Shares come from published llama.cpp runs
 * (docs/prediction.md lists them with their spread); the CPU's also from our own runs. They are wide on purpose: one
 * measured rate replaces them (o3_calibration). */
#include "speed.h"

/* 7B Q4_0 at 4k: RTX 4090 66-71 % of its bandwidth and 84 tok/s of prefill a TFLOP, W7900 39 % and 23, M2 77 %, 780M
 * 74 %, Arc 60 %. A CPU: 60-80 % of the read bandwidth that was measured on it. */
static const speed_prior priors[] = {
    /* name                bytes/s flop/byte read matrix attention one   layer   half  spread known */
    {"CPU",                  NAN,     12,   0.65, 0.57,  0.20,    0.07, 95e-6,   16,  2.3, 1.55},
    {"other GPU",          200e9,     60,   0.50, 0.30,  0.15,    0.03, 80e-6,  128,  3.0, 2.0},
    {"NVIDIA GPU",         450e9,    120,   0.68, 1.20,  0.40,    0.05, 30e-6,  128,  2.5, 1.5},
    {"AMD GPU",            500e9,    140,   0.48, 0.36,  0.15,    0.03, 60e-6,  128,  2.5, 1.6},
    {"Intel GPU",          300e9,    120,   0.50, 0.25,  0.10,    0.03, 80e-6,  128,  2.5, 1.8},
    {"Apple GPU",          150e9,     70,   0.70, 0.36,  0.20,    0.05, 50e-6,   64,  2.5, 1.5},
    {"GPU in software",   0.15e9,      6,   1.00, 1.00,  1.00,    1.00, 1e-3,    16,  3.0, 3.0},
    {"GPU in shared memory", 90e9,   180,   0.68, 0.36,  0.15,    0.03, 60e-6,  128,  2.3, 1.5},
};
enum { PRIOR_CPU, PRIOR_OTHER, PRIOR_NVIDIA, PRIOR_AMD, PRIOR_INTEL, PRIOR_APPLE, PRIOR_SOFTWARE, PRIOR_SHARED };

static const speed_prior *prior_of(const o3_gpu *gpu)
{
    static const int by_vendor[] = {[O3_GPU_OTHER] = PRIOR_OTHER, [O3_GPU_NVIDIA] = PRIOR_NVIDIA,
                                    [O3_GPU_AMD] = PRIOR_AMD,     [O3_GPU_INTEL] = PRIOR_INTEL,
                                    [O3_GPU_APPLE] = PRIOR_APPLE, [O3_GPU_SOFTWARE] = PRIOR_SOFTWARE};
    bool shared = gpu->unified && (gpu->vendor == O3_GPU_AMD || gpu->vendor == O3_GPU_INTEL);
    return &priors[shared ? PRIOR_SHARED : by_vendor[gpu->vendor]];
}

/* A CPU's kernels differ by the type of most weights: types that llama.cpp repacks multiply several rows at once, wide
 * ones need little arithmetic a byte. The first prefix that fits counts. */
static const struct {
    const char *type;
    double read, matrix; /* factors on the CPU's shares */
} cpu_types[] = {
    {"Q4_0", 1.0, 1.0}, {"Q4_K", 1.0, 1.0},  {"Q2_K", 0.9, 1.0}, {"IQ4_NL", 1.0, 1.0}, {"MXFP4", 1.0, 0.8},
    {"Q8_0", 1.15, 1.0}, {"F16", 1.15, 0.4}, {"BF16", 1.15, 0.4}, {"F32", 1.2, 0.4},   {"IQ", 0.6, 0.4},
    {"", 1.0, 0.55},
};

/* Multiply rate of one core by the widest vectors it has, where it was not measured; and what kernels reach of it:
 * the wider the vectors, the more is lost around the multiplications. */
static const struct {
    const char *isa;
    double flops, share; /* factor on the shares */
} cpu_vectors[] = {
    {"avx512f", 180e9, 1.0}, {"avx2", 100e9, 1.5}, {"sve", 60e9, 1.8}, {"asimd", 45e9, 2.0}, {"neon", 30e9, 2.0},
    {"", 15e9, 2.5},
};

#define OVERSUBSCRIBED 6       /* factor on layer_s: a barrier waits for a thread that has no core */
#define CORE_BYTES_PER_S 18e9  /* one core of a current machine, while memory keeps up: */
#define CHANNEL_BYTES_PER_S 30e9 /* two channels, */
#define SERVER_BYTES_PER_S 4e9   /* and what each core of a larger machine brings along */
#define NARROW 512             /* embedding width at which matrix kernels reach half of what they reach on wide ones */

static double threads_of(const o3_profile *profile, const o3_setting *setting, double usable)
{
    if (setting->knobs.num_thread > 0)
        return setting->knobs.num_thread;
    if (setting->threads > 0)
        return setting->threads;
    return profile->cores > 0 ? profile->cores : usable; /* llama.cpp's own choice, whatever a quota says */
}

/* Measured at 1, half and all usable cores; straight lines between. */
static double measured_at(const o3_bandwidth *b, double threads, double usable)
{
    double half = usable / 2;
    if (threads >= usable || usable <= 1)
        return b->all_bytes_per_s;
    if (threads > half)
        return b->half_bytes_per_s + (b->all_bytes_per_s - b->half_bytes_per_s) * (threads - half) / (usable - half);
    return half <= 1 ? b->one_bytes_per_s
                     : b->one_bytes_per_s + (b->half_bytes_per_s - b->one_bytes_per_s) * (threads - 1) / (half - 1);
}

static double guessed_at(double threads)
{
    double cores = threads * CORE_BYTES_PER_S, memory = CHANNEL_BYTES_PER_S + threads * SERVER_BYTES_PER_S;
    return cores < memory ? cores : memory;
}

void speed_device_host(speed_device *ret_device, const o3_profile *profile, const o3_model *model,
                       const o3_setting *setting)
{
    const speed_prior *p = &priors[PRIOR_CPU];
    const o3_bandwidth *b = &profile->bandwidth;
    double usable = profile->usable_cpus > 0 ? profile->usable_cpus : 1, asked = threads_of(profile, setting, usable);
    double threads = asked < usable ? asked : usable;
    bool known = b->all_bytes_per_s > 0 && b->half_bytes_per_s > 0 && b->one_bytes_per_s > 0;
    int type = 0, vectors = 0;
    while (strncasecmp(model->quantization, cpu_types[type].type, strlen(cpu_types[type].type)))
        type++;
    while (!strstr(profile->isa, cpu_vectors[vectors].isa))
        vectors++;
    double bytes = known ? measured_at(b, threads, usable) : guessed_at(threads);
    double flops = b->flops_per_s > 0 ? b->flops_per_s * threads / usable : cpu_vectors[vectors].flops * threads;
    double share = flops * cpu_vectors[vectors].share, width = model->embedding > 0 ? model->embedding : 2048;
    *ret_device = (speed_device){
        .prior = p,
        .cpu = true,
        .known = known,
        .bytes_per_s = bytes,
        .read_per_s = bytes * p->read_share * cpu_types[type].read,
        .matrix_per_s = share * p->matrix_share * cpu_types[type].matrix * width / (width + NARROW),
        .attention_per_s = share * p->attention_share,
        .one_token_per_s = share * p->one_token_share,
        .layer_s = p->layer_s * (asked > usable ? OVERSUBSCRIBED : 1),
    };
}

void speed_device_gpu(speed_device *ret_device, const o3_gpu *gpu, const o3_model *model)
{
    const speed_prior *p = prior_of(gpu);
    bool known = gpu->bandwidth_bytes_per_s > 0;
    double bytes = known ? gpu->bandwidth_bytes_per_s : p->bytes_per_s;
    double flops = gpu->fp16_flops > 0 ? gpu->fp16_flops : bytes * p->flop_per_byte;
    double width = model->embedding > 0 ? model->embedding : 2048;
    *ret_device = (speed_device){
        .prior = p,
        .known = known,
        .bytes_per_s = bytes,
        .read_per_s = bytes * p->read_share,
        .matrix_per_s = flops * p->matrix_share * width / (width + NARROW),
        .attention_per_s = flops * p->attention_share,
        .one_token_per_s = flops * p->one_token_share,
        .layer_s = p->layer_s,
    };
}
