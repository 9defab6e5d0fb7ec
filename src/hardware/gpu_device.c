/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a card's directory, read once or kept open. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "hardware/gpu.h"
#include "hardware/hardware_impl.h"

int64_t gpu_device_i64(const char *root, const char *dir, const char *name)
{
    char path[512];
    O3_FORMAT(path, "%s/%s", dir, name);
    return o3_read_i64(root, path, -1);
}

bool gpu_device_line(const char *root, const char *dir, const char *name, char *dst, size_t dst_size)
{
    char path[512];
    O3_FORMAT(path, "%s/%s", dir, name);
    return hw_read_line(root, path, dst, dst_size);
}

bool gpu_device_hwmon(const char *root, const char *dir, char *dst, size_t dst_size)
{
    char parent[512], full[PATH_MAX];
    bool found = false;
    O3_FORMAT(parent, "%s/hwmon", dir);
    DIR *listing = hw_full_path(full, sizeof(full), root, parent) ? opendir(full) : NULL;
    for (struct dirent *entry; listing && !found && (entry = readdir(listing));) {
        found = !strncmp(entry->d_name, "hwmon", 5);
        if (found)
            o3_format(dst, dst_size, "%s/%.32s", parent, entry->d_name);
    }
    if (listing)
        closedir(listing);
    return found;
}

int gpu_device_open(const char *root, const char *dir, const char *name)
{
    char path[512], full[PATH_MAX];
    O3_FORMAT(path, "%s/%s", dir, name);
    return hw_full_path(full, sizeof(full), root, path) ? open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
}

int64_t gpu_fd_i64(int fd)
{
    char text[32], *end;
    ssize_t len = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);
    if (len <= 0)
        return -1;
    text[len] = '\0';
    long long value = strtoll(text, &end, 10);
    return end == text || value < 0 ? -1 : (int64_t)value;
}

bool gpu_fd_suspended(int fd)
{
    char text[16] = "";
    return fd >= 0 && pread(fd, text, sizeof(text) - 1, 0) > 0 && !strncmp(text, "suspend", 7);
}
