/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing here depends on how fast the machine is: waits end when something was seen (or fail after a minute), and
 * numbers are compared with what the watched process itself recorded. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "files.h"
#include "monitor/sources.h"

#define MIB SYSROOT_MIB
#define WAIT_STEPS 6000 /* of 10 ms */

static void nap_ms(int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

/* the thread ---------------------------------------------------------------------------------------------------- */

static void wait_ticks(o3_monitor *monitor, int64_t more)
{
    int64_t until = monitor_ticks(monitor) + more;
    for (int i = 0; monitor_ticks(monitor) < until; i++) {
        assert_true(i < WAIT_STEPS);
        nap_ms(10);
    }
}

static bool wait_cancel(const o3_cancel *cancel)
{
    struct pollfd p = {.fd = o3_cancel_fd(cancel), .events = POLLIN};
    return poll(&p, 1, WAIT_STEPS * 10) == 1 && o3_cancel_get(cancel) == O3_CANCEL_SAFETY;
}

static void stop_and_rearm(void **state)
{
    const char *root = *state;
    char reason[O3_TEXT_MAX];
    o3_peaks peaks;
    o3_monitor *monitor = NULL;
    host_files(root);
    group_files(root, 2, 100);
    o3_profile *profile = host_profile(root, 42);
    o3_cancel *cancel = o3_cancel_new();
    o3_monitor_options options = {.root = root, .interval_ms = 10, .memory_psi_frac = 0.05, .stale_s = 0.5};
    assert_int_equal(monitor_start(&monitor, profile, &options, cancel, NULL), O3_OK);
    assert_int_equal(monitor_pool_bytes(monitor, 1), 100 * MIB);
    assert_int_equal(monitor_pool_bytes(monitor, 2), -1);
    wait_ticks(monitor, 3);
    assert_int_equal(monitor_stop_reason(monitor, reason, sizeof(reason)), O3_STOP_NONE);
    assert_string_equal(reason, "");

    sysroot_memory_stat(root, "/sys/fs/cgroup/e", 2, 275);
    assert_true(wait_cancel(cancel));
    assert_int_equal(monitor_stop_reason(monitor, reason, sizeof(reason)), O3_STOP_LIMIT);
    assert_string_equal(reason, "cgroup:/e at 275 MiB, 86 % of 320 MiB, over the limit of 85 %");
    sysroot_memory_stat(root, "/sys/fs/cgroup/e", 2, 300);
    wait_ticks(monitor, 2);
    char again[O3_TEXT_MAX];
    monitor_stop_reason(monitor, again, sizeof(again)); /* the first reason stays */
    assert_string_equal(again, reason);
    monitor_peaks(monitor, &peaks);
    assert_int_equal(peaks.count, 2);
    assert_string_equal(peaks.pools[1].pool, "cgroup:/e");
    assert_int_equal(peaks.pools[1].bytes, 300 * MIB);

    o3_cancel_clear(cancel, O3_CANCEL_SAFETY); /* cleared but not armed: silent */
    wait_ticks(monitor, 2);
    assert_int_equal(o3_cancel_get(cancel), O3_CANCEL_NONE);
    monitor_rearm(monitor); /* still over the limit */
    assert_true(wait_cancel(cancel));
    monitor_stop_reason(monitor, reason, sizeof(reason));
    assert_non_null(strstr(reason, "300 MiB"));

    sysroot_memory_stat(root, "/sys/fs/cgroup/e", 2, 90);
    wait_ticks(monitor, 2);
    o3_cancel_clear(cancel, O3_CANCEL_SAFETY);
    monitor_rearm(monitor);
    monitor_peaks_reset(monitor);
    wait_ticks(monitor, 3);
    assert_int_equal(monitor_stop_reason(monitor, reason, sizeof(reason)), O3_STOP_NONE);
    monitor_peaks(monitor, &peaks);
    assert_int_equal(peaks.pools[1].bytes, 90 * MIB);
    assert_int_equal(peaks.pools[1].runner_bytes, -1);
    assert_true(isnan(peaks.temperature_c));

    sysroot_text(root, "/sys/fs/cgroup/e/memory.stat", ""); /* EBUSY, empty: the sensor is lost */
    assert_true(wait_cancel(cancel));
    assert_int_equal(monitor_stop_reason(monitor, reason, sizeof(reason)), O3_STOP_STALE);
    assert_int_equal(monitor_pool_bytes(monitor, 1), -1);
    monitor_stop(monitor);
    monitor_stop(NULL);
    o3_cancel_free(cancel);
    free(profile);
}

/* A host with a server of pid 50, which is not yet named to the monitor. */
static o3_monitor *host_monitor(const char *root, o3_profile **ret_profile)
{
    o3_monitor *monitor = NULL;
    o3_monitor_options options = {.root = root, .interval_ms = 10};
    host_files(root);
    process_stat(root, 50, 'S', 100, 50, 1);
    *ret_profile = host_profile(root, -1);
    assert_int_equal(monitor_start(&monitor, *ret_profile, &options, NULL, NULL), O3_OK);
    return monitor;
}

static void windows(void **state)
{
    const char *root = *state;
    o3_window window;
    o3_profile *profile;
    o3_monitor *monitor = host_monitor(root, &profile), *refused = NULL;
    o3_monitor_options options = {.root = root, .interval_ms = 5};
    o3_err err = {.status = O3_OK};
    assert_int_equal(monitor_start(&refused, profile, &options, NULL, &err), O3_E_USAGE);
    assert_non_null(strstr(err.message, "5 ms"));
    assert_null(refused);
    monitor_since_mark(monitor, &window);
    assert_true(isnan(window.seconds) && isnan(window.cpu_busy_frac) && window.swap_in_pages == -1);
    monitor_watch(monitor, 50, -1);
    monitor_mark(monitor);
    monitor_since_mark(monitor, &window);
    if (window.seconds < 0.3) /* a machine that stood still meanwhile has its rates */
        assert_true(isnan(window.cpu_busy_frac) && isnan(window.foreign_cpu_frac) && isnan(window.psi_memory_frac));
    assert_int_equal(window.swap_in_pages, 0);

    monitor_mark(monitor);
    nap_ms(320);
    /* 40 ticks busy, of them 15 the server's: 25 foreign. Four CPUs. */
    sysroot_text(root, "/proc/stat", "cpu  140 1 50 1100 20 3 4 10 90 9\n");
    process_stat(root, 50, 'S', 110, 55, 1);
    sysroot_text(root, "/proc/vmstat", "workingset_refault_file 41\npswpin 10\noom_kill 3\n");
    sysroot_text(root, "/proc/pressure/memory", "full total=16003\n");
    monitor_since_mark(monitor, &window);
    double possible = window.seconds * 4 * (double)sysconf(_SC_CLK_TCK);
    assert_true(window.seconds >= 0.32);
    assert_true(fabs(window.cpu_busy_frac * possible - 40) < 1e-6);
    assert_true(fabs(window.foreign_cpu_frac * possible - 25) < 1e-6);
    assert_true(fabs(window.psi_memory_frac * window.seconds - 0.016) < 1e-6);
    assert_int_equal(window.swap_in_pages, 3);
    assert_int_equal(window.refault_file_pages, 10);
    assert_int_equal(window.oom_kills, 1);

    monitor_watch(monitor, -1, -1); /* nothing of the engine is known: nothing can be told apart */
    monitor_mark(monitor);
    nap_ms(320);
    sysroot_text(root, "/proc/stat", "cpu  139 1 50 1100 20 3 4 10 90 9\n"); /* counters may step back */
    monitor_since_mark(monitor, &window);
    assert_true(window.cpu_busy_frac == 0);
    assert_true(isnan(window.foreign_cpu_frac));
    sysroot_remove(root, "/proc/pressure");
    monitor_stop(monitor);
    free(profile);
}

/* 20 of 40 busy ticks are somebody else's: four CPUs, and they all lie at the end. */
static void foreign_at_an_end(void **state)
{
    const char *root = *state;
    o3_window window;
    o3_profile *profile;
    o3_monitor *monitor = host_monitor(root, &profile);
    assert_true(isnan(monitor_foreign(monitor, 0))); /* nothing of the engine is known */
    monitor_watch(monitor, 50, -1);
    assert_true(isnan(monitor_foreign(monitor, 0))); /* not for 0.3 s yet */
    nap_ms(320);
    wait_ticks(monitor, 1);
    assert_true(monitor_foreign(monitor, o3_now_ns()) == 0);

    monitor_mark(monitor);
    int64_t burst_ns = o3_now_ns();
    sysroot_text(root, "/proc/stat", "cpu  140 1 50 1100 20 3 4 10 90 9\n");
    process_stat(root, 50, 'S', 115, 55, 1);
    monitor_since_mark(monitor, &window);
    double of_burst = monitor_foreign(monitor, burst_ns), hz = (double)sysconf(_SC_CLK_TCK);
    if (window.seconds < 0.3) /* too short to be judged by itself, and seen nevertheless */
        assert_true(isnan(window.foreign_cpu_frac));
    assert_true(of_burst > 0 && of_burst * 4 * hz * 0.3 <= 20 + 1e-6);
    nap_ms(320);
    wait_ticks(monitor, 1);
    assert_true(monitor_foreign(monitor, o3_now_ns()) == 0); /* over */
    double longer = monitor_foreign(monitor, burst_ns - 10 * O3_NS_PER_MS); /* as far back as is kept */
    assert_true(longer >= 0 && longer < of_burst + 1e-9);
    monitor_watch(monitor, -1, -1);
    nap_ms(320);
    wait_ticks(monitor, 1);
    assert_true(isnan(monitor_foreign(monitor, 0)));
    monitor_stop(monitor);
    free(profile);
}

/* the real machine ---------------------------------------------------------------------------------------------- */

static o3_profile *real_profile(int pid)
{
    o3_profile *profile = o3_alloc(1, sizeof(*profile));
    o3_config config = sysroot_config();
    assert_int_equal(o3_profile_read(profile, "/", &config, pid, true, NULL), O3_OK);
    return profile;
}

typedef struct helper {
    pid_t pid;
    int to, from;
} helper;

/* A child that runs `work` at the first byte we send, sends back what it recorded, and ends at the second. */
static helper helper_start(int64_t (*work)(void))
{
    int to[2], from[2];
    char byte;
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        close(to[1]);
        if (read(to[0], &byte, 1) != 1)
            _exit(1);
        int64_t recorded = work();
        if (write(from[1], &recorded, sizeof(recorded)) != sizeof(recorded) || read(to[0], &byte, 1) < 0)
            _exit(1);
        _exit(0);
    }
    close(to[0]);
    close(from[1]);
    return (helper){.pid = pid, .to = to[1], .from = from[0]};
}

static int64_t helper_work(const helper *child)
{
    int64_t recorded = -1;
    assert_int_equal(write(child->to, "g", 1), 1);
    assert_int_equal(read(child->from, &recorded, sizeof(recorded)), sizeof(recorded));
    return recorded;
}

static void helper_end(const helper *child)
{
    close(child->to);
    close(child->from);
    waitpid(child->pid, NULL, 0);
}

/* Touches 64 MiB and returns the high-water mark of what was its own: VmHWM less the file pages. */
static int64_t touch_memory(void)
{
    char status[4096];
    size_t size = 64u << 20;
    char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        return -1;
    memset(bytes, 1, size);
    if (o3_read_text("/", "/proc/self/status", status, sizeof(status)) <= 0)
        return -1;
    return (o3_field_i64(status, "VmHWM", -1) - o3_field_i64(status, "RssFile", 0)) * 1024;
}

static void real_peak(void **state)
{
    (void)state;
    o3_peaks peaks;
    o3_monitor *monitor = NULL;
    helper child = helper_start(touch_memory);
    o3_profile *profile = real_profile(getpid());
    o3_monitor_options options = O3_MONITOR_OPTIONS_DEFAULT;
    assert_int_equal(monitor_start(&monitor, profile, &options, NULL, NULL), O3_OK);
    monitor_watch(monitor, getpid(), child.pid);
    monitor_peaks_reset(monitor);
    int64_t own = helper_work(&child);
    wait_ticks(monitor, 1); /* the memory is still held: one look of the thread has seen it */
    helper_end(&child);
    monitor_peaks(monitor, &peaks);
    monitor_stop(monitor);
    print_message("# the child's own high-water mark %.2f MiB, sampled peak %.2f MiB\n", (double)own / (double)MIB,
                  (double)peaks.pools[0].runner_bytes / (double)MIB);
    assert_true(own >= 64 * MIB);
    assert_true(fabs((double)(peaks.pools[0].runner_bytes - own)) <= 0.05 * (double)own);
    assert_true(peaks.pools[0].bytes > 0);
    free(profile);
}

/* Burns 0.3 s of CPU in all; returns what it has used since it began, in ns. */
static int64_t burn_cpu(void)
{
    struct timespec t;
    do {
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    } while (t.tv_nsec < 300000000 && t.tv_sec == 0);
    return (int64_t)t.tv_sec * O3_NS_PER_S + t.tv_nsec;
}

static void real_cpu_time(void **state)
{
    (void)state;
    monitor_reading before, now;
    o3_profile *profile = real_profile(getpid());
    monitor_sources *sources = sources_open("/", profile);
    helper child = helper_start(burn_cpu);
    sources_watch(sources, child.pid, -1);
    sources_read(sources, MONITOR_READ_COUNTERS, &before);
    int64_t used = helper_work(&child);
    sources_read(sources, MONITOR_READ_COUNTERS, &now);
    helper_end(&child);
    double hz = (double)sysconf(_SC_CLK_TCK), counted = (double)(now.engine_ticks - before.engine_ticks) / hz;
    print_message("# the child used %.3f s of CPU, counted (with our own) %.3f s\n", (double)used * 1e-9, counted);
    assert_true(now.engine_known);
    assert_true(counted >= (double)used * 1e-9 - 3 / hz);
    sources_close(sources);
    free(profile);
}

#define GROUP_LIMIT (128 * MIB)

static bool group_write(const char *dir, const char *file, const char *text)
{
    char path[PATH_MAX];
    O3_FORMAT(path, "%s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) > 0;
    if (fd >= 0)
        close(fd);
    return done;
}

/* A real group of 128 MiB; its directory, or false where none can be had. */
static bool group_make(char *dir, size_t dir_size)
{
    static const struct { const char *parent, *limit; } kinds[] = {
        {"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
        {"/sys/fs/cgroup", "memory.max"},
    };
    for (int i = 0; i < O3_COUNT(kinds); i++) {
        o3_format(dir, dir_size, "%s/o3-test-limit-%d", kinds[i].parent, (int)getpid());
        if (mkdir(dir, 0755))
            continue;
        if (group_write(dir, kinds[i].limit, "134217728"))
            return true;
        rmdir(dir);
    }
    return false;
}

/* Grows by 1 MiB every 5 ms until the token is set; waits for it below the kernel's limit, so that a machine that is
 * too slow to look does not kill it. Returns how much it held when it saw the token. */
static o3_cancel *growing_cancel;
static char growing_dir[PATH_MAX];

static int64_t grow(void)
{
    if (!group_write(growing_dir, "cgroup.procs", "0"))
        return -1;
    for (int64_t mib = 0;;) {
        struct pollfd p = {.fd = o3_cancel_fd(growing_cancel), .events = POLLIN};
        if (poll(&p, 1, mib < 124 ? 5 : -1) != 0)
            return mib * MIB;
        void *more = mmap(NULL, 1u << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (more == MAP_FAILED)
            return -2;
        memset(more, 1, 1u << 20);
        mib++;
    }
}

static void real_limit(void **state)
{
    (void)state;
    char reason[O3_TEXT_MAX], events[1024], path[PATH_MAX];
    o3_monitor *monitor = NULL;
    if (!group_make(growing_dir, sizeof(growing_dir))) {
        print_message("# skipped: no memory cgroup can be made here (%s)\n", strerror(errno));
        skip();
    }
    growing_cancel = o3_cancel_new();
    helper child = helper_start(grow);
    o3_profile *profile = o3_alloc(1, sizeof(*profile));
    bool v1 = !strncmp(growing_dir, "/sys/fs/cgroup/memory/", 22);
    profile->cgroup_count = profile->pool_count = 1;
    profile->cgroups[0] = (o3_cgroup){.version = v1 ? 1 : 2, .limit_bytes = GROUP_LIMIT};
    O3_COPY(profile->cgroups[0].dir, growing_dir);
    profile->pools[0] = (o3_pool){.name = "cgroup:/test", .total_bytes = GROUP_LIMIT, .limit_frac = 0.85, .cgroup = 1};
    o3_monitor_options options = O3_MONITOR_OPTIONS_DEFAULT;
    assert_int_equal(monitor_start(&monitor, profile, &options, growing_cancel, NULL), O3_OK);
    monitor_watch(monitor, child.pid, child.pid);
    int64_t held = helper_work(&child);
    o3_monitor_stop kind = monitor_stop_reason(monitor, reason, sizeof(reason));
    O3_FORMAT(path, "%s/%s", growing_dir, v1 ? "memory.oom_control" : "memory.events");
    int64_t got = o3_read_text("/", path, events, sizeof(events));
    print_message("# the child held %.0f MiB of 128 when it saw the token: %s\n", (double)held / (double)MIB, reason);

    /* The server ends and its group with it: its death, not a sensor's. */
    o3_cancel_clear(growing_cancel, O3_CANCEL_SAFETY);
    kill(child.pid, SIGKILL);
    helper_end(&child);
    for (int i = 0; i < WAIT_STEPS && rmdir(growing_dir); i++)
        nap_ms(10);
    monitor_rearm(monitor);
    char second[O3_TEXT_MAX];
    bool stopped = wait_cancel(growing_cancel);
    o3_monitor_stop second_kind = monitor_stop_reason(monitor, second, sizeof(second));
    monitor_stop(monitor);
    o3_cancel_free(growing_cancel);
    free(profile);

    assert_int_equal(kind, O3_STOP_LIMIT);
    assert_true(held > 0 && held < GROUP_LIMIT);
    assert_true(got > 0 && o3_field_i64(events, "oom_kill", 0) == 0);
    assert_true(stopped);
    assert_int_equal(second_kind, O3_STOP_SERVER_GONE);
    assert_non_null(strstr(second, "the server ended"));
}

static void real_cost(void **state)
{
    (void)state;
    o3_monitor *monitor = NULL;
    o3_window window;
    o3_profile *profile = real_profile(getpid());
    o3_monitor_options options = O3_MONITOR_OPTIONS_DEFAULT;
    assert_int_equal(monitor_start(&monitor, profile, &options, NULL, NULL), O3_OK);
    monitor_watch(monitor, getpid(), getpid());
    monitor_mark(monitor);
    wait_ticks(monitor, 10);
    monitor_since_mark(monitor, &window);
    double per_tick_us = monitor_cost_s(monitor) / (double)monitor_ticks(monitor) * 1e6;
    print_message("# %d pools: %.0f us of CPU a look, %.3f %% of a core at 10 Hz\n", profile->pool_count, per_tick_us,
                  per_tick_us / 1000);
    assert_true(monitor_age_s(monitor) >= 0);
    assert_true(window.cpu_busy_frac >= 0 && window.cpu_busy_frac <= 1);
    assert_true(window.foreign_cpu_frac >= 0 && window.foreign_cpu_frac <= window.cpu_busy_frac);
    monitor_stop(monitor);
    free(profile);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, sysroot_new, sysroot_free)
    const struct CMUnitTest tests[] = {
        CASE(stop_and_rearm), CASE(windows), CASE(foreign_at_an_end), CASE(real_peak),
        CASE(real_cpu_time),  CASE(real_limit), CASE(real_cost),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
