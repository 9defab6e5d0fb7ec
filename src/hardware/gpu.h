/* SPDX-License-Identifier: Apache-2.0 */
/* hardware, GPUs: who can tell what of a GPU. A source is one file with one struct of functions; gpu.c has the one list
 * of them. Discovery asks them in turn, each for what the earlier ones left open; the monitor asks the source that told
 * a GPU's memory again and again. What cannot be told stays -1 or NaN: never 0. Sources that are `live` ask a library
 * or a program of this very machine and are left out below another root.
 *
 * For tests only: the environment variable O3_TEST_NVML names a library to load in place of NVIDIA's, and makes live
 * sources answer below any root. */
#ifndef O3_HARDWARE_GPU_H
#define O3_HARDWARE_GPU_H

#include "base/base.h"
#include "o3/hardware.h"

enum { GPU_THROTTLE_POWER = 1, GPU_THROTTLE_THERMAL = 2, GPU_THROTTLE_HARDWARE = 4 };
enum {
    GPU_READ_MEMORY = 1,    /* memory and, where it is cheap, use: microseconds */
    GPU_READ_SLOW = 2,      /* temperature, power, throttling: by messages to the firmware */
    GPU_READ_PROCESSES = 4, /* some milliseconds: every two seconds at most */
};

typedef struct gpu_reading {
    int64_t used_bytes;   /* of its pool; -1 unknown */
    int64_t runner_bytes; /* of it the asked process's; -1 unknown */
    double busy_frac;     /* share of time with work on it; an average of the driver's; NaN unknown */
    double temperature_c; /* of the sensor that the configured limit is meant for: GPU, edge; NaN unknown */
    double hot_c;         /* of the sensor that is nearest to its own limit (junction, memory); NaN unknown */
    double margin_c;      /* degrees that are left to that limit less 5; NaN unknown */
    double power_w;       /* NaN unknown; on an APU with the CPU's */
    int throttle;         /* GPU_THROTTLE_... now or since the last reading; -1 unknown */
    bool asleep, lost;    /* lost: the driver gave the device up */
} gpu_reading;
#define GPU_READING_UNKNOWN                                                                                     \
    ((gpu_reading){.used_bytes = -1, .runner_bytes = -1, .busy_frac = NAN, .temperature_c = NAN, .hot_c = NAN, \
                   .margin_c = NAN, .power_w = NAN, .throttle = -1})

/* A GPU while it is being described. */
typedef struct gpu_found {
    o3_gpu gpu;
    unsigned device_id;              /* PCI; 0 unknown */
    int64_t total_bytes, used_bytes; /* what becomes its pool; -1 unknown */
    bool has_sensor;                 /* for the configured limit */
    double own_limit_c;              /* the lowest of its own limits less 5; NaN unknown */
    bool host_memory;                /* it has no memory of its own: its pool is the RAM */
    bool told;                       /* some source has described it: the others leave it alone */
    char label[24];                  /* a program's own name for it, "card0"; "" none */
    int64_t vram_bytes, vram_used_bytes, gtt_bytes, gtt_used_bytes; /* AMD, as told; -1 unknown */
} gpu_found;

typedef struct gpu_list {
    const char *root;
    int64_t ram_bytes; /* -1 unknown */
    int count;
    gpu_found at[O3_GPUS_MAX];
    o3_notes notes;
} gpu_list;
gpu_found *gpu_add(gpu_list *list, o3_gpu_vendor vendor, const char *pci); /* NULL: no room, noted */
/* AMD: what of vram and gtt the engine can use. vram_vendor: the driver names who made the memory; it does for cards. */
void gpu_set_memory(gpu_found *found, bool vram_vendor, int64_t ram_bytes);
/* What no source fills in by itself: a name from the PCI numbers, and the data sheet's bandwidth where it is known. */
void gpu_from_sheet(gpu_found *found);
bool gpu_is_apu(unsigned device_id); /* AMD's: a known one */
gpu_found *gpu_by_pci(gpu_list *list, const char *pci); /* the whole GPU; NULL */
void gpu_find(gpu_list *list); /* root and ram_bytes are set */

typedef struct gpu_source {
    const char *name; /* as in o3_gpu.source */
    o3_gpu_vendor vendor;
    bool live;
    int period_ms;    /* asked no more often than this while watching; 0 = with every tick */
    void (*find)(gpu_list *list);
    /* Watching. open gives NULL if the GPU cannot be watched; read changes what `what` (GPU_READ_...) asks for and may
     * take long; pid: whose memory is asked for, -1 nobody's. */
    void *(*open)(const char *root, const o3_gpu *gpu);
    void (*read)(void *at, int what, int pid, gpu_reading *ret_reading);
    void (*close)(void *at);
} gpu_source;
extern const gpu_source gpu_nvml, gpu_amdgpu, gpu_intel, gpu_nvidia_smi, gpu_rocm_smi, gpu_amd_smi;
const gpu_source *gpu_source_of(const o3_gpu *gpu); /* NULL: nobody tells its memory */
bool gpu_live(const char *root);
const char *gpu_test_library(void); /* NULL: none */

/* A card's own files: a number or a line of one (-1, false: not there, EBUSY, EPERM, empty, negative), the directory of
 * its sensors (whose number means nothing), one to be kept open (-1) and read from its beginning again and again. */
int64_t gpu_device_i64(const char *root, const char *dir, const char *name);
bool gpu_device_line(const char *root, const char *dir, const char *name, char *dst, size_t dst_size);
bool gpu_device_hwmon(const char *root, const char *dir, char *dst, size_t dst_size);
int gpu_device_open(const char *root, const char *dir, const char *name);
int64_t gpu_fd_i64(int fd);
bool gpu_fd_suspended(int fd); /* of power/runtime_status */

/* "00000000:0C:00.0" of NVML, "0000:0c:00.0" of sysfs -> "0000:0c:00.0"; false if it is no PCI address. */
bool gpu_pci_normal(const char *text, char dst[20]);

/* Which of these does the engine use? Sets `aside` on those that its environment or its own rules leave out.
 * env: "K=V\n" lines. Pure. */
void gpu_apply_rules(gpu_list *list, const char *env);

/* amdgpu's gpu_metrics blob, any revision. */
typedef struct gpu_metrics {
    double temperature_c, hotspot_c, busy_frac, power_w, bandwidth_bytes_per_s; /* NaN unknown */
    int throttle;                           /* GPU_THROTTLE_...; -1: not told by this revision */
    int64_t residency[3];                   /* counters: power, thermal, hardware; -1 not in this revision */
} gpu_metrics;
bool gpu_metrics_decode(const uint8_t *bytes, size_t len, gpu_metrics *ret_metrics); /* false: unknown revision, cut */

/* Tables of the vendors' programs, by column name, whatever came with them. Values are strings; "" and N/A are unknown.
 * Calls `row` for each; a row's cells are in the order of `columns`, NULL where the table has no such column. */
#define GPU_COLUMNS_MAX 16
typedef void gpu_row(void *ctx, const char *const *cells);
int gpu_csv(const char *text, const char *const *columns, int column_count, gpu_row *row, void *ctx); /* rows */
double gpu_number(const char *cell, const char *unit);  /* "81559 MiB" with unit "MiB"; NaN unknown */
void gpu_nvidia_smi_parse(gpu_list *list, const char *text);
void gpu_rocm_smi_parse(gpu_list *list, const char *text); /* CSV, as --showmeminfo and others print it, or JSON */
void gpu_amd_smi_parse(gpu_list *list, const char *text);  /* CSV or JSON of `metric` */

/* Runs a vendor's program (found along PATH) for at most timeout_ms and takes max bytes of what it prints; kills it and
 * its children after that. NULL if there is none, it was too slow or printed more. The caller frees. */
char *gpu_command(const char *const argv[], int timeout_ms, size_t max);

#endif
