/* SPDX-License-Identifier: Apache-2.0 */
/* AMD by the kernel driver's files. The four mem_info files are the memory manager's own counters: they wake no card.
 * Everything else may, or may take a message to the firmware: left alone while the card is suspended, and asked with
 * the slow readings only. */
#include <limits.h>
#include <unistd.h>

#include "hardware/fdinfo.h"
#include "hardware/hardware_impl.h"
#include "hardware/gpu.h"

#define SENSORS_MAX 3
#define SMALL_CARVE_OUT (INT64_C(4) << 30) /* the engine's own rule for an APU that is not known by its number */
#define LARGE_GTT (INT64_C(8) << 30)
#define KEEP_CLEAR_C 5
#define METRICS_MAX 4096 /* a page: no attribute is larger */

typedef struct sensor {
    char input[24];
    bool edge;      /* the one that the configured limit is meant for */
    double limit_c; /* its own critical point less 5; NaN unknown */
} sensor;

/* By label, never by number: MI300 has no edge. A chip without labels has one sensor, and that is the edge. */
static int find_sensors(const char *root, const char *hwmon, sensor sensors[SENSORS_MAX])
{
    static const char *const labels[SENSORS_MAX] = {"edge", "junction", "mem"};
    int count = 0;
    for (int i = 1; i <= SENSORS_MAX; i++) {
        char name[24], label[24];
        O3_FORMAT(name, "temp%d_label", i);
        bool labelled = gpu_device_line(root, hwmon, name, label, sizeof(label)), known = !labelled && i == 1;
        for (int j = 0; labelled && j < SENSORS_MAX; j++)
            known |= !strcmp(label, labels[j]);
        sensor *at = &sensors[count];
        O3_FORMAT(at->input, "temp%d_input", i);
        if (!known || gpu_device_i64(root, hwmon, at->input) < 0)
            continue;
        O3_FORMAT(name, "temp%d_crit", i);
        int64_t critical = gpu_device_i64(root, hwmon, name);
        at->limit_c = critical > 0 ? (double)critical / 1000 - KEEP_CLEAR_C : NAN;
        at->edge = !labelled || !strcmp(label, labels[0]);
        count++;
    }
    return count;
}

static bool read_metrics(int fd, gpu_metrics *ret_metrics)
{
    uint8_t bytes[METRICS_MAX];
    ssize_t len = fd < 0 ? -1 : pread(fd, bytes, sizeof(bytes), 0);
    return len > 0 && gpu_metrics_decode(bytes, (size_t)len, ret_metrics);
}

/* What an awake card tells of itself. */
static void describe_awake(gpu_found *found, const char *root)
{
    o3_gpu *gpu = &found->gpu;
    char hwmon[512], path[512], blob[METRICS_MAX];
    sensor sensors[SENSORS_MAX];
    gpu_metrics metrics;
    int count = gpu_device_hwmon(root, gpu->dir, hwmon, sizeof(hwmon)) ? find_sensors(root, hwmon, sensors) : 0;
    for (int i = 0; i < count; i++) {
        found->has_sensor |= sensors[i].edge;
        found->own_limit_c = fmin(found->own_limit_c, sensors[i].limit_c);
    }
    O3_FORMAT(path, "%s/gpu_metrics", gpu->dir);
    int64_t len = o3_read_text(root, path, blob, sizeof(blob));
    if (len > 0 && gpu_metrics_decode((const uint8_t *)blob, (size_t)len, &metrics))
        gpu->bandwidth_bytes_per_s = metrics.bandwidth_bytes_per_s;
    gpu_device_line(root, gpu->dir, "product_name", gpu->name, sizeof(gpu->name));
}

/* An APU gives the engine its carve-out, or, where the driver may map more of the system's RAM than that, both. The
 * carve-out is not part of the RAM that the kernel knows; what is mapped counts there as well. */
void gpu_set_memory(gpu_found *found, bool vram_vendor, int64_t ram_bytes)
{
    o3_gpu *gpu = &found->gpu;
    int64_t vram = found->vram_bytes, gtt = found->gtt_bytes;
    bool small = !vram_vendor && vram >= 0 && vram <= SMALL_CARVE_OUT && gtt >= LARGE_GTT && gtt / 4 >= vram;
    gpu->integrated = gpu_is_apu(found->device_id) || small;
    found->total_bytes = vram;
    found->used_bytes = found->vram_used_bytes;
    if (!gpu->integrated)
        return;
    gpu->own_bytes = vram;
    gpu->shared_bytes = gtt;
    gpu->unified = gtt < 0 ? vram <= SMALL_CARVE_OUT : gtt > vram;
    if (!gpu->unified)
        return;
    bool known = vram >= 0 && gtt >= 0 && vram < INT64_MAX / 4 && gtt < INT64_MAX / 4;
    found->total_bytes = known ? vram + gtt : -1;
    found->used_bytes = found->vram_used_bytes < 0 || found->gtt_used_bytes < 0
                            ? -1 : found->vram_used_bytes + found->gtt_used_bytes;
    if (known && ram_bytes >= 0 && found->total_bytes > ram_bytes + vram)
        found->total_bytes = ram_bytes + vram;
}

static void read_memory(gpu_found *found, const char *root, int64_t ram_bytes)
{
    char text[64];
    const char *dir = found->gpu.dir;
    found->vram_bytes = gpu_device_i64(root, dir, "mem_info_vram_total");
    found->vram_used_bytes = gpu_device_i64(root, dir, "mem_info_vram_used");
    found->gtt_bytes = gpu_device_i64(root, dir, "mem_info_gtt_total");
    found->gtt_used_bytes = gpu_device_i64(root, dir, "mem_info_gtt_used");
    gpu_set_memory(found, gpu_device_line(root, dir, "mem_info_vram_vendor", text, sizeof(text)), ram_bytes);
}

static void find(gpu_list *list)
{
    char id[24], version[24];
    for (int i = 0; i < list->count; i++) {
        gpu_found *found = &list->at[i];
        o3_gpu *gpu = &found->gpu;
        if (gpu->vendor != O3_GPU_AMD || found->told || !*gpu->dir)
            continue;
        read_memory(found, list->root, list->ram_bytes);
        if (found->vram_bytes <= 0)
            continue;
        found->told = true;
        if (hw_read_line(list->root, "/sys/module/amdgpu/version", version, sizeof(version)))
            O3_FORMAT(gpu->driver, "amdgpu %s", version);
        if (gpu_device_line(list->root, gpu->dir, "unique_id", id, sizeof(id)))
            O3_FORMAT(gpu->uuid, "GPU-%s", id);
        if (!gpu->asleep)
            describe_awake(found, list->root);
    }
}

typedef struct amd_watch {
    char root[PATH_MAX], dir[sizeof(((o3_gpu *)0)->dir)], pci[sizeof(((o3_gpu *)0)->pci)];
    bool unified;
    int vram, gtt, status, busy, metrics, power; /* descriptors; -1 not there */
    double cap_w; /* NaN unknown */
    bool sensors_known;
    int sensor_count;
    sensor sensors[SENSORS_MAX];
    int inputs[SENSORS_MAX];
    int64_t residency[3]; /* when last read */
} amd_watch;

static void *watch_open(const char *root, const o3_gpu *gpu)
{
    amd_watch *w = o3_alloc(1, sizeof(*w));
    O3_COPY(w->root, root ? root : "");
    O3_COPY(w->dir, gpu->dir);
    O3_COPY(w->pci, gpu->pci);
    w->unified = gpu->unified;
    w->vram = gpu_device_open(root, gpu->dir, "mem_info_vram_used");
    w->gtt = gpu->unified ? gpu_device_open(root, gpu->dir, "mem_info_gtt_used") : -1;
    w->status = gpu_device_open(root, gpu->dir, "power/runtime_status");
    w->busy = gpu_device_open(root, gpu->dir, "gpu_busy_percent");
    w->metrics = gpu_device_open(root, gpu->dir, "gpu_metrics");
    w->power = -1;
    w->cap_w = NAN;
    for (int i = 0; i < O3_COUNT(w->residency); i++)
        w->residency[i] = -1;
    return w;
}

/* Once, and not before the card is awake. */
static void watch_sensors(amd_watch *w)
{
    char hwmon[512];
    w->sensors_known = true;
    if (!gpu_device_hwmon(w->root, w->dir, hwmon, sizeof(hwmon)))
        return;
    w->sensor_count = find_sensors(w->root, hwmon, w->sensors);
    for (int i = 0; i < w->sensor_count; i++)
        w->inputs[i] = gpu_device_open(w->root, hwmon, w->sensors[i].input);
    w->power = gpu_device_open(w->root, hwmon, "power1_average");
    if (w->power < 0)
        w->power = gpu_device_open(w->root, hwmon, "power1_input");
    int64_t cap = gpu_device_i64(w->root, hwmon, "power1_cap");
    w->cap_w = cap > 0 ? (double)cap / 1e6 : NAN;
}

static void watch_close(void *at)
{
    amd_watch *w = at;
    int fds[] = {w->vram, w->gtt, w->status, w->busy, w->metrics, w->power};
    for (int i = 0; i < O3_COUNT(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    for (int i = 0; i < w->sensor_count; i++)
        if (w->inputs[i] >= 0)
            close(w->inputs[i]);
    free(w);
}

/* Counters: that one grew since the last reading says what held the chip back meanwhile. */
static int throttle_of(amd_watch *w, const gpu_metrics *metrics)
{
    static const int flags[] = {GPU_THROTTLE_POWER, GPU_THROTTLE_THERMAL, GPU_THROTTLE_HARDWARE};
    int throttle = metrics->throttle;
    for (int i = 0; i < O3_COUNT(flags); i++) {
        if (metrics->residency[i] >= 0 && w->residency[i] >= 0)
            throttle = (throttle < 0 ? 0 : throttle) | (metrics->residency[i] > w->residency[i] ? flags[i] : 0);
        w->residency[i] = metrics->residency[i];
    }
    return throttle;
}

static void read_slow(amd_watch *w, gpu_reading *r)
{
    gpu_metrics metrics = {NAN, NAN, NAN, NAN, NAN, -1, {-1, -1, -1}};
    if (!w->sensors_known)
        watch_sensors(w);
    for (int i = 0; i < w->sensor_count; i++) {
        int64_t value = gpu_fd_i64(w->inputs[i]);
        double celsius = (double)value / 1000, margin = w->sensors[i].limit_c - celsius;
        if (value <= 0 || celsius > 200)
            continue;
        if (w->sensors[i].edge)
            r->temperature_c = celsius;
        if (isnan(r->hot_c) || margin < r->margin_c) {
            r->margin_c = margin;
            r->hot_c = celsius;
        }
    }
    read_metrics(w->metrics, &metrics);
    r->throttle = throttle_of(w, &metrics);
    if (isnan(r->temperature_c))
        r->temperature_c = metrics.temperature_c;
    int64_t power = gpu_fd_i64(w->power), busy = gpu_fd_i64(w->busy);
    r->power_w = power >= 0 ? (double)power / 1e6 : metrics.power_w;
    r->busy_frac = busy >= 0 && busy <= 100 ? (double)busy / 100 : metrics.busy_frac;
    /* Some chips show 100 % for as long as a program has the device open. */
    if (r->busy_frac >= 1 && r->power_w < 0.25 * w->cap_w)
        r->busy_frac = NAN;
}

static void watch_read(void *at, int what, int pid, gpu_reading *ret_reading)
{
    amd_watch *w = at;
    gpu_reading *r = ret_reading;
    if (what & GPU_READ_MEMORY) {
        int64_t vram = gpu_fd_i64(w->vram), gtt = w->gtt >= 0 ? gpu_fd_i64(w->gtt) : 0;
        r->used_bytes = vram < 0 || gtt < 0 ? -1 : vram + gtt;
    }
    if (what & GPU_READ_PROCESSES)
        r->runner_bytes = fdinfo_bytes(w->root, pid, w->pci, w->unified);
    if (!(what & GPU_READ_SLOW))
        return;
    r->busy_frac = r->temperature_c = r->hot_c = r->margin_c = r->power_w = NAN;
    r->throttle = -1;
    r->asleep = gpu_fd_suspended(w->status);
    if (!r->asleep)
        read_slow(w, r);
}

const gpu_source gpu_amdgpu = {.name = "amdgpu", .vendor = O3_GPU_AMD, .find = find,
                               .open = watch_open, .read = watch_read, .close = watch_close};
