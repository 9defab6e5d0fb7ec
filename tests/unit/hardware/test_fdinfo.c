/* SPDX-License-Identifier: Apache-2.0 */
/* What a runner holds on AMD's and Intel's GPUs, by the descriptors that the kernel tells of it. */
#include "gpu_files.h"
#include "hardware/fdinfo.h"
#include "hardware/gpu.h"

#define MIB SYSROOT_MIB
#define PID 77
#define CARD "0000:03:00.0"
#define OTHER "0000:83:00.0"

static void descriptor(const char *root, int fd, const char *text)
{
    char path[64];
    O3_FORMAT(path, "/proc/%d/fdinfo/%d", PID, fd);
    sysroot_text(root, path, text);
}

/* amdgpu before the common keys came: its own name for what is resident. */
static void amd(const char *root, int fd, const char *pci, int client, int64_t vram_mib, int64_t gtt_mib)
{
    char text[512];
    O3_FORMAT(text,
              "pos:\t0\nflags:\t02100002\nmnt_id:\t26\nino:\t284\ndrm-driver:\tamdgpu\ndrm-client-id:\t%d\ndrm-pdev:\t%s\n"
              "pasid:\t32771\ndrm-memory-vram:\t%lld KiB\ndrm-memory-gtt: \t%lld KiB\ndrm-memory-cpu: \t512 KiB\n"
              "amd-evicted-vram:\t900 KiB\ndrm-engine-gfx:\t1000 ns\n",
              client, pci, (long long)vram_mib * 1024, (long long)gtt_mib * 1024);
    descriptor(root, fd, text);
}

/* Files, sockets and descriptors of DRM stand beside each other. */
static void others(const char *root)
{
    descriptor(root, 0, "pos:\t0\nflags:\t0100000\nmnt_id:\t26\nino:\t3\n");
    descriptor(root, 4, "pos:\t0\nflags:\t02\ntfd:  5 events: 19 data: 5  pos:0 ino:3 sdev:8\n");
    descriptor(root, 5, "");
    descriptor(root, 6, "drm-driver:\tvgem\ndrm-client-id:\t1\n"); /* no address */
}

static void clients_once(void **state)
{
    others(*state);
    amd(*state, 10, CARD, 59, 2048, 100);
    amd(*state, 11, CARD, 59, 2048, 100);
    amd(*state, 123, CARD, 59, 2048, 100);
    amd(*state, 12, CARD, 60, 512, 20);
    amd(*state, 13, OTHER, 59, 4096, 3); /* ids are a card's own */
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), 2560 * MIB);
    assert_int_equal(fdinfo_bytes(*state, PID, OTHER, false), 4096 * MIB);
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, true), 2680 * MIB); /* an APU: mapped RAM is its pool's as well */
    assert_int_equal(fdinfo_bytes(*state, PID, OTHER, true), 4099 * MIB);
}

/* Unknown is never 0, and 0 that a driver tells is 0. */
static void unknown(void **state)
{
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), -1); /* no such process */
    others(*state);
    amd(*state, 10, OTHER, 59, 2048, 100);
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), -1); /* nothing open on it */
    assert_int_equal(fdinfo_bytes(*state, PID, "", false), -1);
    assert_int_equal(fdinfo_bytes(*state, -1, OTHER, false), -1);
    amd(*state, 11, CARD, 60, 0, 0);
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), 0);
    amd(*state, 12, CARD, 61, 700, 0);
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), 700 * MIB);
    /* One client more that does not tell, or cannot be told from the others: a part would be believed as the whole. */
    descriptor(*state, 13, "drm-driver:\ti915\ndrm-client-id:\t7\ndrm-pdev:\t" CARD "\ndrm-engine-render:\t5 ns\n");
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), -1);
    descriptor(*state, 13, "drm-pdev:\t" CARD "\ndrm-memory-vram:\t5 KiB\n");
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), -1);
    assert_int_equal(fdinfo_bytes(*state, PID, OTHER, false), 2048 * MIB); /* the other card's are whole */
}

static void not_to_be_read(void **state)
{
    amd(*state, 10, CARD, 59, 2048, 100);
    sysroot_dir(*state, "/proc/77/fdinfo/11"); /* gives an error, whoever reads */
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), -1);
    sysroot_remove(*state, "/proc/77/fdinfo/11");
    sysroot_link(*state, "/proc/77/fdinfo/11", "/nowhere/at/all"); /* listed, and closed before it was read */
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), 2048 * MIB);
}

static void another_users(void **state)
{
    char full[PATH_MAX];
    if (!geteuid()) {
        print_message("# skipped: root may read everything\n");
        skip();
    }
    amd(*state, 10, CARD, 59, 2048, 100);
    O3_FORMAT(full, "%s/proc/77/fdinfo/10", (const char *)*state);
    assert_int_equal(chmod(full, 0), 0);
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), -1);
    assert_int_equal(chmod(full, 0644), 0);
    O3_FORMAT(full, "%s/proc/77/fdinfo", (const char *)*state);
    assert_int_equal(chmod(full, 0), 0);
    int64_t bytes = fdinfo_bytes(*state, PID, CARD, false);
    assert_int_equal(chmod(full, 0755), 0);
    assert_int_equal(bytes, -1);
}

static void too_many(void **state)
{
    for (int i = 0; i < 64; i++)
        amd(*state, 10 + i, CARD, i, 1, 0);
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), 64 * MIB);
    amd(*state, 100, CARD, 5, 1, 0); /* one that is known */
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), 64 * MIB);
    amd(*state, 101, CARD, 64, 1, 0);
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), -1);
    o3_auto(free) char *text = o3_alloc(1, 20000);
    sysroot_remove(*state, "/proc/77/fdinfo");
    o3_format(text, 20000, "drm-client-id:\t1\ndrm-pdev:\t" CARD "\ndrm-memory-vram:\t5 KiB\n%19000s\n", "x");
    descriptor(*state, 3, text); /* what is cut may lack a region */
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), -1);
    amd(*state, 3, CARD, 1, 5, 0);
    for (int i = 0; i < 4096; i++)
        descriptor(*state, 1000 + i, "pos:\t0\n");
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), -1);
    sysroot_remove(*state, "/proc/77/fdinfo/1000");
    assert_int_equal(fdinfo_bytes(*state, PID, CARD, false), 5 * MIB);
}

static void keys_and_units(void **state)
{
    static const struct {
        const char *text;
        int64_t own, mapped;
    } rows[] = {
        {"drm-memory-vram:\t2048 KiB\n", 2 * MIB, -1},
        {"drm-total-vram0:\t16946852 KiB\n", INT64_C(16946852) * 1024, -1}, /* xe, before what is resident was told */
        {"drm-total-vram:\t9 MiB\ndrm-memory-vram:\t8 MiB\ndrm-resident-vram:\t7 MiB\ndrm-shared-vram:\t6 MiB\n", 7 * MIB, -1},
        {"drm-total-vram:\t9 MiB\ndrm-memory-vram:\t8 MiB\n", 8 * MIB, -1},
        {"drm-resident-vram0:\t3 MiB\ndrm-resident-vram1:\t4 MiB\n", 7 * MIB, -1}, /* two tiles */
        {"drm-resident-local0:\t1 GiB\ndrm-resident-system0:\t6044 KiB\n", 1024 * MIB, 6044 * 1024},
        {"drm-resident-gtt:\t192 KiB\ndrm-resident-system:\t0\ndrm-resident-vram0:\t23992\n", 23992, 192 * 1024},
        {"drm-resident-stolen-local0:\t5\ndrm-purgeable-vram0:\t5\ndrm-active-vram0:\t5\ndrm-resident-vramx:\t5\n", -1, -1},
        {"drm-resident-vram:\t0\n", 0, -1},
        {"drm-resident-vram:5 MiB", 5 * MIB, -1}, /* no blank, no end */
        /* Not numbers of bytes: nothing of it is believed. */
        {"drm-resident-vram:\t-5 KiB\ndrm-resident-gtt:\t1\n", -1, -1},
        {"drm-resident-vram:\t\n", -1, -1},
        {"drm-resident-vram:\t5 TiB\n", -1, -1},
        {"drm-resident-vram:\t5KiB7\n", -1, -1},
        {"drm-resident-vram:\t99999999999999999999999 KiB\n", -1, -1},
        {"drm-resident-vram:\t1048577 GiB\n", -1, -1},
        {"drm-resident-vram0:\t1048576 GiB\ndrm-resident-vram1:\t1\n", -1, -1},
        {"drm-resident-vram:\t5 MiB\ndrm-memory-vram:\tmany\n", -1, -1},
        /* Lines that are none are passed over. */
        {"\n\n:\n::\ndrm-\ndrm-resident-vram\nresident-vram: 7\n\377\1\2\ndrm-resident-vram: 3 KiB\n", 3072, -1},
    };
    (void)state;
    for (int i = 0; i < O3_COUNT(rows); i++) {
        fdinfo_client c;
        fdinfo_parse(rows[i].text, &c);
        if (c.own_bytes != rows[i].own || c.mapped_bytes != rows[i].mapped)
            fail_msg("%s: %lld and %lld", rows[i].text, (long long)c.own_bytes, (long long)c.mapped_bytes);
        assert_string_equal(c.pci, "");
        assert_int_equal(c.id, -1);
    }
    fdinfo_client c;
    fdinfo_parse("drm-client-id: 0\ndrm-pdev: 0000:C4:00.0\n", &c);
    assert_int_equal(c.id, 0);
    assert_string_equal(c.pci, "0000:c4:00.0");
    fdinfo_parse("drm-client-id: x\ndrm-pdev: \n0000:C4:00.0\n", &c);
    assert_int_equal(c.id, -1);
    assert_string_equal(c.pci, "");
}

/* By the sources: with the processes and nothing else; a card's own memory, of an APU what is mapped as well. */
static void by_amdgpu(void **state)
{
    sysroot_machine(*state, 16);
    sysroot_meminfo(*state, 127900, 120000);
    card_dgpu(*state, 0, CARD);
    card_text(*state, 0, "power/runtime_status", "suspended\n"); /* is not woken */
    card_apu(*state, 1, CARD_GIB / 2, 62 * CARD_GIB);
    amd(*state, 10, CARD, 1, 2048, 100);
    amd(*state, 11, "0000:c4:00.0", 1, 300, 9000);
    o3_auto(free) o3_profile *p = gpu_profile(*state, "OLLAMA_IGPU_ENABLE=1");
    assert_int_equal(p->gpu_count, 2);
    for (int i = 0; i < 2; i++) {
        gpu_reading r = GPU_READING_UNKNOWN;
        void *at = gpu_amdgpu.open(*state, &p->gpus[i]);
        gpu_amdgpu.read(at, GPU_READ_MEMORY | GPU_READ_SLOW, PID, &r);
        assert_int_equal(r.runner_bytes, -1);
        gpu_amdgpu.read(at, GPU_READ_PROCESSES, PID, &r);
        assert_int_equal(r.runner_bytes, strcmp(p->gpus[i].pci, CARD) ? 9300 * MIB : 2048 * MIB);
        gpu_amdgpu.read(at, GPU_READ_PROCESSES, -1, &r);
        assert_int_equal(r.runner_bytes, -1);
        gpu_amdgpu.close(at);
    }
}

static void by_intel(void **state)
{
    static const char xe[] = "drm-driver:\txe\ndrm-client-id:\t3\ndrm-pdev:\t" CARD "\ndrm-total-gtt:\t192 KiB\n"
                             "drm-resident-gtt:\t192 KiB\ndrm-total-vram0:\t24 MiB\ndrm-resident-vram0:\t16 MiB\n";
    gpu_reading r = GPU_READING_UNKNOWN;
    sysroot_machine(*state, 8);
    card_new(*state, 0, "0x8086\n", "0x4680\n", "i915", "0000:00:02.0");
    card_new(*state, 1, "0x8086\n", "0xe20b\n", "xe", CARD);
    card_text(*state, 1, "resource", "0x0000004000000000 0x00000043ffffffff 0x000000000014220c\n");
    descriptor(*state, 10, xe);
    descriptor(*state, 11, xe);
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    assert_string_equal(p->gpus[0].pci, CARD);
    for (int asleep = 0; asleep < 2; asleep++) { /* without sensors, or with some that would wake it */
        p->gpus[0].asleep = asleep;
        void *at = gpu_intel.open(*state, &p->gpus[0]);
        assert_non_null(at);
        gpu_intel.read(at, GPU_READ_PROCESSES | GPU_READ_SLOW, PID, &r);
        assert_int_equal(r.runner_bytes, 16 * MIB);
        assert_true(isnan(r.temperature_c) && isnan(r.power_w) && r.used_bytes == -1);
        gpu_intel.close(at);
        card_sensor(*state, 1, 2, "pkg\n", 51000, 100000);
    }
    assert_null(gpu_intel.open(*state, &p->gpus[1])); /* in the CPU: its memory is the RAM, and it has no sensor */
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, sysroot_new, sysroot_free)
    const struct CMUnitTest tests[] = {
        CASE(clients_once), CASE(unknown),        CASE(not_to_be_read), CASE(another_users),
        CASE(too_many),     CASE(keys_and_units), CASE(by_amdgpu),   CASE(by_intel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
