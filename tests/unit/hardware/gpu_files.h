/* SPDX-License-Identifier: Apache-2.0 */
/* Cards made of files, as kernel drivers show them. */
#ifndef O3_TEST_GPU_FILES_H
#define O3_TEST_GPU_FILES_H

#include "sysroot.h"

#define CARD_GIB (INT64_C(1) << 30)

static inline void card_text(const char *root, int card, const char *name, const char *text)
{
    char path[256];
    O3_FORMAT(path, "/sys/class/drm/card%d/device/%s", card, name);
    sysroot_text(root, path, text);
}

static inline void card_i64(const char *root, int card, const char *name, int64_t value)
{
    char text[32];
    O3_FORMAT(text, "%lld\n", (long long)value);
    card_text(root, card, name, text);
}

/* One that no program has a file of any more: a directory in its place gives an error, whoever reads. */
static inline void card_unreadable(const char *root, int card, const char *name)
{
    char path[256];
    O3_FORMAT(path, "/sys/class/drm/card%d/device/%s", card, name);
    sysroot_remove(root, path);
    sysroot_dir(root, path);
}

static inline void card_new(const char *root, int card, const char *vendor, const char *device, const char *driver,
                            const char *pci)
{
    char text[128];
    card_text(root, card, "vendor", vendor);
    card_text(root, card, "device", device);
    O3_FORMAT(text, "DRIVER=%s\nPCI_CLASS=30000\nPCI_SLOT_NAME=%s\n", driver, pci);
    card_text(root, card, "uevent", text);
    card_text(root, card, "power/runtime_status", "active\n");
}

static inline void card_memory(const char *root, int card, int64_t vram, int64_t vram_used, int64_t gtt, int64_t gtt_used)
{
    card_i64(root, card, "mem_info_vram_total", vram);
    card_i64(root, card, "mem_info_vram_used", vram_used);
    card_i64(root, card, "mem_info_gtt_total", gtt);
    card_i64(root, card, "mem_info_gtt_used", gtt_used);
}

static inline void card_sensor(const char *root, int card, int number, const char *label, int64_t milli, int64_t critical)
{
    char name[64];
    O3_FORMAT(name, "hwmon/hwmon7/temp%d_input", number);
    card_i64(root, card, name, milli);
    O3_FORMAT(name, "hwmon/hwmon7/temp%d_label", number);
    if (label)
        card_text(root, card, name, label);
    O3_FORMAT(name, "hwmon/hwmon7/temp%d_crit", number);
    if (critical)
        card_i64(root, card, name, critical);
}

/* A 24 GB card at work. */
static inline void card_dgpu(const char *root, int card, const char *pci)
{
    card_new(root, card, "0x1002\n", "0x744c\n", "amdgpu", pci);
    card_memory(root, card, 25753026560, 1852891136, 67362717696, 16777216);
    card_text(root, card, "mem_info_vram_vendor", "samsung\n");
    card_sensor(root, card, 1, "edge\n", 58000, 100000);
    card_sensor(root, card, 2, "junction\n", 71000, 110000);
    card_sensor(root, card, 3, "mem\n", 64000, 108000);
    card_i64(root, card, "gpu_busy_percent", 73);
    card_i64(root, card, "hwmon/hwmon7/power1_average", 210000000);
    card_i64(root, card, "hwmon/hwmon7/power1_cap", 339000000);
}

/* Strix Halo, 128 GB: the BIOS keeps `carve_out` for the GPU, the driver may map `gtt` of the rest. */
static inline void card_apu(const char *root, int card, int64_t carve_out, int64_t gtt)
{
    card_new(root, card, "0x1002\n", "0x1586\n", "amdgpu", "0000:c4:00.0");
    card_memory(root, card, carve_out, 511442944, gtt, 8 * CARD_GIB);
    card_sensor(root, card, 1, "edge\n", 54000, 0);
    card_i64(root, card, "hwmon/hwmon7/power1_input", 20358000);
    card_i64(root, card, "gpu_busy_percent", 2);
}

static inline o3_config gpu_config(void)
{
    o3_config config = sysroot_config();
    config.hardware_monitoring.safety_thresholds.max_vram_percent = 90;
    config.hardware_monitoring.safety_thresholds.max_temperature_c = 85;
    config.hardware_monitoring.resource_headroom.vram_reserve_mb = 4096;
    return config;
}

/* env: of the engine, process 42; NULL: there is no engine. */
static inline o3_profile *gpu_profile(const char *root, const char *env)
{
    o3_config config = gpu_config();
    o3_profile *profile = o3_alloc(1, sizeof(*profile));
    if (env) {
        sysroot_text(root, "/proc/42/status", "Name:\tollama\nPPid:\t1\n");
        sysroot_bytes(root, "/proc/42/environ", env, strlen(env) + 1);
    }
    assert_int_equal(o3_profile_read(profile, root, &config, env ? 42 : -1, true, NULL), O3_OK);
    return profile;
}

#endif
