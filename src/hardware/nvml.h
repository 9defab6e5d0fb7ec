/* SPDX-License-Identifier: Apache-2.0 */
/* hardware, inside: NVIDIA's management library, loaded when it is there, with prototypes of our own. Each call is
 * looked up by itself, newest name first: what an older driver lacks costs one number and not the library. The stub
 * of the tests is built against the same structs. */
#ifndef O3_HARDWARE_NVML_H
#define O3_HARDWARE_NVML_H

#include <stdint.h>

enum {
    NVML_OK = 0, NVML_NOT_SUPPORTED = 3, NVML_NO_PERMISSION = 4, NVML_NOT_FOUND = 6, NVML_INSUFFICIENT_SIZE = 7,
    NVML_DRIVER_NOT_LOADED = 9, NVML_FUNCTION_NOT_FOUND = 13, NVML_GPU_IS_LOST = 15, NVML_RESET_REQUIRED = 16,
    NVML_OPERATING_SYSTEM = 17, NVML_LIB_RM_VERSION_MISMATCH = 18, NVML_VERSION_MISMATCH = 25, NVML_NOT_READY = 27,
    NVML_UNKNOWN = 999,
};
enum { NVML_INIT_NO_GPUS = 1, NVML_INIT_NO_ATTACH = 2 };
enum { NVML_CLOCK_MEMORY = 2, NVML_MIG_ENABLED = 1 };

/* sizeof | revision << 24 */
#define NVML_VERSIONED(type, revision) ((unsigned)sizeof(type) | (revision) << 24)

typedef struct nvml_device *nvml_device;
typedef struct { uint64_t total, free, used; } nvml_memory_v1; /* used includes reserved */
typedef struct { unsigned version; uint64_t total, reserved, free, used; } nvml_memory_v2;
typedef struct { unsigned gpu, memory; } nvml_utilization; /* per cent of time */
typedef struct { unsigned version, sensor; int temperature; } nvml_temperature;
typedef struct { unsigned version; int margin; } nvml_margin;
typedef struct { unsigned pid; uint64_t bytes; } nvml_process_v1;
typedef struct { unsigned pid; uint64_t bytes; unsigned gpu_instance, compute_instance; } nvml_process_v2;
typedef struct {
    char legacy_bus_id[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} nvml_pci;

/* X(member, arguments, names from the newest on) */
#define NVML_CALLS(X)                                                                                                 \
    X(init_with_flags, (unsigned), "nvmlInitWithFlags")                                                               \
    X(init, (void), "nvmlInit_v2", "nvmlInit")                                                                        \
    X(shutdown, (void), "nvmlShutdown")                                                                               \
    X(driver_version, (char *, unsigned), "nvmlSystemGetDriverVersion")                                               \
    X(count, (unsigned *), "nvmlDeviceGetCount_v2", "nvmlDeviceGetCount")                                             \
    X(by_index, (unsigned, nvml_device *), "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex")             \
    X(by_pci, (const char *, nvml_device *), "nvmlDeviceGetHandleByPciBusId_v2", "nvmlDeviceGetHandleByPciBusId")     \
    X(name, (nvml_device, char *, unsigned), "nvmlDeviceGetName")                                                     \
    X(uuid, (nvml_device, char *, unsigned), "nvmlDeviceGetUUID")                                                     \
    X(pci, (nvml_device, nvml_pci *), "nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPciInfo_v2")                           \
    X(memory_v2, (nvml_device, nvml_memory_v2 *), "nvmlDeviceGetMemoryInfo_v2")                                       \
    X(memory_v1, (nvml_device, nvml_memory_v1 *), "nvmlDeviceGetMemoryInfo")                                          \
    X(utilization, (nvml_device, nvml_utilization *), "nvmlDeviceGetUtilizationRates")                                \
    X(temperature_v, (nvml_device, nvml_temperature *), "nvmlDeviceGetTemperatureV")                                  \
    X(temperature, (nvml_device, unsigned, unsigned *), "nvmlDeviceGetTemperature")                                   \
    X(margin, (nvml_device, nvml_margin *), "nvmlDeviceGetMarginTemperature")                                         \
    X(power, (nvml_device, unsigned *), "nvmlDeviceGetPowerUsage")                                                    \
    X(reasons, (nvml_device, unsigned long long *), "nvmlDeviceGetCurrentClocksEventReasons",                         \
      "nvmlDeviceGetCurrentClocksThrottleReasons")                                                                    \
    X(max_clock, (nvml_device, unsigned, unsigned *), "nvmlDeviceGetMaxClockInfo")                                    \
    X(bus_width, (nvml_device, unsigned *), "nvmlDeviceGetMemoryBusWidth")                                            \
    X(processes_v2, (nvml_device, unsigned *, nvml_process_v2 *), "nvmlDeviceGetComputeRunningProcesses_v3",          \
      "nvmlDeviceGetComputeRunningProcesses_v2")                                                                      \
    X(processes_v1, (nvml_device, unsigned *, nvml_process_v1 *), "nvmlDeviceGetComputeRunningProcesses")             \
    X(mig_mode, (nvml_device, unsigned *, unsigned *), "nvmlDeviceGetMigMode")                                        \
    X(mig_count, (nvml_device, unsigned *), "nvmlDeviceGetMaxMigDeviceCount")                                         \
    X(mig_at, (nvml_device, unsigned, nvml_device *), "nvmlDeviceGetMigDeviceHandleByIndex")

typedef struct nvml_api {
    void *library;
#define NVML_MEMBER(member, arguments, ...) int(*member) arguments;
    NVML_CALLS(NVML_MEMBER)
#undef NVML_MEMBER
} nvml_api;

/* Loads and starts it. attach false: GPUs that are asleep stay so. 0, or the code of why not; -1: no such library. */
int nvml_open(nvml_api *api, bool attach);
void nvml_close(nvml_api *api);
const char *nvml_text(int code); /* a sentence's end */
/* Free of the struct's revision. used: without what the driver keeps, where it tells the two apart. */
int nvml_memory(const nvml_api *api, nvml_device device, int64_t *ret_total, int64_t *ret_used);

#endif
