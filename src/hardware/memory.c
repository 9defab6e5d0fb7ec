/* SPDX-License-Identifier: Apache-2.0 */
#include "hardware/hardware_impl.h"

static int64_t kib(const char *text, const char *key)
{
    int64_t value = o3_field_i64(text, key, -1);
    return value < 0 || value > INT64_MAX / 1024 ? -1 : value * 1024;
}

/* Kernels before 3.14 have no MemAvailable; this is what free(1) used to show. */
static int64_t available_by_parts(const char *text)
{
    int64_t free_bytes = kib(text, "MemFree"), cached = kib(text, "Cached"), shmem = kib(text, "Shmem");
    if (free_bytes < 0 || cached < 0 || shmem < 0 || cached > INT64_MAX / 2 || free_bytes > INT64_MAX / 2)
        return -1;
    return free_bytes + (cached > shmem ? cached - shmem : 0);
}

void hw_memory_read(o3_profile *profile, const char *root)
{
    char text[16384], psi[256];
    profile->ram_bytes = profile->ram_available_bytes = profile->swap_bytes = profile->swap_free_bytes = -1;
    if (o3_read_text(root, "/proc/meminfo", text, sizeof(text)) > 0) {
        int64_t total = kib(text, "MemTotal"), available = kib(text, "MemAvailable");
        profile->ram_bytes = total > 0 ? total : -1;
        profile->ram_available_bytes = available >= 0 ? available : available_by_parts(text);
        profile->swap_bytes = kib(text, "SwapTotal");
        profile->swap_free_bytes = kib(text, "SwapFree");
    }
    if (profile->ram_bytes < 0)
        o3_note(&profile->notes, "the size of the RAM is unknown: /proc/meminfo cannot be read");
    else if (profile->ram_available_bytes < 0 || profile->ram_available_bytes > profile->ram_bytes)
        profile->ram_available_bytes = -1;

    /* A kernel with psi=0 has the files, but reading them fails. */
    profile->psi = o3_read_text(root, "/proc/pressure/memory", psi, sizeof(psi)) > 0 && strstr(psi, "full ");
    if (!profile->psi)
        o3_note(&profile->notes, "no pressure figures (PSI): waiting for memory cannot be seen");
}
