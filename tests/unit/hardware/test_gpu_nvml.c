/* SPDX-License-Identifier: Apache-2.0 */
/* NVIDIA by its library: a stub plays the machines. */
#include "hardware/gpu.h"
#include "sysroot.h"
#include "../../stubs/nvml_use.h"

#define MIB INT64_C(1048576)

static int begin(void **state)
{
    nvml_stub_use("libnvml-stub.so");
    return sysroot_new(state);
}

/* A card on the bus without a display: as on a compute server. */
static void add_card(const char *root, const char *pci, bool asleep)
{
    char path[128];
    O3_FORMAT(path, "/sys/bus/pci/devices/%s/class", pci);
    sysroot_text(root, path, "0x030200\n");
    O3_FORMAT(path, "/sys/bus/pci/devices/%s/vendor", pci);
    sysroot_text(root, path, "0x10de\n");
    O3_FORMAT(path, "/sys/bus/pci/devices/%s/device", pci);
    sysroot_text(root, path, "0x2330\n");
    O3_FORMAT(path, "/sys/bus/pci/devices/%s/power/runtime_status", pci);
    sysroot_text(root, path, asleep ? "suspended\n" : "active\n");
}

static o3_profile *read_profile(const char *root)
{
    o3_config config = sysroot_config();
    o3_profile *profile = o3_alloc(1, sizeof(*profile));
    config.hardware_monitoring.safety_thresholds.max_vram_percent = 90;
    config.hardware_monitoring.safety_thresholds.max_temperature_c = 85;
    config.hardware_monitoring.resource_headroom.vram_reserve_mb = 4096;
    assert_int_equal(o3_profile_read(profile, root, &config, -1, true, NULL), O3_OK);
    assert_int_equal(sessions(), 0); /* everything opened was closed */
    assert_int_equal(wrong_structs(), 0);
    return profile;
}

static void h100(void **state)
{
    sysroot_machine(*state, 8);
    add_card(*state, "0000:01:00.0", false);
    play(STUB_H100, 19818);
    o3_auto(free) o3_profile *p = read_profile(*state);
    assert_int_equal(p->gpu_count, 1);
    assert_int_equal(p->gpus_seen, 1);
    const o3_gpu *gpu = &p->gpus[0];
    assert_string_equal(gpu->name, "NVIDIA H100 80GB HBM3");
    assert_string_equal(gpu->pci, "0000:01:00.0");
    assert_string_equal(gpu->driver, "nvidia 590.48.01");
    assert_string_equal(gpu->source, "NVML");
    assert_true(fabs(gpu->bandwidth_bytes_per_s - 3.352e12) < 1e9); /* the data sheet's */
    assert_true(gpu->max_temperature_c == 85);
    assert_false(gpu->unified);
    assert_true(o3_pool_is_device(p, gpu->pool) && !o3_pool_is_device(p, 0));
    const o3_pool *pool = &p->pools[gpu->pool];
    assert_string_equal(pool->name, "gpu:0000:01:00.0");
    assert_int_equal(pool->total_bytes, 81559 * MIB);
    assert_int_equal(pool->used_bytes, 19818 * MIB); /* without what the driver keeps */
    assert_int_equal(pool->safe_bytes, (int64_t)(0.9 * 81559 * MIB));
    assert_true(pool->limit_frac == 0.9);
}

/* Without revision 2 the driver's own share counts as used: too careful by it, never too bold. */
static void older_memory(void **state)
{
    sysroot_machine(*state, 8);
    add_card(*state, "0000:01:00.0", false);
    play(STUB_REFUSES_V2, 100);
    o3_auto(free) o3_profile *p = read_profile(*state);
    assert_int_equal(p->pools[p->gpus[0].pool].used_bytes, (100 + 479) * MIB);
    nvml_stub_use("libnvml-stub-old.so");
    play(STUB_H100, 200);
    o3_auto(free) o3_profile *old = read_profile(*state);
    assert_int_equal(old->gpu_count, 1);
    assert_int_equal(old->pools[old->gpus[0].pool].used_bytes, (200 + 479) * MIB);
    assert_true(old->gpus[0].max_temperature_c == 85); /* by the old call */
    nvml_stub_use("libnvml-stub.so");
}

static void mig(void **state)
{
    sysroot_machine(*state, 8);
    add_card(*state, "0000:01:00.0", false);
    play(STUB_MIG, 11125);
    o3_auto(free) o3_profile *p = read_profile(*state);
    assert_int_equal(p->gpu_count, 1); /* a CUDA program uses one */
    assert_int_equal(p->gpus_seen, 4);
    assert_string_equal(p->gpus[0].part, "MIG 3g.40gb");
    assert_string_equal(p->gpus[0].uuid, "MIG-00000001-0000-0000-0000-000000000000");
    assert_int_equal(p->pools[p->gpus[0].pool].total_bytes, 40192 * MIB);
    assert_string_equal(p->pools[p->gpus[0].pool].name, "gpu:0000:01:00.0/0");
    assert_true(isnan(p->gpus[0].bandwidth_bytes_per_s));
    assert_string_equal(p->gpus[1].aside, "it is split into MIG instances");
    assert_string_equal(p->gpus[3].part, "MIG 1g.10gb");
    assert_non_null(strstr(p->gpus[3].aside, "one MIG instance"));
    assert_int_equal(p->gpus[3].pool, -1);
}

static void gb10(void **state)
{
    sysroot_machine(*state, 20);
    add_card(*state, "000f:01:00.0", false);
    play(STUB_GB10, 0);
    o3_auto(free) o3_profile *p = read_profile(*state);
    assert_int_equal(p->gpu_count, 1);
    const o3_gpu *gpu = &p->gpus[0];
    assert_true(gpu->unified && gpu->integrated);
    assert_int_equal(gpu->pool, 0); /* the RAM, once */
    assert_int_equal(p->pool_count, 1);
    assert_false(o3_pool_is_device(p, 0));
    assert_true(gpu->bandwidth_bytes_per_s == 273e9);
}

static void asleep(void **state)
{
    sysroot_machine(*state, 8);
    add_card(*state, "0000:01:00.0", true);
    play(STUB_H100, 0);
    int before = attached();
    o3_auto(free) o3_profile *p = read_profile(*state);
    assert_int_equal(attached(), before); /* the library was not even started */
    assert_int_equal(p->gpu_count, 0);
    assert_int_equal(p->gpus_seen, 1);
    assert_true(p->gpus[0].asleep);
    assert_int_equal(p->gpus[0].pool, -1);
    assert_true(sysroot_noted(p, "asleep"));

    /* One of two: the library starts without touching the other. */
    sysroot_text(*state, "/sys/bus/pci/devices/0000:01:00.0/power/runtime_status", "active\n");
    add_card(*state, "0000:02:00.0", true);
    o3_auto(free) o3_profile *two = read_profile(*state);
    assert_int_equal(attached(), before);
    assert_int_equal(two->gpu_count, 1);
    assert_int_equal(two->gpus_seen, 2);
    assert_string_equal(two->gpus[0].pci, "0000:01:00.0");
    assert_true(two->gpus[1].asleep);
}

static void failing(void **state)
{
    sysroot_machine(*state, 8);
    add_card(*state, "0000:01:00.0", false);
    play(STUB_LOST_AT_START, 0);
    o3_auto(free) o3_profile *lost = read_profile(*state);
    assert_int_equal(lost->gpu_count, 0);
    assert_true(sysroot_noted(lost, "the driver has lost it"));
    play(STUB_MISMATCH, 0);
    o3_auto(free) o3_profile *mismatch = read_profile(*state);
    assert_int_equal(mismatch->gpu_count, 0);
    assert_true(sysroot_noted(mismatch, "different releases"));
    play(STUB_H100, 0);
    add_card(*state, "0000:05:00.0", false); /* on the bus, but the library knows it not */
    o3_auto(free) o3_profile *denied = read_profile(*state);
    assert_int_equal(denied->gpu_count, 1);
    assert_int_equal(denied->gpus_seen, 2);
    assert_non_null(strstr(denied->gpus[1].aside, "not passed into this container"));
}

/* A driver that does not answer costs its GPU, not the program. */
static void hanging(void **state)
{
    o3_config config = sysroot_config();
    o3_auto(free) o3_profile *p = o3_alloc(1, sizeof(*p));
    sysroot_machine(*state, 8);
    add_card(*state, "0000:01:00.0", false);
    setenv("PATH", *state, 1); /* and no nvidia-smi either */
    play(STUB_HANGS, 0);
    assert_int_equal(o3_profile_read(p, *state, &config, -1, true, NULL), O3_OK);
    assert_int_equal(p->gpu_count, 0);
    assert_true(sysroot_noted(p, "NVML did not answer within 10 s"));
    play(STUB_H100, 0);
    for (int i = 0; sessions() && i < 6000; i++) /* what was left behind comes back and cleans up */
        usleep(10000);
    assert_int_equal(sessions(), 0);
}

/* Where the bus cannot be seen, the library's own list counts; without a library there is no GPU and no word of one. */
static void no_bus(void **state)
{
    sysroot_machine(*state, 8);
    play(STUB_H100, 0);
    o3_auto(free) o3_profile *p = read_profile(*state);
    assert_int_equal(p->gpu_count, 1);
    assert_string_equal(p->gpus[0].pci, "0000:01:00.0");
    setenv("O3_TEST_NVML", "/nowhere/libnvidia-ml.so.1", 1);
    o3_auto(free) o3_profile *none = read_profile(*state);
    assert_int_equal(none->gpus_seen, 0);
    assert_false(sysroot_noted(none, "GPU") || sysroot_noted(none, "NVIDIA"));
    unsetenv("O3_TEST_NVML"); /* below another root the machine's own library is never asked */
    o3_auto(free) o3_profile *capture = read_profile(*state);
    assert_int_equal(capture->gpus_seen, 0);
}

/* The watched values, and what a driver may answer instead of them. */
static void watching(void **state)
{
    (void)state;
    o3_gpu gpu = O3_GPU_UNKNOWN;
    gpu_reading r = GPU_READING_UNKNOWN;
    O3_COPY(gpu.pci, "0000:01:00.0");
    play(STUB_H100, 1000);
    void *at = gpu_nvml.open("", &gpu);
    assert_non_null(at);
    gpu_nvml.read(at, GPU_READ_MEMORY, -1, &r);
    assert_int_equal(r.used_bytes, 1000 * MIB);
    assert_true(r.busy_frac == 1 && isnan(r.temperature_c) && r.throttle == -1 && r.runner_bytes == -1);
    gpu_nvml.read(at, GPU_READ_SLOW | GPU_READ_PROCESSES, 11327, &r);
    assert_true(r.temperature_c == 59 && r.margin_c == 21 && fabs(r.power_w - 631.95) < 1e-6);
    assert_int_equal(r.throttle, GPU_THROTTLE_POWER);
    assert_int_equal(r.runner_bytes, (2566 + 1542) * MIB);
    gpu_nvml.read(at, GPU_READ_PROCESSES, 11328, &r);
    assert_int_equal(r.runner_bytes, -1); /* the driver does not know: not 0, not 2^64 */
    play(STUB_CROWD, 1000);
    gpu_nvml.read(at, GPU_READ_PROCESSES, 11327, &r);
    assert_int_equal(r.runner_bytes, -1);
    play(STUB_HOT, 1000);
    gpu_nvml.read(at, GPU_READ_MEMORY | GPU_READ_SLOW, -1, &r);
    assert_true(r.temperature_c == 91 && r.margin_c == -3);
    assert_int_equal(r.throttle, GPU_THROTTLE_POWER | GPU_THROTTLE_THERMAL);
    play(STUB_NOT_READY, 1000);
    gpu_nvml.read(at, GPU_READ_MEMORY, -1, &r);
    assert_int_equal(r.used_bytes, -1);
    gpu_nvml.read(at, GPU_READ_MEMORY, -1, &r);
    assert_int_equal(r.used_bytes, 1000 * MIB);
    play(STUB_LOST, 1000);
    gpu_nvml.read(at, GPU_READ_MEMORY | GPU_READ_SLOW, -1, &r);
    assert_true(r.lost && r.used_bytes == -1 && isnan(r.busy_frac) && isnan(r.temperature_c));
    gpu_nvml.close(at);
    assert_int_equal(sessions(), 0);
    O3_COPY(gpu.pci, "0000:09:00.0");
    assert_null(gpu_nvml.open("", &gpu));
    assert_int_equal(sessions(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(h100, begin, sysroot_free),
        cmocka_unit_test_setup_teardown(older_memory, begin, sysroot_free),
        cmocka_unit_test_setup_teardown(mig, begin, sysroot_free),
        cmocka_unit_test_setup_teardown(gb10, begin, sysroot_free),
        cmocka_unit_test_setup_teardown(asleep, begin, sysroot_free),
        cmocka_unit_test_setup_teardown(failing, begin, sysroot_free),
        cmocka_unit_test_setup_teardown(no_bus, begin, sysroot_free),
        cmocka_unit_test_setup_teardown(watching, begin, sysroot_free),
        cmocka_unit_test_setup_teardown(hanging, begin, sysroot_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
