/* SPDX-License-Identifier: Apache-2.0 */
/* GPUs into the profile: those the engine uses with a pool each, the others behind them with the reason. */
#include "hardware/gpu.h"
#include "hardware/hardware_impl.h"

/* Why a GPU cannot have a pool; NULL if it can. */
static const char *unusable(const gpu_found *found)
{
    if (found->host_memory || found->total_bytes > 0)
        return NULL;
    if (found->gpu.asleep)
        return "it is asleep, and asking for its memory would wake it; start any program on it and look again";
    if (found->gpu.unified)
        return "how much RAM its driver may give it is not told";
    return found->told ? "its driver does not tell its memory" : "no driver, library or program tells its memory";
}

static bool add_gpu_pool(o3_profile *profile, const o3_config *config, const gpu_found *found, o3_gpu *gpu)
{
    int part = 0;
    if (profile->pool_count == O3_POOLS_MAX)
        return false;
    gpu->pool = profile->pool_count;
    o3_pool *pool = hw_pool_add(profile, config, HW_POOL_VRAM, found->total_bytes, found->used_bytes);
    for (int i = 0; i < profile->gpu_count; i++)
        part += !strcmp(profile->gpus[i].pci, gpu->pci);
    O3_FORMAT(pool->name, "gpu:%s", *gpu->pci ? gpu->pci : gpu->name);
    if (part || *gpu->part)
        O3_FORMAT(pool->name, "gpu:%s/%d", gpu->pci, part);
    O3_FORMAT(pool->source, "%s", gpu->source);
    return true;
}

static const char *shown(const o3_gpu *gpu)
{
    return *gpu->part ? gpu->part : gpu->name;
}

static void take(o3_profile *profile, const o3_config *config, gpu_found *found)
{
    o3_gpu gpu = found->gpu;
    double limit = config->hardware_monitoring.safety_thresholds.max_temperature_c;
    gpu.max_temperature_c = found->has_sensor && limit > 0 ? fmin(limit, found->own_limit_c) : found->own_limit_c;
    if (found->host_memory)
        gpu.pool = 0;
    else if (!add_gpu_pool(profile, config, found, &gpu))
        O3_FORMAT(gpu.aside, "there is no room for another pool in the profile (%d are)", O3_POOLS_MAX);
    if (*gpu.aside) {
        O3_COPY(found->gpu.aside, gpu.aside);
        return;
    }
    profile->gpus[profile->gpu_count++] = gpu;
    if (gpu.pool && found->used_bytes < 0)
        o3_note(&profile->notes, "GPU %s: how much of its memory is used cannot be read, so its limit cannot be watched",
                shown(&gpu));
    if (isnan(gpu.max_temperature_c) && !gpu.asleep)
        o3_note(&profile->notes, "GPU %s has no temperature sensor that can be read: its limit cannot be watched",
                shown(&gpu));
}

void hw_gpus_read(o3_profile *profile, const char *root, const o3_config *config)
{
    o3_auto(free) gpu_list *list = o3_alloc(1, sizeof(*list));
    list->root = root ? root : "/";
    list->ram_bytes = profile->ram_bytes;
    gpu_find(list);
    for (int i = 0; i < list->count; i++) {
        const char *why = unusable(&list->at[i]);
        if (why && !*list->at[i].gpu.aside)
            O3_COPY(list->at[i].gpu.aside, why);
    }
    gpu_apply_rules(list, profile->engine_env);
    for (int i = 0; i < list->count; i++)
        if (!*list->at[i].gpu.aside)
            take(profile, config, &list->at[i]);
    profile->gpus_seen = profile->gpu_count;
    for (int i = 0; i < list->count; i++) {
        const o3_gpu *gpu = &list->at[i].gpu;
        if (!*gpu->aside)
            continue;
        profile->gpus[profile->gpus_seen++] = *gpu;
        o3_note(&profile->notes, "GPU %s (%s) is not counted: %s", shown(gpu), *gpu->pci ? gpu->pci : "no address",
                gpu->aside);
    }
    for (int i = 0; i < list->notes.count; i++)
        o3_note(&profile->notes, "%s", list->notes.text[i]);
}
