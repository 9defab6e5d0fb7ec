/* SPDX-License-Identifier: Apache-2.0 */
/* A machine made of files: /proc and /sys below a temporary directory, for the tests of hardware and monitor. */
#ifndef O3_TEST_SYSROOT_H
#define O3_TEST_SYSROOT_H

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "o3/hardware.h"

static inline int sysroot_new(void **state)
{
    char *root = o3_strdup("/tmp/o3-sysroot-XXXXXX");
    *state = mkdtemp(root);
    return *state ? 0 : -1;
}

static inline int sysroot_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline int sysroot_free(void **state)
{
    nftw(*state, sysroot_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return 0;
}

static inline void sysroot_dir(const char *root, const char *dir)
{
    char full[PATH_MAX];
    O3_FORMAT(full, "%s%s", root, dir);
    assert_true(o3_mkdirs(full, 0755));
}

static inline void sysroot_remove(const char *root, const char *path)
{
    char full[PATH_MAX];
    O3_FORMAT(full, "%s%s", root, path);
    nftw(full, sysroot_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void sysroot_bytes(const char *root, const char *path, const void *bytes, size_t len)
{
    char dir[PATH_MAX], full[PATH_MAX];
    O3_COPY(dir, path);
    *strrchr(dir, '/') = '\0';
    sysroot_dir(root, dir);
    O3_FORMAT(full, "%s%s", root, path);
    /* Cut after writing: who has the file open never finds it empty meanwhile. */
    int fd = open(full, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    close(fd);
}

static inline void sysroot_text(const char *root, const char *path, const char *text)
{
    sysroot_bytes(root, path, text, strlen(text));
}

static inline void sysroot_link(const char *root, const char *path, const char *target)
{
    char dir[PATH_MAX], full[PATH_MAX];
    O3_COPY(dir, path);
    *strrchr(dir, '/') = '\0';
    sysroot_dir(root, dir);
    O3_FORMAT(full, "%s%s", root, path);
    unlink(full);
    assert_int_equal(symlink(target, full), 0);
}

#define SYSROOT_MIB INT64_C(1048576)
#define SYSROOT_NO_LIMIT "9223372036854771712\n"

/* memory.stat of either version with so many MiB of anonymous memory; the file cache must not matter. */
static inline void sysroot_memory_stat(const char *root, const char *dir, int version, int64_t anon_mib)
{
    char path[PATH_MAX], text[1024];
    long long anon = anon_mib * SYSROOT_MIB, cache = 900 * SYSROOT_MIB;
    O3_FORMAT(path, "%s/memory.stat", dir);
    if (version == 1)
        O3_FORMAT(text,
                  "cache %lld\nrss 1\nshmem 0\nhierarchical_memory_limit 9223372036854771712\ntotal_cache %lld\n"
                  "total_rss %lld\ntotal_shmem 0\ntotal_workingset_refault_file 70\ntotal_inactive_anon %lld\n"
                  "total_active_anon 0\ntotal_inactive_file %lld\ntotal_unevictable 0\n",
                  cache, cache, anon, anon, cache);
    else
        O3_FORMAT(text,
                  "anon %lld\nfile %lld\nkernel 0\nshmem 0\ninactive_anon %lld\nactive_anon 0\ninactive_file %lld\n"
                  "unevictable 0\nworkingset_refault_file 70\n",
                  anon, cache, anon, cache);
    sysroot_text(root, path, text);
}

static inline void sysroot_meminfo(const char *root, int64_t total_mib, int64_t available_mib)
{
    char text[512];
    O3_FORMAT(text,
              "MemTotal:       %8lld kB\nMemFree:        %8lld kB\nMemAvailable:   %8lld kB\nBuffers:  10 kB\n"
              "Cached:           100 kB\nSwapTotal:     2097152 kB\nSwapFree:      1048576 kB\nShmem:   20 kB\n",
              (long long)total_mib * 1024, (long long)available_mib * 512, (long long)available_mib * 1024);
    sysroot_text(root, "/proc/meminfo", text);
}

/* An x86 machine with `cpus` CPUs, two threads a core, in one package; RAM 16 GiB, half of it available. */
static inline void sysroot_machine(const char *root, int cpus)
{
    o3_buf info = O3_BUF(1 << 20);
    char path[128], text[64];
    for (int cpu = 0; cpu < cpus; cpu++) {
        o3_buf_printf(&info,
                      "processor\t: %d\nvendor_id\t: GenuineIntel\nmodel name\t: Test CPU 9000\nphysical id\t: 0\n"
                      "cpu cores\t: %d\nflags\t\t: fpu ssse3 fma avx avx2 avx512_vnnix f16c\n\n",
                      cpu, cpus / 2);
        O3_FORMAT(path, "/sys/devices/system/cpu/cpu%d/topology/physical_package_id", cpu);
        sysroot_text(root, path, "0\n");
        O3_FORMAT(path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
        O3_FORMAT(text, "%d,%d\n", cpu % (cpus / 2), cpu % (cpus / 2) + cpus / 2);
        sysroot_text(root, path, text);
    }
    sysroot_text(root, "/proc/cpuinfo", o3_buf_text(&info));
    o3_buf_release(&info);
    O3_FORMAT(text, "0-%d\n", cpus - 1);
    sysroot_text(root, "/sys/devices/system/cpu/online", text);
    sysroot_meminfo(root, 16384, 8192);
    sysroot_text(root, "/proc/sys/kernel/hostname", "testhost\n");
    sysroot_text(root, "/proc/sys/kernel/osrelease", "6.1.0-test\n");
    sysroot_text(root, "/etc/os-release", "NAME=x\nPRETTY_NAME=\"Test Linux 1\"\n");
    sysroot_text(root, "/proc/pressure/memory",
                 "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n");
}

static inline bool sysroot_noted(const o3_profile *profile, const char *part)
{
    for (int i = 0; i < profile->notes.count; i++)
        if (strstr(profile->notes.text[i], part))
            return true;
    return false;
}

static inline o3_config sysroot_config(void)
{
    o3_config config = {.category_count = 0};
    config.hardware_monitoring.safety_thresholds.max_ram_percent = 85;
    config.hardware_monitoring.resource_headroom.ram_reserve_mb = 4096;
    return config;
}

#endif
