/* SPDX-License-Identifier: Apache-2.0 */
/* A library that looks like NVIDIA's and plays machines. Built twice: with OLD it lacks what drivers of 2021 lack.
 * It is strict where drivers are: a struct of the wrong revision is refused, and counted. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "hardware/nvml.h"
#include "nvml_stub.h"

#define MIB UINT64_C(1048576)
#define API __attribute__((visibility("default")))

struct nvml_device {
    int part; /* 0 the GPU, 1... its instances */
};
static struct nvml_device devices[4] = {{0}, {1}, {2}, {3}};
static atomic_int play, wrong_structs, sessions, calls_not_ready, attached;
static atomic_ullong used_mib = 19818;

API void nvml_stub_play(nvml_stub_machine machine, unsigned long long used)
{
    play = (int)machine;
    used_mib = used;
    calls_not_ready = 1;
}

API int nvml_stub_wrong_structs(void)
{
    return wrong_structs;
}

API int nvml_stub_sessions(void)
{
    return sessions;
}

API int nvml_stub_attached(void)
{
    return attached;
}

/* What any call on a device may answer today. */
static int device_state(nvml_device device)
{
    if (device < devices || device >= devices + 4)
        return 2;
    if (play == STUB_LOST)
        return NVML_GPU_IS_LOST;
    if (play == STUB_NOT_READY && atomic_exchange(&calls_not_ready, 0))
        return NVML_NOT_READY;
    if (play == STUB_HANGS)
        nanosleep(&(struct timespec){.tv_sec = 3}, NULL);
    return NVML_OK;
}

/* Of what the firmware answers. */
static int firmware_state(nvml_device device)
{
    if (play == STUB_SLOW)
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    return device_state(device);
}

API int nvmlInit_v2(void);
API int nvmlInit_v2(void)
{
    if (play == STUB_MISMATCH)
        return NVML_LIB_RM_VERSION_MISMATCH;
    sessions++;
    attached++;
    return NVML_OK;
}

API int nvmlShutdown(void);
API int nvmlShutdown(void)
{
    sessions--;
    return NVML_OK;
}

static int copy(char *dst, unsigned size, const char *text)
{
    if (strlen(text) >= size)
        return NVML_INSUFFICIENT_SIZE;
    strcpy(dst, text);
    return NVML_OK;
}

API int nvmlSystemGetDriverVersion(char *text, unsigned size);
API int nvmlSystemGetDriverVersion(char *text, unsigned size)
{
    return copy(text, size, "590.48.01");
}

API int nvmlDeviceGetCount_v2(unsigned *count);
API int nvmlDeviceGetCount_v2(unsigned *count)
{
    *count = 1;
    return NVML_OK;
}

API int nvmlDeviceGetHandleByIndex_v2(unsigned index, nvml_device *device);
API int nvmlDeviceGetHandleByIndex_v2(unsigned index, nvml_device *device)
{
    *device = devices;
    return index ? 2 : NVML_OK;
}

API int nvmlDeviceGetHandleByPciBusId_v2(const char *address, nvml_device *device);
API int nvmlDeviceGetHandleByPciBusId_v2(const char *address, nvml_device *device)
{
    unsigned domain, bus, slot;
    if (play == STUB_LOST_AT_START)
        return NVML_GPU_IS_LOST;
    *device = devices;
    return sscanf(address, "%x:%x:%x.0", &domain, &bus, &slot) == 3 && bus == 1 ? NVML_OK : NVML_NOT_FOUND;
}

API int nvmlDeviceGetName(nvml_device device, char *text, unsigned size);
API int nvmlDeviceGetName(nvml_device device, char *text, unsigned size)
{
    static const char *const parts[] = {"NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3 MIG 3g.40gb",
                                        "NVIDIA H100 80GB HBM3 MIG 2g.20gb", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"};
    return copy(text, size, play == STUB_GB10 ? "NVIDIA GB10" : parts[device->part]);
}

API int nvmlDeviceGetUUID(nvml_device device, char *text, unsigned size);
API int nvmlDeviceGetUUID(nvml_device device, char *text, unsigned size)
{
    char uuid[64];
    snprintf(uuid, sizeof(uuid), "%s-%08d-0000-0000-0000-000000000000", device->part ? "MIG" : "GPU", device->part);
    return copy(text, size, uuid);
}

API int nvmlDeviceGetPciInfo_v3(nvml_device device, nvml_pci *pci);
API int nvmlDeviceGetPciInfo_v3(nvml_device device, nvml_pci *pci)
{
    (void)device;
    strcpy(pci->bus_id, "00000000:01:00.0");
    return NVML_OK;
}

static const unsigned long long part_total_mib[] = {81559, 40192, 20096, 9984}, reserved_mib = 479;

static int memory_state(nvml_device device)
{
    int code = device_state(device);
    return code == NVML_OK && play == STUB_GB10 ? NVML_NOT_SUPPORTED : code;
}

static unsigned long long used_of(nvml_device device)
{
    return device->part > 1 ? 0 : used_mib;
}

API int nvmlDeviceGetMemoryInfo(nvml_device device, nvml_memory_v1 *memory);
API int nvmlDeviceGetMemoryInfo(nvml_device device, nvml_memory_v1 *memory)
{
    int code = memory_state(device);
    if (code == NVML_OK)
        *memory = (nvml_memory_v1){part_total_mib[device->part] * MIB, 0, (used_of(device) + reserved_mib) * MIB};
    return code;
}

API int nvmlDeviceGetUtilizationRates(nvml_device device, nvml_utilization *busy);
API int nvmlDeviceGetUtilizationRates(nvml_device device, nvml_utilization *busy)
{
    *busy = (nvml_utilization){100, 11};
    return play == STUB_MIG ? NVML_NOT_SUPPORTED : device_state(device);
}

API int nvmlDeviceGetTemperature(nvml_device device, unsigned sensor, unsigned *celsius);
API int nvmlDeviceGetTemperature(nvml_device device, unsigned sensor, unsigned *celsius)
{
    *celsius = play == STUB_HOT ? 91 : 59;
    return sensor ? 2 : firmware_state(device);
}

API int nvmlDeviceGetPowerUsage(nvml_device device, unsigned *milliwatts);
API int nvmlDeviceGetPowerUsage(nvml_device device, unsigned *milliwatts)
{
    *milliwatts = 631950;
    return firmware_state(device);
}

API int nvmlDeviceGetMaxClockInfo(nvml_device device, unsigned type, unsigned *mhz);
API int nvmlDeviceGetMaxClockInfo(nvml_device device, unsigned type, unsigned *mhz)
{
    *mhz = 2619;
    return type != NVML_CLOCK_MEMORY ? 2 : play == STUB_GB10 ? NVML_NOT_SUPPORTED : device_state(device);
}

API int nvmlDeviceGetMemoryBusWidth(nvml_device device, unsigned *bits);
API int nvmlDeviceGetMemoryBusWidth(nvml_device device, unsigned *bits)
{
    *bits = 5120;
    return play == STUB_GB10 ? NVML_NOT_SUPPORTED : device_state(device);
}

API int nvmlDeviceGetComputeRunningProcesses(nvml_device device, unsigned *count, nvml_process_v1 *processes);
API int nvmlDeviceGetComputeRunningProcesses(nvml_device device, unsigned *count, nvml_process_v1 *processes)
{
    if (*count < 2) {
        *count = 2;
        return NVML_INSUFFICIENT_SIZE;
    }
    *count = 2;
    processes[0] = (nvml_process_v1){11327, 2566 * MIB};
    processes[1] = (nvml_process_v1){11328, ~UINT64_C(0)};
    return device_state(device);
}

#ifdef OLD
API int nvmlDeviceGetCurrentClocksThrottleReasons(nvml_device device, unsigned long long *mask);
API int nvmlDeviceGetCurrentClocksThrottleReasons(nvml_device device, unsigned long long *mask)
#else
API int nvmlDeviceGetCurrentClocksEventReasons(nvml_device device, unsigned long long *mask);
API int nvmlDeviceGetCurrentClocksEventReasons(nvml_device device, unsigned long long *mask)
#endif
{
    *mask = play == STUB_HOT ? 0x20 | 0x4 : 0x4;
    return firmware_state(device);
}

#ifndef OLD
API int nvmlInitWithFlags(unsigned flags);
API int nvmlInitWithFlags(unsigned flags)
{
    if (play == STUB_MISMATCH)
        return NVML_LIB_RM_VERSION_MISMATCH;
    sessions++;
    attached += !(flags & NVML_INIT_NO_ATTACH);
    return NVML_OK;
}

API int nvmlDeviceGetMemoryInfo_v2(nvml_device device, nvml_memory_v2 *memory);
API int nvmlDeviceGetMemoryInfo_v2(nvml_device device, nvml_memory_v2 *memory)
{
    int code = memory_state(device);
    if (memory->version != 0x02000028) {
        wrong_structs++;
        return NVML_VERSION_MISMATCH;
    }
    if (code == NVML_OK && play == STUB_REFUSES_V2)
        return NVML_VERSION_MISMATCH;
    if (code == NVML_OK)
        *memory = (nvml_memory_v2){memory->version, part_total_mib[device->part] * MIB, reserved_mib * MIB, 0,
                                   used_of(device) * MIB};
    return code;
}

API int nvmlDeviceGetTemperatureV(nvml_device device, nvml_temperature *temperature);
API int nvmlDeviceGetTemperatureV(nvml_device device, nvml_temperature *temperature)
{
    wrong_structs += temperature->version != 0x0100000C;
    temperature->temperature = play == STUB_HOT ? 91 : 59;
    return firmware_state(device);
}

API int nvmlDeviceGetMarginTemperature(nvml_device device, nvml_margin *margin);
API int nvmlDeviceGetMarginTemperature(nvml_device device, nvml_margin *margin)
{
    wrong_structs += margin->version != 0x01000008;
    margin->margin = play == STUB_HOT ? 2 : 26;
    return firmware_state(device);
}

API int nvmlDeviceGetComputeRunningProcesses_v3(nvml_device device, unsigned *count, nvml_process_v2 *processes);
API int nvmlDeviceGetComputeRunningProcesses_v3(nvml_device device, unsigned *count, nvml_process_v2 *processes)
{
    unsigned wanted = play == STUB_CROWD ? 1000 : 3;
    if (*count < wanted) {
        *count = wanted;
        return NVML_INSUFFICIENT_SIZE;
    }
    *count = wanted;
    processes[0] = (nvml_process_v2){11327, 2566 * MIB, ~0u, ~0u};
    processes[1] = (nvml_process_v2){11328, ~UINT64_C(0), ~0u, ~0u}; /* not available */
    processes[2] = (nvml_process_v2){11327, 1542 * MIB, ~0u, ~0u};   /* the same process in a second context */
    return device_state(device);
}

API int nvmlDeviceGetMigMode(nvml_device device, unsigned *current, unsigned *pending);
API int nvmlDeviceGetMigMode(nvml_device device, unsigned *current, unsigned *pending)
{
    *current = *pending = play == STUB_MIG;
    return play == STUB_GB10 ? NVML_NOT_SUPPORTED : device_state(device);
}

API int nvmlDeviceGetMaxMigDeviceCount(nvml_device device, unsigned *count);
API int nvmlDeviceGetMaxMigDeviceCount(nvml_device device, unsigned *count)
{
    (void)device;
    *count = 7;
    return NVML_OK;
}

/* Instances have gaps in their numbers. */
API int nvmlDeviceGetMigDeviceHandleByIndex(nvml_device device, unsigned index, nvml_device *part);
API int nvmlDeviceGetMigDeviceHandleByIndex(nvml_device device, unsigned index, nvml_device *part)
{
    (void)device;
    if (index > 5 || index % 2)
        return NVML_NOT_FOUND;
    *part = &devices[1 + index / 2];
    return NVML_OK;
}
#endif
