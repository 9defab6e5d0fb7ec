/* SPDX-License-Identifier: Apache-2.0 */
/* Machines as people have them. Rates are what a runner gets in the mean (60-80 % of a data sheet's bandwidth; for the
 * 128 GiB APU the 215 GB/s that were measured on such machines); each pair has its own factor on them. */
#include "simulate_impl.h"

#define GIB 1073741824.0
#define MIB 1048576.0

const sim_machine sim_machines[] = {
    /* name            cores ram  cgroup gpus gib unified  RAM     CPU     GPU      GPU */
    {"cpu-2",            2,   8,     0,   0,   0, false,  18e9,  130e9,     0,       0},
    {"cpu-8",            8,  32,     0,   0,   0, false,  42e9,  500e9,     0,       0},
    {"cpu-16",          16,  64,     0,   0,   0, false,  65e9,  1.0e12,    0,       0},
    {"cpu-32",          32, 256,     0,   0,   0, false, 110e9,  2.2e12,    0,       0},
    {"cgroup-320m",      2,   8,   320,   0,   0, false,  18e9,  130e9,     0,       0},
    {"cgroup-2g",        4,  16,  2048,   0,   0, false,  30e9,  250e9,     0,       0},
    {"cgroup-16g",       8,  64, 16384,   0,   0, false,  42e9,  500e9,     0,       0},
    {"cgroup-64g",      32, 256, 65536,   0,   0, false, 110e9,  2.2e12,    0,       0},
    {"gpu-8g",           8,  32,     0,   1,   8, false,  42e9,  500e9, 230e9,    20e12},
    {"gpu-12g",          8,  32,     0,   1,  12, false,  42e9,  500e9, 300e9,    30e12},
    {"gpu-24g",         16,  64,     0,   1,  24, false,  65e9,  1.0e12, 750e9,   80e12},
    {"gpu-2x24g",       16, 128,     0,   2,  24, false,  65e9,  1.0e12, 750e9,   80e12},
    {"apu-128g",        16, 128,     0,   1,  96, true,  110e9,  1.0e12, 215e9,   21e12},
};
const int sim_machine_count = O3_COUNT(sim_machines);

/* What the data sheet says, of what a runner gets. */
#define SHEET_BANDWIDTH 1.3
#define SHEET_FLOPS 0.85
#define SHEET_FLOPS_UNIFIED 2.8

static o3_pool *add_pool(o3_profile *profile, const char *name, double bytes, double used, double percent)
{
    o3_pool *pool = &profile->pools[profile->pool_count++];
    *pool = (o3_pool){.total_bytes = (int64_t)bytes, .used_bytes = (int64_t)used, .limit_frac = percent / 100};
    pool->safe_bytes = (int64_t)(bytes * pool->limit_frac);
    O3_COPY(pool->name, name);
    return pool;
}

static void add_gpus(const sim_machine *machine, const o3_config *config, o3_rng *rng, o3_profile *profile)
{
    for (int i = 0; i < machine->gpus; i++) {
        char name[16];
        o3_gpu *gpu = &profile->gpus[profile->gpu_count++];
        O3_FORMAT(name, "gpu%d", i);
        *gpu = (o3_gpu){.vendor = machine->unified ? O3_GPU_AMD : O3_GPU_NVIDIA, .unified = machine->unified,
                        .pool = profile->pool_count, .max_tensor_bytes = -1,
                        .bandwidth_bytes_per_s = machine->gpu_bytes_per_s * SHEET_BANDWIDTH,
                        .fp16_flops = machine->gpu_flops * (machine->unified ? SHEET_FLOPS_UNIFIED : SHEET_FLOPS)};
        O3_COPY(gpu->name, name);
        add_pool(profile, name, machine->gpu_gib * GIB, (0.2 + 0.6 * o3_rng_unit(rng)) * GIB,
                 config->hardware_monitoring.safety_thresholds.max_vram_percent);
    }
}

void sim_machine_profile(const sim_machine *machine, const o3_config *config, o3_rng *rng, o3_profile *ret_profile)
{
    o3_profile *p = ret_profile;
    double percent = config->hardware_monitoring.safety_thresholds.max_ram_percent;
    double ram = machine->ram_gib * GIB, used = (0.03 + 0.12 * o3_rng_unit(rng)) * ram;
    *p = (o3_profile){.cpus_online = machine->cores, .packages = 1, .cores = machine->cores, .threads_per_core = 1,
                      .usable_cpus = machine->cores, .ram_bytes = (int64_t)ram, .ram_available_bytes = (int64_t)(ram - used),
                      .swap_bytes = 0, .swap_free_bytes = 0, .engine_pid = -1, .engine_uid = -1, .engine_local = true,
                      .engine_env_known = true, .bandwidth = O3_BANDWIDTH_NONE};
    O3_COPY(p->hostname, machine->name);
    O3_COPY(p->isa, "avx avx2 f16c fma");
    add_pool(p, "ram", ram, used, percent);
    if (machine->cgroup_mib > 0) {
        add_pool(p, "cgroup:/ollama", machine->cgroup_mib * MIB, (20 + 30 * o3_rng_unit(rng)) * MIB, percent)->cgroup = 1;
        p->cgroup_count = 1;
        p->cgroups[0] = (o3_cgroup){.version = 2, .limit_bytes = (int64_t)(machine->cgroup_mib * MIB)};
    }
    add_gpus(machine, config, rng, p);
}
