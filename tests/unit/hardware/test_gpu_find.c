/* SPDX-License-Identifier: Apache-2.0 */
/* Cards on the bus and what becomes of them in the profile; the watched values of AMD's. */
#include "gpu_files.h"
#include "hardware/gpu.h"

static void no_gpu(void **state)
{
    sysroot_machine(*state, 8);
    o3_auto(free) o3_profile *before = gpu_profile(*state, NULL);
    assert_int_equal(before->gpus_seen, 0);
    assert_int_equal(before->pool_count, 1);
    assert_false(sysroot_noted(before, "GPU"));
    /* A server's display chip and a connector are no GPUs. */
    card_new(*state, 0, "0x1a03\n", "0x2000\n", "ast", "0000:05:00.0");
    sysroot_text(*state, "/sys/class/drm/card0-VGA-1/status", "connected\n");
    sysroot_text(*state, "/sys/class/drm/version", "drm 1.1.0 20060810\n");
    o3_auto(free) o3_profile *after = gpu_profile(*state, NULL);
    assert_int_equal(after->gpus_seen, 0);
    assert_string_equal(after->fingerprint, before->fingerprint);
    assert_int_equal(after->notes.count, before->notes.count);
}

static void amd_card(void **state)
{
    sysroot_machine(*state, 8);
    card_dgpu(*state, 1, "0000:03:00.0");
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    assert_int_equal(p->gpu_count, 1);
    const o3_gpu *gpu = &p->gpus[0];
    assert_string_equal(gpu->name, "AMD Radeon RX 7900 XTX");
    assert_string_equal(gpu->pci, "0000:03:00.0");
    assert_string_equal(gpu->driver, "amdgpu");
    assert_string_equal(gpu->source, "amdgpu");
    assert_false(gpu->integrated || gpu->unified || gpu->asleep);
    assert_true(gpu->bandwidth_bytes_per_s == 960e9);
    assert_true(gpu->max_temperature_c == 85); /* the edge; its own limits are above that */
    assert_int_equal(p->pools[gpu->pool].total_bytes, 25753026560);
    assert_int_equal(p->pools[gpu->pool].used_bytes, 1852891136); /* mapped RAM is not the card's */
    assert_int_equal(p->pools[gpu->pool].safe_bytes, (int64_t)(0.9 * 25753026560)); /* the reserve is no more than that */
    assert_true(o3_pool_is_device(p, gpu->pool));
}

/* 0.5 GiB of its own, and what the driver may map: one pool, never more than there is. */
static void small_carve_out(void **state)
{
    int64_t half = CARD_GIB / 2;
    sysroot_machine(*state, 16);
    sysroot_meminfo(*state, 127900, 120000);
    card_apu(*state, 1, half, 62 * CARD_GIB);
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    assert_int_equal(p->gpu_count, 1);
    const o3_gpu *gpu = &p->gpus[0];
    assert_true(gpu->unified && gpu->integrated);
    assert_int_equal(gpu->own_bytes, half);
    assert_int_equal(gpu->shared_bytes, 62 * CARD_GIB);
    assert_true(gpu->pool > 0 && o3_pool_is_device(p, gpu->pool) && !o3_pool_is_device(p, 0));
    assert_int_equal(p->pools[gpu->pool].total_bytes, 62 * CARD_GIB + half);
    assert_int_equal(p->pools[gpu->pool].used_bytes, 8 * CARD_GIB + 511442944);
    assert_true(gpu->bandwidth_bytes_per_s == 256e9 && gpu->fp16_flops == 59.4e12);

    card_apu(*state, 1, half, 160 * CARD_GIB); /* the driver may map more than there is */
    o3_auto(free) o3_profile *over = gpu_profile(*state, NULL);
    assert_int_equal(over->pools[over->gpus[0].pool].total_bytes, 127900 * SYSROOT_MIB + half);

    card_unreadable(*state, 1, "mem_info_gtt_total"); /* a limit on 0.5 GiB would be meaningless */
    o3_auto(free) o3_profile *blind = gpu_profile(*state, NULL);
    assert_int_equal(blind->gpu_count, 0);
    assert_int_equal(blind->gpus_seen, 1);
    assert_true(sysroot_noted(blind, "how much RAM its driver may give it is not told"));
}

/* 96 of 128 GiB are the GPU's alone: they are not in the RAM, and the engine takes them. */
static void large_carve_out(void **state)
{
    sysroot_machine(*state, 16);
    sysroot_meminfo(*state, 31900, 30000);
    card_apu(*state, 0, 96 * CARD_GIB, 16 * CARD_GIB);
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    assert_int_equal(p->gpu_count, 1);
    assert_true(p->gpus[0].integrated && !p->gpus[0].unified);
    assert_int_equal(p->pools[p->gpus[0].pool].total_bytes, 96 * CARD_GIB);
    assert_int_equal(p->pools[p->gpus[0].pool].used_bytes, 511442944);
}

/* Numbers of cards have gaps and follow no order; a compute chip has no card at all. */
static void several(void **state)
{
    sysroot_machine(*state, 16);
    card_dgpu(*state, 10, "0000:83:00.0");
    card_dgpu(*state, 3, "0000:63:00.0");
    sysroot_text(*state, "/sys/bus/pci/devices/0000:63:00.0/class", "0x030000\n"); /* the same by another way */
    sysroot_text(*state, "/sys/bus/pci/devices/0000:63:00.0/vendor", "0x1002\n");
    sysroot_text(*state, "/sys/bus/pci/devices/0000:a3:00.0/class", "0x120000\n");
    sysroot_text(*state, "/sys/bus/pci/devices/0000:a3:00.0/vendor", "0x1002\n");
    sysroot_text(*state, "/sys/bus/pci/devices/0000:a3:00.0/device", "0x74a1\n");
    sysroot_text(*state, "/sys/bus/pci/devices/0000:a3:00.0/mem_info_vram_total", "206141652992\n");
    sysroot_text(*state, "/sys/bus/pci/devices/0000:a3:00.0/mem_info_vram_used", "297955328\n");
    sysroot_text(*state, "/sys/bus/pci/devices/0000:a3:00.0/mem_info_vram_vendor", "hynix\n");
    sysroot_text(*state, "/sys/bus/pci/devices/0000:a3:00.0/hwmon/hwmon2/temp2_input", "61000\n");
    sysroot_text(*state, "/sys/bus/pci/devices/0000:a3:00.0/hwmon/hwmon2/temp2_label", "junction\n");
    sysroot_text(*state, "/sys/bus/pci/devices/0000:a3:00.0/hwmon/hwmon2/temp2_crit", "100000\n");
    sysroot_text(*state, "/sys/bus/pci/devices/0000:00:1f.0/class", "0x060100\n");
    sysroot_text(*state, "/sys/bus/pci/devices/0000:00:1f.0/vendor", "0x8086\n");
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    assert_int_equal(p->gpu_count, 3);
    assert_string_equal(p->gpus[0].pci, "0000:63:00.0");
    assert_string_equal(p->gpus[1].pci, "0000:83:00.0");
    assert_string_equal(p->gpus[2].name, "AMD Instinct MI300X");
    assert_true(p->gpus[2].max_temperature_c == 95); /* it has no edge: its own critical point less 5 */
    for (int i = 0; i < 3; i++)
        assert_int_equal(p->gpus[i].pool, i + 1);
}

/* Memory is told by the driver alone; what would wake the card is not read, as if it were not there. */
static void suspended(void **state)
{
    sysroot_machine(*state, 8);
    card_dgpu(*state, 1, "0000:03:00.0");
    card_text(*state, 1, "power/runtime_status", "suspended\n");
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    assert_int_equal(p->gpu_count, 1);
    assert_true(p->gpus[0].asleep);
    assert_int_equal(p->pools[p->gpus[0].pool].total_bytes, 25753026560);
    assert_true(isnan(p->gpus[0].max_temperature_c)); /* no sensor was looked for */
    void *at = gpu_amdgpu.open(*state, &p->gpus[0]);
    gpu_reading r = GPU_READING_UNKNOWN;
    gpu_amdgpu.read(at, GPU_READ_MEMORY | GPU_READ_SLOW, -1, &r);
    assert_true(r.asleep && isnan(r.temperature_c) && isnan(r.power_w) && isnan(r.busy_frac));
    assert_int_equal(r.used_bytes, 1852891136);
    card_text(*state, 1, "power/runtime_status", "active\n"); /* the engine woke it */
    gpu_amdgpu.read(at, GPU_READ_MEMORY | GPU_READ_SLOW, -1, &r);
    assert_true(!r.asleep && r.temperature_c == 58 && r.power_w == 210);
    gpu_amdgpu.close(at);
}

static void watching(void **state)
{
    sysroot_machine(*state, 8);
    card_dgpu(*state, 1, "0000:03:00.0");
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    gpu_reading r = GPU_READING_UNKNOWN;
    void *at = gpu_amdgpu.open(*state, &p->gpus[0]);
    gpu_amdgpu.read(at, GPU_READ_MEMORY, -1, &r);
    assert_int_equal(r.used_bytes, 1852891136);
    assert_true(isnan(r.temperature_c) && isnan(r.busy_frac)); /* not asked for */
    gpu_amdgpu.read(at, GPU_READ_MEMORY | GPU_READ_SLOW, -1, &r);
    assert_true(r.temperature_c == 58 && r.busy_frac == 0.73 && r.power_w == 210);
    assert_true(r.hot_c == 71 && r.margin_c == 34); /* the junction is nearest to its own limit */
    assert_int_equal(r.throttle, -1);
    card_i64(*state, 1, "hwmon/hwmon7/temp3_input", 104000);
    card_i64(*state, 1, "mem_info_vram_used", 2000000000);
    gpu_amdgpu.read(at, GPU_READ_MEMORY | GPU_READ_SLOW, -1, &r);
    assert_true(r.hot_c == 104 && r.margin_c == -1);
    assert_int_equal(r.used_bytes, 2000000000);

    card_i64(*state, 1, "gpu_busy_percent", 100); /* 100 % at 17 W of 339: a context is open, nothing runs */
    card_i64(*state, 1, "hwmon/hwmon7/power1_average", 17000000);
    gpu_amdgpu.read(at, GPU_READ_MEMORY | GPU_READ_SLOW, -1, &r);
    assert_true(isnan(r.busy_frac) && r.power_w == 17);

    /* Empty, damaged, beyond all sense: unknown, and never 0. */
    card_text(*state, 1, "mem_info_vram_used", "");
    card_text(*state, 1, "gpu_busy_percent", "Device or resource busy\n");
    card_text(*state, 1, "hwmon/hwmon7/power1_average", "\n");
    card_text(*state, 1, "hwmon/hwmon7/temp1_input", "-1\n");
    card_i64(*state, 1, "hwmon/hwmon7/temp2_input", 511000);
    card_text(*state, 1, "hwmon/hwmon7/temp3_input", "");
    gpu_amdgpu.read(at, GPU_READ_MEMORY | GPU_READ_SLOW, -1, &r);
    assert_int_equal(r.used_bytes, -1);
    assert_true(isnan(r.busy_frac) && isnan(r.power_w) && isnan(r.temperature_c) && isnan(r.hot_c) && isnan(r.margin_c));
    gpu_amdgpu.close(at);
}

/* EBUSY and its kin while the machine is described. */
static void unreadable(void **state)
{
    static const char *const files[] = {"mem_info_vram_used", "hwmon/hwmon7/temp1_input", "gpu_busy_percent"};
    sysroot_machine(*state, 8);
    card_dgpu(*state, 1, "0000:03:00.0");
    for (int i = 0; i < O3_COUNT(files); i++)
        card_unreadable(*state, 1, files[i]);
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    assert_int_equal(p->gpu_count, 1);
    assert_int_equal(p->pools[1].used_bytes, -1);
    assert_true(p->gpus[0].max_temperature_c == 103); /* of what can be read, the memory's 108 less 5 */
    assert_true(sysroot_noted(p, "its limit cannot be watched"));
    card_unreadable(*state, 1, "mem_info_vram_total");
    o3_auto(free) o3_profile *none = gpu_profile(*state, NULL);
    assert_int_equal(none->gpu_count, 0);
    assert_int_equal(none->gpus_seen, 1);
    assert_true(sysroot_noted(none, "no driver, library or program tells its memory"));
}

static void intel(void **state)
{
    sysroot_machine(*state, 8);
    card_new(*state, 0, "0x8086\n", "0x4680\n", "i915", "0000:00:02.0");
    card_new(*state, 1, "0x8086\n", "0xe20b\n", "xe", "0000:03:00.0");
    card_text(*state, 1, "resource",
              "0x0000000070000000 0x0000000070ffffff 0x0000000000140204\n"
              "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
              "0x0000004000000000 0x00000043ffffffff 0x000000000014220c\n");
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    assert_int_equal(p->gpu_count, 1);
    assert_string_equal(p->gpus[0].name, "Intel Arc B580");
    assert_int_equal(p->pools[1].total_bytes, 16 * CARD_GIB);
    assert_int_equal(p->pools[1].used_bytes, -1);
    assert_true(sysroot_noted(p, "how much of its memory is used cannot be read"));
    assert_true(isnan(p->gpus[0].max_temperature_c));
    assert_string_equal(p->gpus[1].pci, "0000:00:02.0");
    assert_true(p->gpus[1].integrated);
    assert_non_null(strstr(p->gpus[1].aside, "OLLAMA_IGPU_ENABLE=1"));
    o3_auto(free) o3_profile *on = gpu_profile(*state, "OLLAMA_IGPU_ENABLE=1");
    assert_int_equal(on->gpu_count, 2);
    assert_int_equal(on->gpus[0].pool, 0); /* the RAM */
    o3_auto(free) o3_profile *off = gpu_profile(*state, "OLLAMA_VULKAN=0");
    assert_int_equal(off->gpu_count, 0);
}

/* xe numbers and names its sensors; power is the energy that was used since the last look. */
static void intel_sensors(void **state)
{
    gpu_reading r = GPU_READING_UNKNOWN;
    sysroot_machine(*state, 8);
    card_new(*state, 1, "0x8086\n", "0xe20b\n", "xe", "0000:03:00.0");
    card_text(*state, 1, "resource", "0x0000004000000000 0x00000043ffffffff 0x000000000014220c\n");
    card_sensor(*state, 1, 2, "pkg\n", 51000, 100000);
    card_sensor(*state, 1, 3, "vram\n", 66000, 95000);
    card_i64(*state, 1, "hwmon/hwmon7/energy1_input", 1000000);
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    assert_true(p->gpus[0].max_temperature_c == 85);
    void *at = gpu_intel.open(*state, &p->gpus[0]);
    gpu_intel.read(at, GPU_READ_MEMORY | GPU_READ_SLOW, -1, &r);
    assert_true(r.temperature_c == 51 && r.margin_c == 44 && isnan(r.power_w) && r.used_bytes == -1);
    card_i64(*state, 1, "hwmon/hwmon7/energy1_input", 3000000);
    gpu_intel.read(at, GPU_READ_SLOW, -1, &r);
    assert_true(r.power_w > 0);
    card_text(*state, 1, "power/runtime_status", "suspended\n");
    gpu_intel.read(at, GPU_READ_SLOW, -1, &r);
    assert_true(r.asleep && isnan(r.temperature_c));
    gpu_intel.close(at);
}

/* What the server's environment leaves, by name of the pools. */
static void visible(void **state)
{
    static const struct {
        const char *env;
        int first, second; /* cards by their bus number; 0 none */
    } rows[] = {
        {"A=B", 3, 4},
        {"ROCR_VISIBLE_DEVICES=1", 4, 0},
        {"ROCR_VISIBLE_DEVICES=", 0, 0},
        {"HIP_VISIBLE_DEVICES=0,1", 3, 4},
        {"HIP_VISIBLE_DEVICES=0,-1,1", 3, 0}, /* what names nothing ends the list */
        {"ROCR_VISIBLE_DEVICES=GPU-18f68e602b8a790f", 4, 0},
        {"ROCR_VISIBLE_DEVICES=GPU-ff", 0, 0},
        {"CUDA_VISIBLE_DEVICES=", 3, 4}, /* not theirs */
    };
    sysroot_machine(*state, 8);
    card_dgpu(*state, 0, "0000:03:00.0");
    card_dgpu(*state, 1, "0000:04:00.0");
    card_text(*state, 1, "unique_id", "18f68e602b8a790f\n");
    for (int i = 0; i < O3_COUNT(rows); i++) {
        char first[20] = "", second[20] = "";
        o3_auto(free) o3_profile *p = gpu_profile(*state, rows[i].env);
        O3_FORMAT(first, "0000:%02x:00.0", (unsigned)rows[i].first);
        O3_FORMAT(second, "0000:%02x:00.0", (unsigned)rows[i].second);
        assert_int_equal(p->gpu_count, (rows[i].first > 0) + (rows[i].second > 0));
        assert_int_equal(p->gpus_seen, 2);
        assert_int_equal(p->pool_count, 1 + p->gpu_count);
        if (rows[i].first)
            assert_string_equal(p->gpus[0].pci, first);
        if (rows[i].second)
            assert_string_equal(p->gpus[1].pci, second);
        if (p->gpu_count < 2)
            assert_non_null(strstr(p->gpus[p->gpu_count].aside, rows[i].env));
    }
    /* The second filter counts what the first one left. */
    sysroot_bytes(*state, "/proc/42/environ", "ROCR_VISIBLE_DEVICES=1\0HIP_VISIBLE_DEVICES=0", 44);
    o3_config config = gpu_config();
    o3_auto(free) o3_profile *both = o3_alloc(1, sizeof(*both));
    assert_int_equal(o3_profile_read(both, *state, &config, 42, true, NULL), O3_OK);
    assert_int_equal(both->gpu_count, 1);
    assert_string_equal(both->gpus[0].pci, "0000:04:00.0");
}

/* The rules alone: three NVIDIA GPUs, by what is left of them. */
static void visible_nvidia(void **state)
{
    static const struct {
        const char *env, *left;
    } rows[] = {
        {"", "012"},
        {"CUDA_VISIBLE_DEVICES=2,0\n", "02"},
        {"CUDA_VISIBLE_DEVICES=GPU-aa\n", "0"}, /* the beginning of a UUID is enough */
        {"CUDA_VISIBLE_DEVICES=-1\n", ""},
        {"CUDA_VISIBLE_DEVICES=7\n", ""},
        {"CUDA_VISIBLE_DEVICES=\n", ""},
        {"NVIDIA_VISIBLE_DEVICES=all\n", "012"},
        {"NVIDIA_VISIBLE_DEVICES=void\n", "012"},
        {"NVIDIA_VISIBLE_DEVICES=none\n", ""},
        {"NVIDIA_VISIBLE_DEVICES=1\n", "1"},     /* the server is in a container, we are not */
        {"NVIDIA_VISIBLE_DEVICES=5,6,7\n", "012"}, /* in force already: no more are to be seen */
        {"CUDA_VISIBLE_DEVICES=0\nNVIDIA_VISIBLE_DEVICES=1,2\n", "1"},
        {"ROCR_VISIBLE_DEVICES=0\n", "012"},
    };
    (void)state;
    for (int i = 0; i < O3_COUNT(rows); i++) {
        char left[8] = "";
        o3_auto(free) gpu_list *list = o3_alloc(1, sizeof(*list));
        for (int g = 0; g < 3; g++)
            O3_FORMAT(gpu_add(list, O3_GPU_NVIDIA, "0000:01:00.0")->gpu.uuid, "GPU-%c%c0", 'a' + g, 'a' + g);
        gpu_apply_rules(list, rows[i].env);
        for (int g = 0; g < 3; g++)
            if (!*list->at[g].gpu.aside)
                left[strlen(left)] = (char)('0' + g);
        assert_string_equal(left, rows[i].left);
    }
}

/* An engine on another machine: nothing of this one's GPUs counts. */
static void elsewhere(void **state)
{
    o3_config config = gpu_config();
    o3_auto(free) o3_profile *p = o3_alloc(1, sizeof(*p));
    sysroot_machine(*state, 8);
    card_dgpu(*state, 0, "0000:03:00.0");
    assert_int_equal(o3_profile_read(p, *state, &config, -1, false, NULL), O3_OK);
    assert_int_equal(p->gpus_seen, 0);
}

static void too_many(void **state)
{
    char pci[20];
    sysroot_machine(*state, 8);
    for (int i = 0; i < O3_GPUS_MAX + 3; i++) {
        O3_FORMAT(pci, "0000:%02x:00.0", (unsigned)i + 1);
        card_dgpu(*state, i, pci);
    }
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    assert_int_equal(p->gpus_seen, O3_GPUS_MAX);
    assert_true(p->pool_count <= O3_POOLS_MAX);
    assert_true(sysroot_noted(p, "more than 16 GPUs"));
}

static void addresses(void **state)
{
    char pci[20];
    (void)state;
    assert_true(gpu_pci_normal("00000000:0C:00.0", pci));
    assert_string_equal(pci, "0000:0c:00.0");
    assert_true(gpu_pci_normal("0000000F:01:00.0\n", pci));
    assert_string_equal(pci, "000f:01:00.0");
    assert_false(gpu_pci_normal("0000:01:00", pci) || gpu_pci_normal("", pci) || gpu_pci_normal("0000:01:00.0x", pci));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, sysroot_new, sysroot_free)
    const struct CMUnitTest tests[] = {
        CASE(no_gpu),    CASE(amd_card), CASE(small_carve_out), CASE(large_carve_out), CASE(several),  CASE(suspended),
        CASE(watching),  CASE(unreadable), CASE(intel),         CASE(intel_sensors), CASE(visible),         CASE(elsewhere), CASE(too_many),
        CASE(visible_nvidia),
        CASE(addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
