/* SPDX-License-Identifier: Apache-2.0 */
/* Intel (i915, xe), as far as files tell without privilege: the size of a card's memory is that of its largest window on
 * the bus; how much of it is used is not told, so that its limit cannot be watched, only what of it is the runner's. A GPU
 * in the CPU has the RAM and no sensors. Sensors of a suspended card would wake it. */
#include <limits.h>
#include <unistd.h>

#include "hardware/fdinfo.h"
#include "hardware/hardware_impl.h"
#include "hardware/gpu.h"

#define WINDOW_MIN (INT64_C(1) << 30) /* smaller ones are registers, or a card without a resizable window */
#define INTEGRATED_AT "0000:00:02.0"
#define KEEP_CLEAR_C 5

/* Lines "0xSTART 0xEND 0xFLAGS". */
static int64_t largest_window(const char *text)
{
    int64_t largest = -1;
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        unsigned long long start, end;
        if (sscanf(line, "%llx %llx", &start, &end) != 2 || end <= start || end - start >= UINT64_C(1) << 48)
            continue;
        int64_t size = (int64_t)(end - start + 1);
        largest = size > largest ? size : largest;
    }
    return largest >= WINDOW_MIN ? largest : -1;
}

/* The chip's: i915 has one and gives it no label, xe calls it pkg and has others beside it. 0: none. */
static int sensor_number(const char *root, const char *hwmon)
{
    char name[24], label[16];
    for (int i = 1; i <= 3; i++) {
        O3_FORMAT(name, "temp%d_label", i);
        bool labelled = gpu_device_line(root, hwmon, name, label, sizeof(label));
        O3_FORMAT(name, "temp%d_input", i);
        if ((labelled ? !strcmp(label, "pkg") : true) && gpu_device_i64(root, hwmon, name) >= 0)
            return i;
    }
    return 0;
}

static void find_sensor(gpu_found *found, const char *root)
{
    char hwmon[512], name[24];
    int number = gpu_device_hwmon(root, found->gpu.dir, hwmon, sizeof(hwmon)) ? sensor_number(root, hwmon) : 0;
    O3_FORMAT(name, "temp%d_crit", number);
    int64_t critical = number ? gpu_device_i64(root, hwmon, name) : -1;
    found->has_sensor = number > 0;
    found->own_limit_c = critical > 0 ? (double)critical / 1000 - KEEP_CLEAR_C : NAN;
}

static void find(gpu_list *list)
{
    for (int i = 0; i < list->count; i++) {
        gpu_found *found = &list->at[i];
        o3_gpu *gpu = &found->gpu;
        char path[512], text[4096];
        if (gpu->vendor != O3_GPU_INTEL || found->told || !*gpu->dir)
            continue;
        found->told = true;
        gpu->integrated = gpu->unified = found->host_memory = !strcmp(gpu->pci, INTEGRATED_AT);
        O3_FORMAT(path, "%s/resource", gpu->dir);
        if (!gpu->integrated && o3_read_text(list->root, path, text, sizeof(text)) > 0)
            found->total_bytes = largest_window(text);
        if (!gpu->asleep)
            find_sensor(found, list->root);
    }
}

typedef struct intel_watch {
    char root[PATH_MAX], pci[sizeof(((o3_gpu *)0)->pci)];
    bool has_memory;
    int status, temperature, energy; /* descriptors; -1 not there */
    double limit_c;                  /* NaN unknown */
    int64_t energy_uj, at_ns;        /* when last read; -1 not yet */
} intel_watch;

static void *watch_open(const char *root, const o3_gpu *gpu)
{
    char hwmon[512], name[24];
    bool sensors = !gpu->asleep && gpu_device_hwmon(root, gpu->dir, hwmon, sizeof(hwmon));
    if (!sensors && gpu->unified)
        return NULL;
    intel_watch *w = o3_alloc(1, sizeof(*w));
    O3_COPY(w->root, root ? root : "");
    O3_COPY(w->pci, gpu->pci);
    w->has_memory = !gpu->unified;
    w->status = gpu_device_open(root, gpu->dir, "power/runtime_status");
    w->temperature = w->energy = -1;
    w->limit_c = NAN;
    w->energy_uj = -1;
    if (!sensors)
        return w;
    int number = sensor_number(root, hwmon);
    O3_FORMAT(name, "temp%d_input", number);
    w->temperature = gpu_device_open(root, hwmon, name);
    w->energy = gpu_device_open(root, hwmon, "energy1_input");
    O3_FORMAT(name, "temp%d_crit", number);
    int64_t critical = gpu_device_i64(root, hwmon, name);
    w->limit_c = critical > 0 ? (double)critical / 1000 - KEEP_CLEAR_C : NAN;
    return w;
}

static void watch_close(void *at)
{
    intel_watch *w = at;
    int fds[] = {w->status, w->temperature, w->energy};
    for (int i = 0; i < O3_COUNT(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(w);
}

static void watch_read(void *at, int what, int pid, gpu_reading *ret_reading)
{
    intel_watch *w = at;
    gpu_reading *r = ret_reading;
    if (what & GPU_READ_PROCESSES)
        r->runner_bytes = w->has_memory ? fdinfo_bytes(w->root, pid, w->pci, false) : -1;
    if (!(what & GPU_READ_SLOW))
        return;
    r->temperature_c = r->hot_c = r->margin_c = r->power_w = NAN;
    r->asleep = gpu_fd_suspended(w->status);
    if (r->asleep)
        return;
    int64_t milli = gpu_fd_i64(w->temperature), energy = gpu_fd_i64(w->energy), now_ns = o3_now_ns();
    if (milli > 0 && milli < 200000) {
        r->temperature_c = r->hot_c = (double)milli / 1000;
        r->margin_c = w->limit_c - r->temperature_c;
    }
    if (energy >= 0 && w->energy_uj >= 0 && energy >= w->energy_uj && now_ns > w->at_ns)
        r->power_w = (double)(energy - w->energy_uj) * 1e3 / (double)(now_ns - w->at_ns);
    w->energy_uj = energy;
    w->at_ns = now_ns;
}

const gpu_source gpu_intel = {.name = "sysfs", .vendor = O3_GPU_INTEL, .find = find,
                              .open = watch_open, .read = watch_read, .close = watch_close};
