/* SPDX-License-Identifier: Apache-2.0 */
/* What one look of the monitor takes on this machine, by its own code: CPU time and wall time of each of COUNT looks that
 * are MS milliseconds apart, and beside it the bare reading of /proc/meminfo, which is the kernel's part that no code of
 * ours can spare. Prints "cpu_us wall_us bare_cpu_us" a look. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "monitor/limits.h"

static double thread_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

int main(int argc, char **argv)
{
    o3_auto(free) o3_config *config = o3_alloc(1, sizeof(*config));
    o3_auto(free) o3_profile *profile = o3_alloc(1, sizeof(*profile));
    o3_auto(free) monitor_limits *limits = o3_alloc(1, sizeof(*limits));
    o3_auto(free) monitor_reading *reading = o3_alloc(1, sizeof(*reading));
    const o3_monitor_options options = O3_MONITOR_OPTIONS_DEFAULT;
    char text[O3_TEXT_MAX], bare[8192];
    int count = argc == 3 ? atoi(argv[1]) : 0, meminfo = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    int64_t apart_ns = argc == 3 ? atoi(argv[2]) * O3_NS_PER_MS : 0;
    o3_err err = {0};
    o3_config_defaults(config);
    if (count <= 0 || apart_ns <= 0 || meminfo < 0 || o3_profile_read(profile, "/", config, -1, true, &err)) {
        fprintf(stderr, "usage: bench-look COUNT MS (%s)\n", err.message);
        return 2;
    }
    monitor_sources *sources = sources_open("/", profile);
    limits_init(limits, profile, &options, o3_now_ns());
    for (int i = 0; i < count; i++) {
        o3_sleep_ns(apart_ns);
        int64_t begin_ns = o3_now_ns();
        double begin_us = thread_us();
        sources_read(sources, 0, reading);
        limits_add(limits, reading, 0);
        limits_check(limits, text, sizeof(text));
        double look_us = thread_us() - begin_us;
        double wall_us = (double)(o3_now_ns() - begin_ns) * 1e-3;
        o3_sleep_ns(apart_ns);
        begin_us = thread_us();
        bool read = pread(meminfo, bare, sizeof(bare), 0) > 0;
        printf("%.1f %.1f %.1f\n", look_us, wall_us, read ? thread_us() - begin_us : (double)NAN);
    }
    sources_close(sources);
    close(meminfo);
    return 0;
}
