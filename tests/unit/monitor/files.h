/* SPDX-License-Identifier: Apache-2.0 */
/* The files that the monitor looks at, below a test's root. */
#ifndef O3_TEST_MONITOR_FILES_H
#define O3_TEST_MONITOR_FILES_H

#include "../hardware/sysroot.h"

static inline void process_stat(const char *root, int pid, char life, int64_t utime, int64_t stime, int64_t start)
{
    char path[64], text[512];
    O3_FORMAT(path, "/proc/%d/stat", pid);
    O3_FORMAT(text, "%d (a ) b) %c 1 1 1 0 -1 4194560 9 9 9 9 %lld %lld 700 700 20 0 4 0 %lld 9 9\n", pid, life,
              (long long)utime, (long long)stime, (long long)start);
    sysroot_text(root, path, text);
}

static inline void host_files(const char *root)
{
    sysroot_machine(root, 4);
    sysroot_text(root, "/proc/stat",
                 "cpu  100 1 50 1000 20 3 4 10 90 9\ncpu0 40 0 20 300 5 1 1 4 0 0\ncpu1 30 1 10 300 5 1 1 3 0 0\n"
                 "cpu2 20 0 10 200 5 1 1 2 0 0\ncpu3 10 0 10 200 5 0 1 1 0 0\nintr 12345 6 7\n");
    sysroot_text(root, "/proc/vmstat", "nr_free 5\nworkingset_refault_file 31\npswpin 7\npswpout 9\noom_kill 2\n");
    sysroot_text(root, "/proc/self/stat", "9 (o3) R 1 1 1 0 -1 0 0 0 0 0 10 5 0 0 20 0 1 0 1 9 9\n");
}

static inline o3_profile *host_profile(const char *root, int pid)
{
    o3_profile *profile = o3_alloc(1, sizeof(*profile));
    o3_config config = sysroot_config();
    assert_int_equal(o3_profile_read(profile, root, &config, pid, true, NULL), O3_OK);
    return profile;
}

static inline void group_files(const char *root, int version, int64_t anon_mib)
{
    static const char v1[] = "/sys/fs/cgroup/memory/e", v2[] = "/sys/fs/cgroup/e";
    const char *dir = version == 1 ? v1 : v2;
    char path[128];
    sysroot_text(root, "/proc/42/cgroup", version == 1 ? "3:memory:/e\n" : "0::/e\n");
    sysroot_memory_stat(root, dir, version, anon_mib);
    O3_FORMAT(path, "%s/%s", dir, version == 1 ? "memory.limit_in_bytes" : "memory.max");
    sysroot_text(root, path, "335544320\n");
    O3_FORMAT(path, "%s/%s", dir, version == 1 ? "memory.usage_in_bytes" : "memory.current");
    sysroot_text(root, path, "330000000\n");
    O3_FORMAT(path, "%s/%s", dir, version == 1 ? "memory.oom_control" : "memory.events");
    sysroot_text(root, path, version == 1 ? "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n" : "max 9\noom_kill 4\n");
}

#endif
