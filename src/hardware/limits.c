/* SPDX-License-Identifier: Apache-2.0 */
/* Every limit that the cgroups of a process set, as their files state it: for people, who must find the one to change.
 * What follows from them is in cgroup.c (memory) and usable.c (CPUs). */
#include "hardware/hardware_impl.h"

typedef enum limit_kind { BYTES, CPUS, LIST } limit_kind;

typedef struct limit_file {
    const char *name;
    limit_kind kind;
} limit_file;

#define FILES_MAX 4
static const struct {
    int version;
    const char *controller;
    limit_file files[FILES_MAX]; /* ends with name NULL */
} controllers[] = {
    {1, "memory", {{"memory.limit_in_bytes", BYTES}, {"memory.memsw.limit_in_bytes", BYTES},
                   {"memory.soft_limit_in_bytes", BYTES}}},
    {1, "cpu", {{"cpu.cfs_quota_us", CPUS}}},
    {1, "cpuset", {{"cpuset.cpus", LIST}}},
    {2, "memory", {{"memory.max", BYTES}, {"memory.high", BYTES}, {"memory.swap.max", BYTES}}},
    {2, "cpu", {{"cpu.max", CPUS}}},
    {2, "cpuset", {{"cpuset.cpus", LIST}}},
};

/* False where the file sets none. */
static bool take(const char *root, const hw_group *group, const limit_file *file, o3_limit *limit)
{
    char text[256], *end;
    if (hw_group_read(root, group, file->name, text, sizeof(text)) <= 0)
        return false;
    text[strcspn(text, "\n")] = '\0';
    switch (file->kind) {
    case CPUS:
        limit->cpus = hw_group_quota(root, group);
        return !isnan(limit->cpus);
    case LIST:
        O3_COPY(limit->list, strlen(text) < sizeof(limit->list) ? text : "a long list");
        return *text != '\0';
    default:
        limit->bytes = strtoll(text, &end, 10);
        return end != text && !*end && limit->bytes >= 0 && limit->bytes < HW_LIMIT_NONE_FROM;
    }
}

static void add(o3_profile *profile, const char *root, const char *whose, const hw_group *group,
                const limit_file *file)
{
    char name[O3_GROUP_PATH_MAX];
    o3_limit limit = {.bytes = -1, .cpus = NAN};
    if (!take(root, group, file, &limit))
        return;
    if (profile->limit_count == O3_LIMITS_MAX) {
        o3_note(&profile->notes, "cgroups set more than %d limits; the others are not listed", O3_LIMITS_MAX);
        return;
    }
    hw_group_name(group, name, sizeof(name));
    size_t len = strlen(name), cut = len < sizeof(limit.group) ? 0 : len - sizeof(limit.group) + 1;
    O3_COPY(limit.group, name + cut);
    O3_COPY(limit.whose, whose);
    O3_COPY(limit.file, file->name);
    profile->limits[profile->limit_count++] = limit;
}

static void add_all(o3_profile *profile, const char *root, const char *whose, int pid)
{
    for (int i = 0; i < O3_COUNT(controllers); i++) {
        hw_group group;
        if (!hw_group_find(root, pid, controllers[i].version, controllers[i].controller, &group))
            continue;
        do {
            for (const limit_file *file = controllers[i].files; file->name; file++)
                add(profile, root, whose, &group, file);
        } while (hw_group_up(&group));
    }
}

void hw_limits_read(o3_profile *profile, const char *root, int pid)
{
    profile->limit_count = 0;
    if (pid > 0)
        add_all(profile, root, "server", pid);
    add_all(profile, root, "o3", -1);
}
