/* SPDX-License-Identifier: Apache-2.0 */
/* NVIDIA by its management library. Memory and utilisation cost microseconds; what the firmware serves (temperature,
 * power, reasons) comes with the slow readings; the list of processes takes milliseconds. */
#include "hardware/gpu.h"
#include "hardware/nvml.h"

#define MIG_MAX 8
#define PROCESSES_MAX 256
#define KEEP_CLEAR_C 5
#define BUS_BITS_MAX 16384

/* Bits of the clock event reasons. That the power cap holds the clock is normal for a loaded card. */
static const struct {
    unsigned long long bits;
    int flag;
} reasons[] = {{0x4, GPU_THROTTLE_POWER}, {0x20 | 0x40, GPU_THROTTLE_THERMAL}, {0x8 | 0x80, GPU_THROTTLE_HARDWARE}};

/* The name without the GPU's own, "MIG 3g.40gb". */
static void part_name(const char *name, char *dst, size_t dst_size)
{
    const char *mig = strstr(name, "MIG ");
    o3_copy(dst, dst_size, mig ? mig : "MIG instance");
}

static double bandwidth_of(const nvml_api *api, nvml_device device)
{
    unsigned mhz = 0, bits = 0;
    if (!api->max_clock || !api->bus_width || api->max_clock(device, NVML_CLOCK_MEMORY, &mhz) != NVML_OK ||
        api->bus_width(device, &bits) != NVML_OK || !mhz || !bits || mhz > 100000 || bits > BUS_BITS_MAX)
        return NAN;
    return mhz * 1e6 * 2 * bits / 8; /* two transfers a clock, bits to bytes */
}

/* A chip that shares the host's memory answers "not supported", or 0, or a small wrong number. */
static bool has_no_memory(const o3_gpu *gpu, int code, int64_t total)
{
    return code == NVML_NOT_SUPPORTED || (code == NVML_OK && total <= 0) || strstr(gpu->name, "GB10") ||
           strstr(gpu->name, "Orin") || strstr(gpu->name, "nvgpu");
}

static void describe(const nvml_api *api, nvml_device device, const char *driver, gpu_found *found)
{
    o3_gpu *gpu = &found->gpu;
    unsigned celsius;
    nvml_temperature v = {.version = NVML_VERSIONED(nvml_temperature, 1)};
    if (api->name)
        api->name(device, gpu->name, sizeof(gpu->name));
    if (api->uuid)
        api->uuid(device, gpu->uuid, sizeof(gpu->uuid));
    O3_FORMAT(gpu->driver, "nvidia%s%s", *driver ? " " : "", driver);
    gpu->bandwidth_bytes_per_s = bandwidth_of(api, device);
    found->has_sensor = (api->temperature_v && api->temperature_v(device, &v) == NVML_OK) ||
                        (api->temperature && api->temperature(device, 0, &celsius) == NVML_OK);
    int code = nvml_memory(api, device, &found->total_bytes, &found->used_bytes);
    found->told = true;
    if (has_no_memory(gpu, code, found->total_bytes)) {
        gpu->integrated = gpu->unified = found->host_memory = true;
        found->total_bytes = found->used_bytes = -1;
    } else if (code != NVML_OK) {
        O3_COPY(gpu->aside, nvml_text(code));
    }
}

/* Each instance becomes a GPU of the list; the whole is set aside, for nothing runs on it. */
static void split(const nvml_api *api, nvml_device device, gpu_list *list, int whole)
{
    unsigned current = 0, pending = 0, count = 0;
    const gpu_found from = list->at[whole];
    if (!api->mig_mode || !api->mig_count || !api->mig_at || api->mig_mode(device, &current, &pending) != NVML_OK ||
        current != NVML_MIG_ENABLED || api->mig_count(device, &count) != NVML_OK)
        return;
    O3_COPY(list->at[whole].gpu.aside, "it is split into MIG instances");
    for (unsigned i = 0; i < count && i < MIG_MAX; i++) {
        nvml_device part;
        char name[96] = "";
        gpu_found *found = api->mig_at(device, i, &part) == NVML_OK ? gpu_add(list, O3_GPU_NVIDIA, from.gpu.pci) : NULL;
        if (!found)
            continue;
        *found = from;
        if (api->name)
            api->name(part, name, sizeof(name));
        part_name(name, found->gpu.part, sizeof(found->gpu.part));
        found->gpu.uuid[0] = found->gpu.aside[0] = '\0';
        if (api->uuid)
            api->uuid(part, found->gpu.uuid, sizeof(found->gpu.uuid));
        found->gpu.bandwidth_bytes_per_s = NAN; /* a share of the whole's that nobody tells */
        nvml_memory(api, part, &found->total_bytes, &found->used_bytes);
    }
}

static void take(const nvml_api *api, nvml_device device, const char *driver, gpu_list *list, gpu_found *found)
{
    describe(api, device, driver, found);
    if (!*found->gpu.aside)
        split(api, device, list, (int)(found - list->at));
}

/* Where the bus is not to be seen (WSL, some containers) the library's own list is all there is. */
static void take_all(const nvml_api *api, const char *driver, gpu_list *list)
{
    unsigned count = 0;
    if (!api->count || !api->by_index || api->count(&count) != NVML_OK)
        return;
    for (unsigned i = 0; i < count && i < O3_GPUS_MAX; i++) {
        nvml_device device;
        nvml_pci pci = {.bus_id = ""};
        char address[20] = "";
        if (api->by_index(i, &device) != NVML_OK)
            continue;
        if (api->pci && api->pci(device, &pci) == NVML_OK)
            gpu_pci_normal(pci.bus_id, address);
        gpu_found *found = gpu_add(list, O3_GPU_NVIDIA, address);
        if (found)
            take(api, device, driver, list, found);
    }
}

static void find(gpu_list *list)
{
    nvml_api api;
    char driver[32] = "";
    int listed = 0, asleep = 0;
    for (int i = 0; i < list->count; i++) {
        listed += list->at[i].gpu.vendor == O3_GPU_NVIDIA;
        asleep += list->at[i].gpu.vendor == O3_GPU_NVIDIA && list->at[i].gpu.asleep;
    }
    if (listed && listed == asleep)
        return;
    int code = nvml_open(&api, !asleep);
    if (code != NVML_OK && listed)
        o3_note(&list->notes, "NVIDIA's driver cannot be asked: %s", nvml_text(code));
    if (code != NVML_OK)
        return;
    if (api.driver_version)
        api.driver_version(driver, sizeof(driver));
    if (!listed)
        take_all(&api, driver, list);
    for (int i = 0, count = list->count; listed && i < count; i++) {
        gpu_found *found = &list->at[i];
        nvml_device device;
        if (found->gpu.vendor != O3_GPU_NVIDIA || found->gpu.asleep || found->told || !api.by_pci)
            continue;
        code = api.by_pci(found->gpu.pci, &device);
        if (code == NVML_OK)
            take(&api, device, driver, list, found);
        else
            O3_COPY(found->gpu.aside, nvml_text(code));
        found->told = true;
    }
    nvml_close(&api);
}

enum { OFF_UTILIZATION = 1, OFF_TEMPERATURE = 2, OFF_MARGIN = 4, OFF_POWER = 8, OFF_REASONS = 16, OFF_PROCESSES = 32,
       OFF_TEMPERATURE_V = 64 };

typedef struct nvml_watch {
    nvml_api api;
    nvml_device device, whole; /* device: the MIG instance where the GPU is split */
    bool has_memory;
    unsigned off;              /* OFF_...: not supported, not asked again */
    nvml_process_v2 processes[PROCESSES_MAX];
} nvml_watch;

static bool find_part(nvml_watch *w, const char *uuid)
{
    unsigned count = 0;
    char text[96];
    if (!w->api.mig_at || !w->api.mig_count || !w->api.uuid || w->api.mig_count(w->whole, &count) != NVML_OK)
        return false;
    for (unsigned i = 0; i < count && i < MIG_MAX; i++)
        if (w->api.mig_at(w->whole, i, &w->device) == NVML_OK &&
            w->api.uuid(w->device, text, sizeof(text)) == NVML_OK && !strncmp(text, uuid, sizeof(text)))
            return true;
    return false;
}

static void *watch_open(const char *root, const o3_gpu *gpu)
{
    nvml_watch *w = o3_alloc(1, sizeof(*w));
    (void)root;
    bool there = nvml_open(&w->api, false) == NVML_OK || nvml_open(&w->api, true) == NVML_OK;
    there = there && ((*gpu->pci && w->api.by_pci && w->api.by_pci(gpu->pci, &w->whole) == NVML_OK) ||
                      (!*gpu->pci && w->api.by_index && w->api.by_index(0, &w->whole) == NVML_OK));
    w->device = w->whole;
    if (!there || (*gpu->part && !find_part(w, gpu->uuid))) {
        nvml_close(&w->api);
        free(w);
        return NULL;
    }
    w->has_memory = !gpu->unified;
    return w;
}

static void watch_close(void *at)
{
    nvml_watch *w = at;
    nvml_close(&w->api);
    free(w);
}

static bool answered(nvml_watch *w, int code, unsigned off, gpu_reading *r)
{
    if (code == NVML_NOT_SUPPORTED || code == NVML_FUNCTION_NOT_FOUND)
        w->off |= off;
    r->lost |= code == NVML_GPU_IS_LOST || code == NVML_RESET_REQUIRED;
    return code == NVML_OK;
}

/* The old call is deprecated since the new one came, and the new one is missing before that. */
static void read_temperature(nvml_watch *w, gpu_reading *r)
{
    nvml_temperature v = {.version = NVML_VERSIONED(nvml_temperature, 1)};
    nvml_margin margin = {.version = NVML_VERSIONED(nvml_margin, 1)};
    unsigned celsius = 0;
    if (w->api.temperature_v && !(w->off & OFF_TEMPERATURE_V) &&
        answered(w, w->api.temperature_v(w->whole, &v), OFF_TEMPERATURE_V, r))
        r->temperature_c = v.temperature;
    else if (w->api.temperature && !(w->off & OFF_TEMPERATURE) &&
             answered(w, w->api.temperature(w->whole, 0, &celsius), OFF_TEMPERATURE, r))
        r->temperature_c = celsius;
    if (w->api.margin && !(w->off & OFF_MARGIN) && answered(w, w->api.margin(w->whole, &margin), OFF_MARGIN, r)) {
        r->margin_c = margin.margin - KEEP_CLEAR_C;
        r->hot_c = r->temperature_c; /* the sensor that is meant is not told, only what it has left */
    }
}

static void read_slow(nvml_watch *w, gpu_reading *r)
{
    unsigned milliwatts = 0;
    unsigned long long mask = 0;
    r->temperature_c = r->hot_c = r->margin_c = r->power_w = NAN;
    r->throttle = -1;
    read_temperature(w, r);
    if (w->api.power && !(w->off & OFF_POWER) && answered(w, w->api.power(w->whole, &milliwatts), OFF_POWER, r))
        r->power_w = milliwatts * 1e-3;
    if (!w->api.reasons || w->off & OFF_REASONS || !answered(w, w->api.reasons(w->whole, &mask), OFF_REASONS, r))
        return;
    r->throttle = 0;
    for (int i = 0; i < O3_COUNT(reasons); i++)
        r->throttle |= mask & reasons[i].bits ? reasons[i].flag : 0;
}

/* More processes than there is room for: unknown. Process numbers are the host's; in a container none may match. */
static int64_t process_bytes(nvml_watch *w, int pid, gpu_reading *r)
{
    unsigned count = PROCESSES_MAX;
    int64_t sum = -1;
    nvml_process_v1 *v1 = (nvml_process_v1 *)(void *)w->processes;
    bool newer = w->api.processes_v2;
    if (w->off & OFF_PROCESSES || (!newer && !w->api.processes_v1))
        return -1;
    int code = newer ? w->api.processes_v2(w->device, &count, w->processes) : w->api.processes_v1(w->device, &count, v1);
    if (!answered(w, code, OFF_PROCESSES, r) || count > PROCESSES_MAX)
        return -1;
    for (unsigned i = 0; i < count; i++) {
        uint64_t bytes = newer ? w->processes[i].bytes : v1[i].bytes;
        if ((int)(newer ? w->processes[i].pid : v1[i].pid) == pid && bytes <= INT64_MAX / 2)
            sum = (sum < 0 ? 0 : sum) + (int64_t)bytes;
    }
    return sum;
}

static void read_memory(nvml_watch *w, gpu_reading *r)
{
    nvml_utilization busy;
    int64_t total;
    r->lost = false;
    r->used_bytes = -1;
    r->busy_frac = NAN;
    if (w->has_memory)
        answered(w, nvml_memory(&w->api, w->device, &total, &r->used_bytes), 0, r);
    if (w->api.utilization && !(w->off & OFF_UTILIZATION) &&
        answered(w, w->api.utilization(w->device, &busy), OFF_UTILIZATION, r) && busy.gpu <= 100)
        r->busy_frac = busy.gpu / 100.0;
}

static void watch_read(void *at, int what, int pid, gpu_reading *ret_reading)
{
    if (what & GPU_READ_MEMORY)
        read_memory(at, ret_reading);
    if (what & GPU_READ_SLOW)
        read_slow(at, ret_reading);
    if (what & GPU_READ_PROCESSES)
        ret_reading->runner_bytes = pid > 0 ? process_bytes(at, pid, ret_reading) : -1;
}

const gpu_source gpu_nvml = {.name = "NVML", .vendor = O3_GPU_NVIDIA, .live = true, .find = find,
                             .open = watch_open, .read = watch_read, .close = watch_close};
