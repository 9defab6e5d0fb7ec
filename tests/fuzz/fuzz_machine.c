/* SPDX-License-Identifier: Apache-2.0 */
/* What a capture may hold: any bytes in the files of a machine, and the masking of them. */
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hardware/hardware_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input is cut into these at each byte 0xff. */
static const char *const files[] = {
    "/proc/cpuinfo", "/proc/meminfo", "/proc/self/mountinfo", "/proc/42/cgroup", "/proc/42/status", "/proc/42/environ",
    "/proc/42/cmdline", "/sys/devices/system/cpu/online", "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list",
    "/sys/devices/system/cpu/cpu0/cpu_capacity", "/sys/devices/system/cpu/cpu0/cache/index0/shared_cpu_list",
    "/sys/devices/system/cpu/cpu0/cache/index0/size", "/sys/devices/system/cpu/cpu0/cache/index0/level",
    "/sys/devices/cpu_core/cpus", "/sys/devices/cpu_atom/cpus", "/sys/devices/system/node/online",
    "/sys/devices/system/node/node0/meminfo", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.stat",
    "/sys/fs/cgroup/memory.swap.max", "/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpuset.cpus", "/etc/passwd",
    "/proc/pressure/memory",
};

static char root[64];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void clean_up(void)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_root(void)
{
    O3_COPY(root, access("/dev/shm", W_OK) ? "/tmp/o3-fuzz-XXXXXX" : "/dev/shm/o3-fuzz-XXXXXX");
    if (!mkdtemp(root))
        abort();
    atexit(clean_up);
    for (int i = 0; i < O3_COUNT(files); i++) {
        char folder[PATH_MAX];
        O3_FORMAT(folder, "%s%s", root, files[i]);
        *strrchr(folder, '/') = '\0';
        if (!o3_mkdirs(folder, 0700))
            abort();
    }
}

static void mask(const char *path, const uint8_t *data, size_t size)
{
    hw_mask_names names = {.count = 0};
    hw_mask_name(&names, "bigbox");
    o3_auto(free) char *bytes = o3_alloc(size + 1, 1);
    if (size)
        memcpy(bytes, data, size);
    if (hw_mask_file(path, bytes, size, &names) > size)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!*root)
        make_root();
    for (int i = 0; i < O3_COUNT(files); i++) {
        const uint8_t *end = size ? memchr(data, 0xff, size) : NULL;
        size_t len = end ? (size_t)(end - data) : size;
        char full[PATH_MAX];
        O3_FORMAT(full, "%s%s", root, files[i]);
        int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, data, len) != (ssize_t)len)
            abort();
        close(fd);
        mask(files[i], data, len);
        data += len + (end != NULL);
        size -= len + (end != NULL);
    }
    o3_auto(free) o3_profile *profile = o3_alloc(1, sizeof(*profile));
    o3_config config = {.category_count = 0};
    config.hardware_monitoring.safety_thresholds.max_ram_percent = 85;
    if (!o3_profile_read(profile, root, &config, 42, true, NULL) &&
        (profile->limit_count > O3_LIMITS_MAX || profile->kind_count == 1 || profile->pool_count < 1))
        abort();
    return 0;
}
