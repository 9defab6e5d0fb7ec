/* SPDX-License-Identifier: Apache-2.0 */
/* GPUs under watch: cards made of files, and a library that plays machines. Waits end when something was seen. */
#include <poll.h>
#include <time.h>

#include "../hardware/gpu_files.h"
#include "../../stubs/nvml_use.h"
#include "files.h"
#include "monitor/sources.h"
#include "o3/monitor.h"

#define MIB SYSROOT_MIB
#define WAIT_MS 60000

static void nap_ms(int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

typedef struct bench {
    o3_profile *profile;
    o3_cancel *cancel;
    o3_monitor *monitor;
    char reason[O3_TEXT_MAX];
} bench;

static bench watch(const char *root, o3_monitor_options options)
{
    bench b = {.profile = gpu_profile(root, NULL), .cancel = o3_cancel_new()};
    options.root = root;
    assert_int_equal(monitor_start(&b.monitor, b.profile, &options, b.cancel, NULL), O3_OK);
    return b;
}

static void end(bench *b)
{
    monitor_stop(b->monitor);
    o3_cancel_free(b->cancel);
    free(b->profile);
}

static o3_monitor_stop stopped(bench *b)
{
    struct pollfd p = {.fd = o3_cancel_fd(b->cancel), .events = POLLIN};
    assert_int_equal(poll(&p, 1, WAIT_MS), 1);
    return monitor_stop_reason(b->monitor, b->reason, sizeof(b->reason));
}

static void wait_ticks(o3_monitor *monitor, int64_t more)
{
    int64_t until = monitor_ticks(monitor) + more;
    for (int i = 0; monitor_ticks(monitor) < until; i++) {
        assert_true(i < WAIT_MS / 10);
        nap_ms(10);
    }
}

static const o3_monitor_options quick = {.interval_ms = 20, .stale_s = 1, .max_temperature_c = 85};

static void memory_limit(void **state)
{
    o3_peaks peaks;
    host_files(*state);
    card_dgpu(*state, 3, "0000:03:00.0");
    card_dgpu(*state, 5, "0000:05:00.0");
    bench b = watch(*state, quick);
    assert_int_equal(b.profile->gpu_count, 2);
    wait_ticks(b.monitor, 3);
    assert_int_equal(o3_cancel_get(b.cancel), O3_CANCEL_NONE);
    assert_int_equal(monitor_pool_bytes(b.monitor, 2), 1852891136);
    card_i64(*state, 5, "mem_info_vram_used", 24000000000);
    assert_int_equal(stopped(&b), O3_STOP_LIMIT);
    assert_string_equal(b.reason, "gpu:0000:05:00.0 at 22.4 GiB, 93 % of 24.0 GiB, over the limit of 90 %");
    card_i64(*state, 5, "mem_info_vram_used", 2000000000);
    wait_ticks(b.monitor, 2);
    monitor_peaks(b.monitor, &peaks);
    o3_notes notes = {0};
    monitor_notes(b.monitor, &notes);
    assert_int_equal(notes.count, 0);
    assert_int_equal(peaks.pools[1].bytes, 1852891136);
    assert_int_equal(peaks.pools[2].bytes, 24000000000);
    assert_true(peaks.temperature_c == 58);
    end(&b);
}

/* No list of processes: what the card's memory grew by while the runner was there is the runner's. */
static void growth(void **state)
{
    o3_peaks peaks;
    host_files(*state);
    process_stat(*state, 77, 'S', 1, 1, 5);
    sysroot_text(*state, "/proc/77/status", "Name:\tx\nRssAnon:\t 100 kB\nRssShmem:\t 0 kB\n");
    card_dgpu(*state, 3, "0000:03:00.0");
    bench b = watch(*state, quick);
    card_i64(*state, 3, "mem_info_vram_used", 9000 * MIB); /* the model of before */
    monitor_watch(b.monitor, -1, -1);
    wait_ticks(b.monitor, 1);
    card_i64(*state, 3, "mem_info_vram_used", 500 * MIB); /* gone */
    wait_ticks(b.monitor, 2);
    card_i64(*state, 3, "mem_info_vram_used", 4000 * MIB); /* the next is being loaded */
    wait_ticks(b.monitor, 2);
    monitor_watch(b.monitor, -1, 77);
    monitor_peaks_reset(b.monitor);
    card_i64(*state, 3, "mem_info_vram_used", 4600 * MIB);
    wait_ticks(b.monitor, 2);
    monitor_peaks(b.monitor, &peaks);
    assert_int_equal(peaks.pools[1].runner_bytes, 4100 * MIB);
    assert_int_equal(peaks.pools[0].runner_bytes, 100 * 1024);
    end(&b);
}

/* What the drivers' files say of the process goes before what the pool grew by, and is all there is where a driver does
 * not tell the use of its memory. */
static void process_files(void **state)
{
    o3_peaks peaks;
    host_files(*state);
    process_stat(*state, 77, 'S', 1, 1, 5);
    card_dgpu(*state, 3, "0000:03:00.0");
    card_new(*state, 5, "0x8086\n", "0xe20b\n", "xe", "0000:05:00.0");
    card_text(*state, 5, "resource", "0x0000004000000000 0x00000043ffffffff 0x000000000014220c\n");
    sysroot_text(*state, "/proc/77/fdinfo/9", "drm-client-id: 1\ndrm-pdev: 0000:03:00.0\ndrm-memory-vram: 2097152 KiB\n");
    sysroot_text(*state, "/proc/77/fdinfo/10", "drm-client-id: 2\ndrm-pdev: 0000:05:00.0\ndrm-resident-vram0: 700 MiB\n");
    bench b = watch(*state, quick);
    assert_int_equal(b.profile->gpu_count, 2);
    wait_ticks(b.monitor, 2);
    monitor_watch(b.monitor, -1, 77);
    monitor_peaks_reset(b.monitor);
    for (int i = 0; i < 100; i++) { /* asked for with the second look at the latest */
        monitor_peaks(b.monitor, &peaks);
        if (peaks.pools[1].runner_bytes == 2048 * MIB && peaks.pools[2].runner_bytes >= 0)
            break;
        wait_ticks(b.monitor, 1);
    }
    card_i64(*state, 3, "mem_info_vram_used", 9000 * MIB); /* by another process */
    wait_ticks(b.monitor, 2);
    monitor_peaks(b.monitor, &peaks);
    assert_int_equal(peaks.pools[1].bytes, 9000 * MIB);
    assert_int_equal(peaks.pools[1].runner_bytes, 2048 * MIB);
    assert_int_equal(peaks.pools[2].bytes, -1);
    assert_int_equal(peaks.pools[2].runner_bytes, 700 * MIB);
    assert_int_equal(o3_cancel_get(b.cancel), O3_CANCEL_NONE);
    end(&b);
}

static void heat(void **state)
{
    host_files(*state);
    card_dgpu(*state, 3, "0000:03:00.0");
    bench b = watch(*state, quick);
    card_i64(*state, 3, "hwmon/hwmon7/temp2_input", 104000); /* a junction may be hot: 6 degrees below its limit */
    nap_ms(2000);
    assert_int_equal(o3_cancel_get(b.cancel), O3_CANCEL_NONE);
    card_i64(*state, 3, "hwmon/hwmon7/temp1_input", 86000);
    assert_int_equal(stopped(&b), O3_STOP_TEMPERATURE);
    assert_string_equal(b.reason, "GPU 0000:03:00.0 at 86 °C (median of three readings), over the limit of 85 °C");
    card_i64(*state, 3, "hwmon/hwmon7/temp1_input", 60000);
    card_i64(*state, 3, "hwmon/hwmon7/temp2_input", 106000);
    o3_cancel_clear(b.cancel, O3_CANCEL_SAFETY);
    monitor_rearm(b.monitor);
    assert_int_equal(stopped(&b), O3_STOP_TEMPERATURE);
    assert_string_equal(b.reason, "GPU 0000:03:00.0 is within five degrees of a limit of its own (a sensor at 106 °C)");
    end(&b);
}

/* A card that goes to sleep takes its temperature with it; one whose files vanish is lost. */
static void sleep_and_loss(void **state)
{
    host_files(*state);
    card_dgpu(*state, 3, "0000:03:00.0");
    bench b = watch(*state, quick);
    wait_ticks(b.monitor, 2);
    card_text(*state, 3, "power/runtime_status", "suspended\n");
    nap_ms(2500); /* longer than a lost sensor may be gone */
    assert_int_equal(o3_cancel_get(b.cancel), O3_CANCEL_NONE);
    card_text(*state, 3, "mem_info_vram_used", "");
    assert_int_equal(stopped(&b), O3_STOP_STALE);
    assert_non_null(strstr(b.reason, "gpu:0000:03:00.0 could not be read for"));
    end(&b);
}

/* Its use could not be read from the start: said in the profile, and no reason to stop. */
static void unwatched(void **state)
{
    host_files(*state);
    card_dgpu(*state, 3, "0000:03:00.0");
    card_text(*state, 3, "mem_info_vram_used", "");
    bench b = watch(*state, quick);
    assert_true(sysroot_noted(b.profile, "its limit cannot be watched"));
    nap_ms(1500);
    assert_int_equal(o3_cancel_get(b.cancel), O3_CANCEL_NONE);
    assert_int_equal(monitor_pool_bytes(b.monitor, 1), -1);
    end(&b);
}

/* NVIDIA's library ---------------------------------------------------------------------------------------------------- */

static int begin(void **state)
{
    nvml_stub_use("libnvml-stub.so");
    return sysroot_new(state);
}

static int finish(void **state)
{
    unsetenv("O3_TEST_NVML");
    return sysroot_free(state);
}

static void nvidia_card(const char *root)
{
    host_files(root);
    card_new(root, 0, "0x10de\n", "0x2330\n", "nvidia", "0000:01:00.0");
}

static void process_memory(void **state)
{
    o3_peaks peaks;
    nvidia_card(*state);
    process_stat(*state, 11327, 'S', 1, 1, 5);
    play(STUB_H100, 19818);
    bench b = watch(*state, quick);
    monitor_watch(b.monitor, -1, 11327);
    monitor_peaks_reset(b.monitor);
    for (int i = 0; i < 100; i++) { /* the list is asked for with the second look at the latest */
        monitor_peaks(b.monitor, &peaks);
        if (peaks.pools[1].runner_bytes == (2566 + 1542) * MIB)
            break;
        wait_ticks(b.monitor, 1);
    }
    assert_int_equal(peaks.pools[1].bytes, 19818 * MIB);
    assert_int_equal(peaks.pools[1].runner_bytes, (2566 + 1542) * MIB);
    assert_true(peaks.temperature_c == 59);
    play(STUB_HOT, 19818);
    assert_int_equal(stopped(&b), O3_STOP_TEMPERATURE);
    end(&b);
    assert_int_equal(sessions(), 0);
    assert_int_equal(wrong_structs(), 0);
}

static void lost(void **state)
{
    nvidia_card(*state);
    play(STUB_H100, 1000);
    bench b = watch(*state, quick);
    wait_ticks(b.monitor, 2);
    play(STUB_LOST, 0);
    assert_int_equal(stopped(&b), O3_STOP_STALE);
    assert_string_equal(b.reason, "the driver has lost gpu:0000:01:00.0; the machine may have to be restarted");
    end(&b);
}

/* 200 ms for each of four calls: the thread keeps its pace, the value gets older and is asked for more seldom; nothing is unsafe. */
static void slow(void **state)
{
    o3_watch *w = NULL;
    o3_sight sight;
    nvidia_card(*state);
    play(STUB_H100, 1000);
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    assert_int_equal(o3_watch_open(&w, p, *state, 20, NULL), O3_OK);
    play(STUB_SLOW, 2000);
    int64_t begin_ns = o3_now_ns(), ticks = 0;
    bool seen = false;
    while (o3_now_ns() - begin_ns < 3 * O3_NS_PER_S) {
        assert_true(o3_watch_next(w, NULL, INT64_MAX, &sight));
        seen = seen || sight.pool_bytes[1] == 2000 * MIB;
        ticks++;
    }
    assert_true(seen);
    assert_true(ticks > 50); /* of 150; a sampler that waited for the calls would make 8 */
    o3_watch_close(w);

    play(STUB_H100, 1000);
    bench b = watch(*state, quick);
    play(STUB_SLOW, 2000);
    nap_ms(3000);
    assert_int_equal(o3_cancel_get(b.cancel), O3_CANCEL_NONE);
    play(STUB_H100, 80000);
    assert_int_equal(stopped(&b), O3_STOP_LIMIT);
    o3_notes notes = {0};
    monitor_notes(b.monitor, &notes);
    assert_int_equal(notes.count, 1);
    assert_non_null(strstr(notes.text[0], "NVML answers slowly for GPU 0000:01:00.0"));
    end(&b);
}

/* A call that does not come back: old, then unsafe; the end does not wait for it. */
static void hanging(void **state)
{
    nvidia_card(*state);
    play(STUB_H100, 1000);
    bench b = watch(*state, quick);
    wait_ticks(b.monitor, 2);
    play(STUB_HANGS, 1000);
    int64_t begin_ns = o3_now_ns();
    assert_int_equal(stopped(&b), O3_STOP_STALE);
    assert_non_null(strstr(b.reason, "gpu:0000:01:00.0 could not be read for"));
    double seconds = (double)(o3_now_ns() - begin_ns) / (double)O3_NS_PER_S;
    print_message("# stopped %.2f s after the first call that hung\n", seconds);
    assert_true(seconds >= 0.9);
    assert_true(monitor_age_s(b.monitor) < 1); /* the thread itself goes on */
    begin_ns = o3_now_ns();
    monitor_stop(b.monitor);
    assert_true(o3_now_ns() - begin_ns < 3 * O3_NS_PER_S);
    o3_cancel_free(b.cancel);
    free(b.profile);
    play(STUB_H100, 0);
    for (int i = 0; sessions() && i < WAIT_MS / 10; i++) /* what was left behind cleans up when it comes back */
        nap_ms(10);
    assert_int_equal(sessions(), 0);
}

/* What a program prints, it is asked for every two seconds: seldom, but within what counts as fresh for it. */
static void by_program(void **state)
{
    static const char script[] = "#!/bin/sh\nprintf 'index, pci.bus_id, memory.total [MiB], memory.used [MiB], name\\n"
                                 "0, 00000000:01:00.0, 24564 MiB, %d MiB, NVIDIA GeForce RTX 4090\\n'\n";
    char text[512], path[PATH_MAX];
    nvidia_card(*state);
    setenv("O3_TEST_NVML", "/nowhere/libnvidia-ml.so.1", 1);
    O3_FORMAT(path, "%s/bin:/usr/bin:/bin", (const char *)*state);
    setenv("PATH", path, 1);
    O3_FORMAT(text, script, 1500);
    sysroot_text(*state, "/bin/nvidia-smi", text);
    O3_FORMAT(path, "%s/bin/nvidia-smi", (const char *)*state);
    assert_int_equal(chmod(path, 0755), 0);
    bench b = watch(*state, quick);
    assert_string_equal(b.profile->gpus[0].source, "nvidia-smi");
    nap_ms(3000);
    assert_int_equal(o3_cancel_get(b.cancel), O3_CANCEL_NONE);
    assert_int_equal(monitor_pool_bytes(b.monitor, 1), 1500 * MIB);
    O3_FORMAT(text, script, 23000);
    sysroot_text(*state, "/bin/nvidia-smi", text);
    assert_int_equal(stopped(&b), O3_STOP_LIMIT);
    end(&b);
}

/* CPU time of a look at a GPU, beside one without. */
static void cost(void **state)
{
    double cost_s[2];
    nvidia_card(*state);
    play(STUB_H100, 1000);
    for (int with = 0; with < 2; with++) {
        bench b = watch(*state, (o3_monitor_options){.interval_ms = 10, .stale_s = 1});
        if (!with) {
            monitor_stop(b.monitor);
            b.profile->gpu_count = 0;
            b.profile->pool_count = 1;
            o3_monitor_options options = {.root = *state, .interval_ms = 10, .stale_s = 1};
            assert_int_equal(monitor_start(&b.monitor, b.profile, &options, b.cancel, NULL), O3_OK);
        }
        wait_ticks(b.monitor, 5);
        double from_s = monitor_cost_s(b.monitor);
        int64_t from = monitor_ticks(b.monitor);
        wait_ticks(b.monitor, 100);
        cost_s[with] = (monitor_cost_s(b.monitor) - from_s) / (double)(monitor_ticks(b.monitor) - from);
        end(&b);
    }
    print_message("# a look takes %.0f us of CPU, with a GPU that answers at once %.0f us\n", cost_s[0] * 1e6, cost_s[1] * 1e6);
    assert_true(cost_s[1] < 3e-3); /* 3 % of a core at 10 Hz would be a mistake somewhere */
}

int main(void)
{
#define FILES(name) cmocka_unit_test_setup_teardown(name, sysroot_new, sysroot_free)
#define NVIDIA(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        FILES(memory_limit), FILES(growth),         FILES(process_files), FILES(heat),  FILES(sleep_and_loss), FILES(unwatched),
        NVIDIA(process_memory), NVIDIA(lost), NVIDIA(slow), NVIDIA(hanging),        NVIDIA(by_program),
        NVIDIA(cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
