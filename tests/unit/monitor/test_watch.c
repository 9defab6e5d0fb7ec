/* SPDX-License-Identifier: Apache-2.0 */
/* What a watch makes of the counters, and that a tick allocates nothing. */
#include <stdatomic.h>
#include <sys/resource.h>

#include "files.h"
#include "monitor/sampler.h"
#include "o3/monitor.h"

#ifdef __SANITIZE_ADDRESS__
#define COUNTS_ALLOCATIONS false
#else
#define COUNTS_ALLOCATIONS true
/* Under their usual names these count and go on to the C library's. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
#endif
static atomic_int allocations;
#ifndef __SANITIZE_ADDRESS__
void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    allocations++;
    return __libc_realloc(old, size);
}
#endif

static o3_err err;
static o3_sight sight;

static void pressure(const char *root, const char *what, int64_t some_us, int64_t full_us)
{
    char path[64], text[256];
    O3_FORMAT(path, "/proc/pressure/%s", what);
    O3_FORMAT(text, "some avg10=0.00 avg60=0.00 avg300=0.00 total=%lld\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=%lld\n",
              (long long)some_us, (long long)full_us);
    sysroot_text(root, path, text);
}

static void look(o3_watch *watch)
{
    assert_true(o3_watch_next(watch, NULL, o3_now_ns() + 5 * O3_NS_PER_S, &sight));
}

static o3_watch *watch_root(const char *root, const o3_profile *profile)
{
    o3_watch *watch;
    assert_int_equal(o3_watch_open(&watch, profile, root, 20, &err), O3_OK);
    return watch;
}

/* The jump of a counter is seen in one look, as a share of the time between that look and the one before. */
static void waits(void **state)
{
    const char *root = *state;
    host_files(root);
    pressure(root, "cpu", 1000, 0);
    pressure(root, "memory", 500, 100);
    o3_profile *profile = host_profile(root, -1);
    o3_watch *watch = watch_root(root, profile);
    look(watch);
    assert_true(sight.psi_memory_some_frac == 0 && sight.psi_memory_full_frac == 0);
    assert_true(sight.psi_cpu_some_frac == 0);
    pressure(root, "cpu", 4000, 0);
    for (int i = 0; i < 100 && !(sight.psi_cpu_some_frac > 0); i++)
        look(watch);
    assert_true(sight.psi_cpu_some_frac > 3000e-6 / 0.8 && sight.psi_cpu_some_frac < 3000e-6 / 0.3);
    pressure(root, "memory", 900000000, 1100); /* more than the time that went by */
    for (int i = 0; i < 50 && !(sight.psi_memory_full_frac > 0); i++)
        look(watch);
    assert_true(sight.psi_memory_some_frac == 1);
    assert_true(sight.psi_memory_full_frac > 0 && sight.psi_memory_full_frac < 1);
    sysroot_remove(root, "/proc/pressure");
    sysroot_text(root, "/proc/pressure/nothing", "");
    o3_watch_close(watch);
    watch = watch_root(root, profile);
    look(watch);
    assert_true(isnan(sight.psi_cpu_some_frac) && isnan(sight.psi_memory_some_frac) && isnan(sight.psi_memory_full_frac));
    o3_watch_close(watch);
    free(profile);
}

static void busy_and_runner(void **state)
{
    const char *root = *state;
    host_files(root);
    sysroot_text(root, "/proc/43/status", "Name:\tx\nRssAnon:\t  2048 kB\nRssFile:\t 100 kB\nRssShmem:\t 4 kB\n");
    process_stat(root, 43, 'S', 1, 1, 700);
    process_stat(root, 42, 'S', 1, 1, 600);
    o3_profile *profile = host_profile(root, -1);
    o3_watch *watch = watch_root(root, profile);
    look(watch);
    assert_true(isnan(sight.busy_frac)); /* no time of CPUs has gone by */
    assert_int_equal(sight.pool_bytes[0], 8192 * SYSROOT_MIB);
    assert_int_equal(sight.pool_bytes[1], -1);
    assert_int_equal(sight.rss_anon_bytes, -1);
    assert_int_equal(sight.throttle_events, -1);
    assert_true(isnan(sight.power_w) && isnan(sight.temperature_c));
    sysroot_text(root, "/proc/stat", "cpu  150 1 50 1050 20 3 4 10 90 9\n"); /* 100 ticks, half of them idle */
    o3_watch_engine(watch, 42, 43);
    bool seen = false;
    for (int i = 0; i < 200 && !seen; i++) {
        look(watch);
        seen = sight.busy_frac > 0;
    }
    assert_true(fabs(sight.busy_frac - 0.5) < 1e-9);
    assert_int_equal(sight.rss_anon_bytes, 2048 * 1024);
    assert_int_equal(sight.rss_file_bytes, 100 * 1024);
    sysroot_remove(root, "/proc/43");
    o3_watch_engine(watch, 42, -1);
    look(watch);
    look(watch);
    assert_int_equal(sight.rss_anon_bytes, -1);
    o3_watch_close(watch);
    free(profile);
}

static void taking(void **state)
{
    const char *root = *state;
    host_files(root);
    o3_profile *profile = host_profile(root, -1);
    o3_watch *watch = watch_root(root, profile);
    o3_cancel *cancel = o3_cancel_new();
    int64_t last = -1;
    for (int i = 0; i < 5; i++) { /* none is lost while somebody takes them */
        look(watch);
        assert_int_equal(sight.tick, last + 1);
        last = sight.tick;
    }
    o3_sleep_ns(O3_NS_PER_S / 2);
    for (int i = 0; i < 10; i++) { /* nor while they are kept */
        look(watch);
        assert_int_equal(sight.tick, ++last);
    }
    o3_sleep_ns(2 * O3_NS_PER_S); /* 100 looks, of which SAMPLER_KEPT are kept */
    look(watch);
    assert_true(sight.tick > last + 1);
    int64_t begin_ns = o3_now_ns();
    assert_false(o3_watch_next(watch, NULL, begin_ns, &sight));
    o3_cancel_set(cancel, O3_CANCEL_USER);
    assert_false(o3_watch_next(watch, cancel, INT64_MAX, &sight));
    assert_true(o3_now_ns() - begin_ns < O3_NS_PER_S);
    o3_cancel_free(cancel);
    o3_watch_close(watch);
    assert_int_equal(o3_watch_open(&watch, profile, root, 5, &err), O3_E_USAGE);
    free(profile);
}

static void number(const char *root, const char *path, int64_t value)
{
    char text[32];
    O3_FORMAT(text, "%lld\n", (long long)value);
    sysroot_text(root, path, text);
}

static void counters(void **state)
{
    const char *root = *state, core[] = "/sys/devices/system/cpu/cpu%d/thermal_throttle/core_throttle_count";
    static const char package[] = "/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count";
    static const char rapl[] = "/sys/class/powercap/intel-rapl:0/energy_uj";
    char path[128];
    cpu_source cpu;
    cpu_reading reading;
    sysroot_machine(root, 4);
    cpu_source_open(&cpu, root);
    cpu_source_read(&cpu, &reading);
    assert_int_equal(reading.throttle_count, -1);
    assert_int_equal(reading.energy_uj, -1);
    assert_int_equal(reading.psi_some_us, -1);
    cpu_source_close(&cpu);

    for (int i = 0; i < 4; i++) {
        O3_FORMAT(path, core, i);
        number(root, path, i);
    }
    number(root, package, 10);
    sysroot_text(root, "/sys/class/powercap/intel-rapl:0/name", "package-0\n");
    sysroot_text(root, "/sys/class/powercap/intel-rapl:1/name", "psys\n"); /* holds the package: not counted twice */
    number(root, "/sys/class/powercap/intel-rapl:1/energy_uj", 5);
    number(root, "/sys/class/powercap/intel-rapl:0/max_energy_range_uj", 1000);
    number(root, rapl, 900);
    cpu_source_open(&cpu, root);
    cpu_source_read(&cpu, &reading);
    assert_int_equal(reading.throttle_count, 16);
    assert_int_equal(reading.energy_uj, 0);
    number(root, package, 12);
    number(root, rapl, 950);
    cpu_source_read(&cpu, &reading);
    assert_int_equal(reading.throttle_count, 18);
    assert_int_equal(reading.energy_uj, 50);
    number(root, rapl, 30); /* wrapped */
    cpu_source_read(&cpu, &reading);
    assert_int_equal(reading.energy_uj, 130);
    sysroot_text(root, rapl, ""); /* closed, or gone */
    cpu_source_read(&cpu, &reading);
    assert_int_equal(reading.energy_uj, -1);
    cpu_source_close(&cpu);
}

/* Everything a tick does on this machine: reading, judging, keeping. */
static void no_allocation(void **state)
{
    (void)state;
    if (!COUNTS_ALLOCATIONS) {
        print_message("the sanitizer has the allocator: not counted\n");
        skip();
    }
    o3_profile *profile = host_profile("/", getpid());
    o3_watch *watch;
    assert_int_equal(o3_watch_open(&watch, profile, "/", 10, &err), O3_OK);
    o3_watch_engine(watch, getpid(), getpid());
    look(watch);
    int64_t first = sight.tick;
    int before = allocations;
    o3_sleep_ns(6 * O3_NS_PER_S / 10); /* slow sensors are due twice */
    int after = allocations;
    while (sight.tick < first + 20)
        look(watch);
    assert_int_equal(after, before);
    assert_int_equal(allocations, before); /* nor does taking them */
    free(o3_alloc(1, 1));
    assert_int_equal(allocations, before + 1); /* it would have been seen */
    assert_true(o3_watch_cost_s(watch) > 0);
    o3_watch_close(watch);
    free(profile);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, sysroot_new, sysroot_free)
    const struct CMUnitTest tests[] = {
        CASE(waits), CASE(busy_and_runner), CASE(taking), CASE(counters), CASE(no_allocation),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
