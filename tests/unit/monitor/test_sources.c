/* SPDX-License-Identifier: Apache-2.0 */
/* What is read from which file, and how readings are judged: no thread, no clock. */
#include "files.h"
#include "monitor/limits.h"

#define MIB SYSROOT_MIB

/* limits: pure ------------------------------------------------------------------------------------------------- */

typedef struct bench {
    o3_profile profile;
    monitor_limits limits;
    monitor_reading reading;
    char text[O3_TEXT_MAX];
} bench;

static bench *bench_new(o3_monitor_options options)
{
    bench *b = o3_alloc(1, sizeof(*b));
    b->profile.pool_count = 2;
    b->profile.pools[0] = (o3_pool){.name = "ram", .total_bytes = 1000 * MIB, .limit_frac = 0.85};
    b->profile.pools[1] = (o3_pool){.name = "cgroup:/x", .total_bytes = 320 * MIB, .limit_frac = 0.85, .cgroup = 1};
    limits_init(&b->limits, &b->profile, &options, 0);
    b->reading = (monitor_reading){.busy_ticks = 0, .runner_bytes = -1, .psi_full_us = 0, .temperature_c = NAN};
    return b;
}

/* The next reading, `ms` later; what MONITOR_READ_... it carries. */
static o3_monitor_stop after(bench *b, int ms, int what)
{
    b->reading.at_ns += ms * O3_NS_PER_MS;
    b->text[0] = '\0';
    limits_add(&b->limits, &b->reading, what);
    return limits_check(&b->limits, b->text, sizeof(b->text));
}

static void pool_limit(void **state)
{
    (void)state;
    bench *b = bench_new(O3_MONITOR_OPTIONS_DEFAULT);
    b->reading.pool_bytes[0] = 849 * MIB;
    b->reading.pool_bytes[1] = 271 * MIB;
    assert_int_equal(after(b, 100, 0), O3_STOP_NONE);
    b->reading.pool_bytes[1] = 275 * MIB;
    assert_int_equal(after(b, 100, 0), O3_STOP_LIMIT);
    assert_string_equal(b->text, "cgroup:/x at 275 MiB, 86 % of 320 MiB, over the limit of 85 %");
    b->reading.pool_bytes[1] = 272 * MIB; /* exactly at it */
    assert_int_equal(after(b, 100, 0), O3_STOP_LIMIT);
    b->reading.pool_bytes[1] = -1; /* one reading lost: nothing is known, nothing is wrong yet */
    assert_int_equal(after(b, 100, 0), O3_STOP_NONE);
    b->reading.pool_bytes[0] = 850 * MIB;
    assert_int_equal(after(b, 100, 0), O3_STOP_LIMIT);
    assert_non_null(strstr(b->text, "ram at 850 MiB"));
    b->profile.pools[0].total_bytes = -1; /* of unknown size: no limit to hold it against */
    assert_int_equal(after(b, 100, 0), O3_STOP_NONE);
    free(b);
}

static void pressure(void **state)
{
    (void)state;
    bench *b = bench_new(O3_MONITOR_OPTIONS_DEFAULT);
    for (int i = 0; i < 30; i++, b->reading.psi_full_us += 50000) /* half of the time, no runner: a load */
        assert_int_equal(after(b, 100, 0), O3_STOP_NONE);
    assert_int_equal(after(b, 100, 0), O3_STOP_NONE);
    limits_runner(&b->limits, true, b->reading.at_ns);
    for (int i = 0; i < 30; i++, b->reading.psi_full_us += 4900) /* 4.9 % */
        assert_int_equal(after(b, 100, 0), O3_STOP_NONE);
    int readings = 0;
    for (; after(b, 100, 0) == O3_STOP_NONE && readings < 100; readings++)
        b->reading.psi_full_us += 20000;
    assert_in_range(readings, 1, 10); /* 20 % pass 5 % of a second well within one */
    assert_non_null(strstr(b->text, "memory was waited for in"));
    limits_rearm(&b->limits, b->reading.at_ns); /* what was before does not count again */
    assert_int_equal(after(b, 100, 0), O3_STOP_NONE);
    for (int i = 0; i < 30; i++)
        assert_int_equal(after(b, 100, 0), O3_STOP_NONE);
    b->reading.psi_full_us = -1; /* no PSI here */
    for (int i = 0; i < 30; i++)
        assert_int_equal(after(b, 100, 0), O3_STOP_NONE);
    free(b);
}

static void pressure_off(void **state)
{
    (void)state;
    bench *b = bench_new((o3_monitor_options){.interval_ms = 100, .stale_s = 1});
    limits_runner(&b->limits, true, 1);
    for (int i = 0; i < 30; i++, b->reading.psi_full_us += 100000)
        assert_int_equal(after(b, 100, 0), O3_STOP_NONE);
    free(b);
}

static void temperature(void **state)
{
    (void)state;
    bench *b = bench_new(O3_MONITOR_OPTIONS_DEFAULT);
    static const double row[] = {80, 99, 84, 99, 80, 84, 86, 86};
    for (int i = 0; i < O3_COUNT(row); i++) { /* single spikes are noise; two of three are not */
        b->reading.temperature_c = row[i];
        o3_monitor_stop wanted = i == 3 || i == 7 ? O3_STOP_TEMPERATURE : O3_STOP_NONE;
        assert_int_equal(after(b, 500, MONITOR_READ_TEMPERATURE), wanted);
    }
    assert_string_equal(b->text, "CPU at 86 °C (median of three readings), over the limit of 85 °C");
    limits_rearm(&b->limits, b->reading.at_ns);
    assert_int_equal(after(b, 500, MONITOR_READ_TEMPERATURE), O3_STOP_NONE);
    b->reading.temperature_c = NAN;
    assert_int_equal(after(b, 500, MONITOR_READ_TEMPERATURE), O3_STOP_NONE);
    assert_int_equal(after(b, 2000, MONITOR_READ_TEMPERATURE), O3_STOP_STALE);
    assert_non_null(strstr(b->text, "temperature could not be read"));
    free(b);
    b = bench_new(O3_MONITOR_OPTIONS_DEFAULT); /* no sensor at all is no lost sensor */
    for (int i = 0; i < 20; i++)
        assert_int_equal(after(b, 500, MONITOR_READ_TEMPERATURE), O3_STOP_NONE);
    free(b);
}

/* Cool is ten degrees below the limit, by three readings since the watch began anew; a GPU's own limits count too. */
static void cooling(void **state)
{
    (void)state;
    bench *b = bench_new(O3_MONITOR_OPTIONS_DEFAULT);
    assert_false(limits_hot(&b->limits, b->text, sizeof(b->text))); /* without a sensor nothing is hot */
    static const struct { double celsius; bool hot; } rows[] = {
        {91, true}, {74, true}, {74, false}, {76, false}, {76, true}, {74, true}, {74, false},
    };
    for (int i = 0; i < O3_COUNT(rows); i++) {
        b->reading.temperature_c = rows[i].celsius;
        after(b, 500, MONITOR_READ_TEMPERATURE);
        assert_int_equal(limits_hot(&b->limits, b->text, sizeof(b->text)), rows[i].hot);
    }
    limits_rearm(&b->limits, b->reading.at_ns);
    assert_true(limits_hot(&b->limits, b->text, sizeof(b->text)));
    assert_string_equal(b->text, "CPU at 74 °C, to be below 75 °C"); /* one old reading is not enough */
    for (int i = 0; i < 3; i++)
        after(b, 500, MONITOR_READ_TEMPERATURE);
    assert_false(limits_hot(&b->limits, b->text, sizeof(b->text)));
    b->profile.gpu_count = 1;
    O3_COPY(b->profile.gpus[0].pci, "0000:03:00.0");
    gpu_sample *gpu = &b->reading.gpus[0];
    gpu->values = GPU_READING_UNKNOWN;
    gpu->values.margin_c = 4;
    gpu->values.hot_c = 101;
    for (int i = 0; i < 3; i++) {
        gpu->slow_at_ns = b->reading.at_ns + 1;
        after(b, 500, MONITOR_READ_TEMPERATURE);
        assert_true(limits_hot(&b->limits, b->text, sizeof(b->text)));
    }
    assert_string_equal(b->text, "GPU 0000:03:00.0 has a sensor at 101 °C, to be 6 degrees cooler");
    gpu->values.asleep = true;
    after(b, 500, MONITOR_READ_TEMPERATURE);
    assert_false(limits_hot(&b->limits, b->text, sizeof(b->text)));
    free(b);
}

static void lost_pools(void **state)
{
    (void)state;
    bench *b = bench_new(O3_MONITOR_OPTIONS_DEFAULT);
    assert_int_equal(after(b, 100, 0), O3_STOP_NONE);
    b->reading.pool_bytes[1] = -1;
    assert_int_equal(after(b, 900, 0), O3_STOP_NONE);
    assert_int_equal(after(b, 200, 0), O3_STOP_STALE);
    assert_string_equal(b->text, "cgroup:/x could not be read for 1.1 s, so its limit cannot be watched");
    b->reading.pool_gone[1] = true;
    assert_int_equal(after(b, 100, 0), O3_STOP_STALE);
    assert_non_null(strstr(b->text, "does not exist any more"));
    b->reading.server_gone = true;
    assert_int_equal(after(b, 100, 0), O3_STOP_SERVER_GONE);
    assert_string_equal(b->text, "the server ended and cgroup:/x with it; no limit was reached");
    b->reading.pool_bytes[1] = 5;
    assert_int_equal(after(b, 100, 0), O3_STOP_NONE);
    free(b);
    /* with rare looks a single failure is still a single failure */
    b = bench_new((o3_monitor_options){.interval_ms = 5000, .stale_s = 1});
    assert_int_equal(after(b, 5000, 0), O3_STOP_NONE);
    b->reading.pool_bytes[1] = -1;
    assert_int_equal(after(b, 5000, 0), O3_STOP_NONE);
    free(b);
}

static void nearing_and_busy(void **state)
{
    (void)state;
    bench *b = bench_new(O3_MONITOR_OPTIONS_DEFAULT);
    b->reading.pool_bytes[1] = 200 * MIB;
    after(b, 100, 0);
    monitor_reading before = b->reading;
    b->reading.pool_bytes[1] = 220 * MIB; /* +20 in an interval: 260 after two more */
    after(b, 100, 0);
    assert_false(limits_near(&b->limits, &before));
    before = b->reading;
    b->reading.pool_bytes[1] = 240 * MIB;
    after(b, 100, 0);
    assert_true(limits_near(&b->limits, &before));
    before = b->reading;
    b->reading.pool_bytes[1] = 230 * MIB;
    after(b, 100, 0);
    assert_false(limits_near(&b->limits, &before));

    int64_t from = b->reading.at_ns;
    for (int i = 0; i < 8; i++, b->reading.all_ticks += 20, b->reading.busy_ticks += 5) {
        after(b, 100, 0);
        assert_true(isnan(limits_busy_frac(&b->limits, from)));
    }
    after(b, 100, 0);
    after(b, 100, 0);
    double busy = limits_busy_frac(&b->limits, from);
    assert_true(busy > 0.15 && busy < 0.26);
    for (int i = 0; i < 200; i++) /* far more readings than the ring has places */
        after(b, 3, 0);
    assert_true(limits_busy_frac(&b->limits, from) <= busy);
    b->reading.all_ticks = -1;
    after(b, 100, 0);
    assert_true(isnan(limits_busy_frac(&b->limits, from)));
    free(b);
}

/* sources: files ------------------------------------------------------------------------------------------------ */

static void readings(void **state)
{
    const char *root = *state;
    for (int version = 1; version <= 2; version++) {
        sysroot_remove(root, "/sys");
        host_files(root);
        group_files(root, version, 100);
        o3_profile *profile = host_profile(root, 42);
        monitor_sources *sources = sources_open(root, profile);
        monitor_reading r;
        sources_read(sources, MONITOR_READ_COUNTERS | MONITOR_READ_TEMPERATURE, &r);
        assert_int_equal(r.pool_bytes[0], 8192 * MIB);
        assert_int_equal(r.pool_bytes[1], 100 * MIB);
        assert_int_equal(r.busy_ticks, 168); /* guest time is in user already; idle and iowait are not busy */
        assert_int_equal(r.all_ticks, 1188);
        assert_int_equal(r.psi_full_us, 3);
        assert_int_equal(r.swap_in_pages, 7);
        assert_int_equal(r.refault_file_pages, 70); /* the group's own */
        assert_int_equal(r.oom_kills, 4);
        assert_int_equal(r.runner_bytes, -1);
        assert_int_equal(sources_cpus(sources), 4);
        assert_true(isnan(r.temperature_c));
        assert_false(r.engine_known);
        if (version == 2) {
            sources_close(sources);
            sysroot_text(root, "/sys/fs/cgroup/e/memory.pressure", "some total=9\nfull avg10=0.00 total=77\n");
            sources = sources_open(root, profile);
            sources_read(sources, 0, &r);
            assert_int_equal(r.psi_full_us, 77); /* the engine's own waits before the host's */
        }
        sources_close(sources);
        free(profile);
    }
}

static void some_cpus(void **state)
{
    const char *root = *state;
    monitor_reading r;
    host_files(root);
    sysroot_text(root, "/proc/42/status", "Cpus_allowed_list:\t1,3\n");
    o3_profile *profile = host_profile(root, 42);
    monitor_sources *sources = sources_open(root, profile);
    sources_read(sources, 0, &r);
    assert_int_equal(sources_cpus(sources), 2);
    assert_int_equal(r.busy_ticks, 46 + 22);
    assert_int_equal(r.all_ticks, 351 + 227);
    sources_close(sources);
    free(profile);
}

static void processes(void **state)
{
    const char *root = *state;
    monitor_reading r;
    host_files(root);
    o3_profile *profile = host_profile(root, -1);
    monitor_sources *sources = sources_open(root, profile);
    process_stat(root, 50, 'S', 100, 50, 1);
    process_stat(root, 60, 'R', 30, 3, INT64_C(1) << 50); /* began after the mark: all it has used is ours */
    sysroot_text(root, "/proc/60/status", "Name:\tx\nRssAnon:\t  1000 kB\nRssFile:\t 5000 kB\nRssShmem:\t  24 kB\n");
    sources_read(sources, MONITOR_READ_COUNTERS, &r);
    assert_int_equal(r.engine_ticks, 0);
    sources_watch(sources, 50, 60);
    sources_read(sources, MONITOR_READ_COUNTERS, &r);
    assert_int_equal(r.engine_ticks, 33); /* the server was running before: from now on */
    assert_true(r.engine_known && !r.server_gone);
    assert_int_equal(r.runner_bytes, 1024 * 1024);
    process_stat(root, 50, 'S', 101, 52, 1);
    process_stat(root, 60, 'R', 40, 3, INT64_C(1) << 50);
    sysroot_text(root, "/proc/self/stat", "9 (o3) R 1 1 1 0 -1 0 0 0 0 0 11 5 0 0 20 0 1 0 1 9 9\n");
    sources_read(sources, MONITOR_READ_COUNTERS, &r);
    assert_int_equal(r.engine_ticks, 33 + 3 + 10 + 1);

    process_stat(root, 60, 'Z', 45, 3, INT64_C(1) << 50); /* ended: what it had used stays ours */
    sysroot_text(root, "/proc/50/stat", "");
    sysroot_text(root, "/proc/60/status", "Name:\tx\nState:\tZ\n");
    sources_read(sources, MONITOR_READ_COUNTERS, &r);
    assert_int_equal(r.engine_ticks, 47);
    assert_true(r.engine_known && r.server_gone);
    assert_int_equal(r.runner_bytes, -1);
    sources_watch(sources, 50, -1); /* made anew under the same number */
    process_stat(root, 50, 'S', 5, 0, 1);
    sources_read(sources, MONITOR_READ_COUNTERS, &r);
    assert_true(r.engine_known && !r.server_gone);
    assert_int_equal(r.engine_ticks, 47);
    sources_watch(sources, 50, 50); /* one process that is both counts once */
    process_stat(root, 50, 'S', 9, 0, 1);
    sources_read(sources, MONITOR_READ_COUNTERS, &r);
    assert_int_equal(r.engine_ticks, 51);
    assert_true(r.engine_known);
    sources_watch(sources, 50, 4711); /* a runner that cannot be seen: its share would be taken for foreign */
    sources_read(sources, MONITOR_READ_COUNTERS, &r);
    assert_false(r.engine_known);
    sources_close(sources);
    free(profile);
}

static void damaged_files(void **state)
{
    static const char *const texts[] = {"", "\n", "garbage", "cpu  \n", "cpu  1 2\n", "cpu  -5 1 1 1 1 1 1 1\n",
                                        "cpu  99999999999999999999 1 1 1 1 1 1 1\n", "cpu", "full total=",
                                        "full total=x",
                                        "anon\n", "MemTotal: 5 kB\n", "pswpin\noom_kill x\n"};
    static const char *const files[] = {"/proc/stat", "/proc/pressure/memory", "/proc/meminfo", "/proc/vmstat",
                                        "/sys/fs/cgroup/e/memory.stat", "/proc/self/stat"};
    const char *root = *state;
    for (int i = 0; i < O3_COUNT(texts); i++) {
        monitor_reading r;
        host_files(root);
        group_files(root, 2, 100);
        o3_profile *profile = host_profile(root, 42);
        monitor_sources *sources = sources_open(root, profile);
        for (int f = 0; f < O3_COUNT(files); f++)
            sysroot_text(root, files[f], texts[i]);
        sources_read(sources, MONITOR_READ_COUNTERS, &r);
        assert_int_equal(r.busy_ticks, -1);
        assert_int_equal(r.psi_full_us, -1);
        assert_int_equal(r.pool_bytes[0], -1);
        assert_int_equal(r.pool_bytes[1], -1);
        assert_int_equal(r.swap_in_pages, -1);
        assert_int_equal(r.engine_ticks, 0);
        assert_false(r.pool_gone[0] || r.pool_gone[1]);
        sysroot_text(root, files[4], "");
        sysroot_remove(root, "/sys/fs/cgroup/e");
        sources_read(sources, 0, &r);
        assert_true(r.pool_gone[1]);
        group_files(root, 2, 50); /* the service restarted: same path, another directory */
        sources_read(sources, 0, &r);
        assert_int_equal(r.pool_bytes[1], 50 * MIB);
        sources_close(sources);
        free(profile);
    }
}

static void sensor_choice(void **state)
{
    static const struct {
        struct { const char *path, *text; } files[6];
        double celsius; /* NaN: none to be trusted */
    } rows[] = {
        {{{NULL, NULL}}, NAN},
        {{{"/sys/class/hwmon/hwmon0/name", "acpitz\n"}, {"/sys/class/hwmon/hwmon0/temp1_input", "27800\n"}}, NAN},
        {{{"/sys/class/hwmon/hwmon3/name", "k10temp\n"}, {"/sys/class/hwmon/hwmon3/temp1_label", "Tctl\n"},
          {"/sys/class/hwmon/hwmon3/temp1_input", "80000\n"}, {"/sys/class/hwmon/hwmon3/temp2_label", "Tdie\n"},
          {"/sys/class/hwmon/hwmon3/temp2_input", "60500\n"}}, 60.5},
        {{{"/sys/class/hwmon/hwmon1/name", "coretemp\n"}, {"/sys/class/hwmon/hwmon1/temp1_label", "Package id 0\n"},
          {"/sys/class/hwmon/hwmon1/temp1_input", "70000\n"}, {"/sys/class/hwmon/hwmon1/temp2_label", "Core 0\n"},
          {"/sys/class/hwmon/hwmon1/temp2_input", "99000\n"}}, 70},
        {{{"/sys/class/hwmon/hwmon1/name", "k10temp\n"}, {"/sys/class/hwmon/hwmon1/temp1_label", "Tctl\n"},
          {"/sys/class/hwmon/hwmon1/temp1_input", ""}}, NAN},
        {{{"/sys/class/thermal/thermal_zone0/type", "acpitz\n"}, {"/sys/class/thermal/thermal_zone0/temp", "20000\n"},
          {"/sys/class/thermal/thermal_zone4/type", "x86_pkg_temp\n"},
          {"/sys/class/thermal/thermal_zone4/temp", "55000\n"}}, 55},
        {{{"/sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"},
          {"/sys/class/thermal/thermal_zone0/temp", "-2147483648\n"}}, NAN},
        {{{"/sys/class/hwmon/hwmon1/name", "cpu_thermal\n"}, {"/sys/class/hwmon/hwmon1/temp1_input", "0\n"}}, NAN},
    };
    const char *root = *state;
    for (int i = 0; i < O3_COUNT(rows); i++) {
        monitor_reading r;
        sysroot_remove(root, "/sys");
        host_files(root);
        for (int f = 0; f < O3_COUNT(rows[i].files) && rows[i].files[f].path; f++)
            sysroot_text(root, rows[i].files[f].path, rows[i].files[f].text);
        o3_profile *profile = host_profile(root, -1);
        monitor_sources *sources = sources_open(root, profile);
        sources_read(sources, MONITOR_READ_TEMPERATURE, &r);
        if (isnan(rows[i].celsius) ? !isnan(r.temperature_c) : fabs(r.temperature_c - rows[i].celsius) > 1e-9)
            fail_msg("row %d: %g", i, r.temperature_c);
        sources_close(sources);
        free(profile);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, sysroot_new, sysroot_free)
    const struct CMUnitTest tests[] = {
        CASE(pool_limit),       CASE(pressure), CASE(pressure_off), CASE(temperature), CASE(cooling), CASE(lost_pools),
        CASE(nearing_and_busy), CASE(readings), CASE(some_cpus),    CASE(processes),   CASE(damaged_files),
        CASE(sensor_choice),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
