/* SPDX-License-Identifier: Apache-2.0 */
/* How much CPU the engine may really use: online CPUs, its affinity, its cpuset, and the quotas of its cgroups and
 * all their ancestors. A count of threads above that makes llama.cpp's spinning threads wait for each other. */
#include <ctype.h>

#include "hardware/hardware_impl.h"

static bool next_range(const char **list, int *ret_first, int *ret_last)
{
    char *end;
    if (!isdigit((unsigned char)**list))
        return false;
    long first = strtol(*list, &end, 10), last = first;
    if (*end == '-' && isdigit((unsigned char)end[1]))
        last = strtol(end + 1, &end, 10);
    if (first >= HW_CPUS_MAX || last < first)
        return false;
    *ret_first = (int)first;
    *ret_last = last < HW_CPUS_MAX ? (int)last : HW_CPUS_MAX - 1;
    *list = *end == ',' ? end + 1 : end;
    return true;
}

bool o3_cpu_list_has(const char *list, int cpu)
{
    int first, last;
    while (next_range(&list, &first, &last))
        if (cpu >= first && cpu <= last)
            return true;
    return false;
}

hw_set hw_set_parse(const char *list)
{
    hw_set set = {.known = false};
    int first, last;
    while (next_range(&list, &first, &last))
        for (int cpu = first; cpu <= last; cpu++) {
            set.bits[cpu / 64] |= UINT64_C(1) << (cpu % 64);
            set.known = true;
        }
    return set;
}

bool hw_set_has(const hw_set *set, int cpu)
{
    return cpu >= 0 && cpu < HW_CPUS_MAX && (set->bits[cpu / 64] >> (cpu % 64) & 1);
}

int hw_set_count(const hw_set *set)
{
    int count = 0;
    for (int i = 0; i < O3_COUNT(set->bits); i++)
        count += __builtin_popcountll(set->bits[i]);
    return count;
}

int hw_set_first(const hw_set *set)
{
    for (int i = 0; i < O3_COUNT(set->bits); i++)
        if (set->bits[i])
            return i * 64 + __builtin_ctzll(set->bits[i]);
    return -1;
}

/* Keeps in `set` what is also in `other`; an unknown or disjoint one (a stale capture) changes nothing. */
static bool set_narrow(hw_set *set, const hw_set *other)
{
    hw_set both = {.known = true};
    for (int i = 0; i < O3_COUNT(both.bits); i++)
        both.bits[i] = set->bits[i] & other->bits[i];
    if (!other->known || (set->known && !hw_set_count(&both)))
        return false;
    int before = set->known ? hw_set_count(set) : HW_CPUS_MAX;
    *set = set->known ? both : *other;
    return hw_set_count(set) < before;
}

bool hw_set_format(const hw_set *set, char *dst, size_t dst_size)
{
    *dst = '\0';
    for (int cpu = 0; cpu < HW_CPUS_MAX; cpu++) {
        char range[32];
        int last = cpu;
        if (!hw_set_has(set, cpu))
            continue;
        while (hw_set_has(set, last + 1))
            last++;
        O3_FORMAT(range, last > cpu ? "%s%d-%d" : "%s%d", *dst ? "," : "", cpu, last);
        size_t len = strlen(dst);
        if (len + strlen(range) >= dst_size)
            return false;
        o3_copy(dst + len, dst_size - len, range);
        cpu = last;
    }
    return true;
}

/* The innermost group whose file tells its CPUs: the kernel has taken the ancestors into account there. */
static hw_set cpuset_read(const char *root, int pid, hw_group *ret_group)
{
    static const char *const files[2][2] = {{"cpuset.effective_cpus", "cpuset.cpus"},
                                            {"cpuset.cpus.effective", "cpuset.cpus"}};
    char text[4096];
    for (int version = 1; version <= 2; version++) {
        if (!hw_group_find(root, pid, version, "cpuset", ret_group))
            continue;
        do {
            for (int i = 0; i < 2; i++) {
                if (hw_group_read(root, ret_group, files[version - 1][i], text, sizeof(text)) <= 0)
                    continue;
                hw_set set = hw_set_parse(text);
                if (set.known)
                    return set;
            }
        } while (hw_group_up(ret_group));
    }
    return (hw_set){.known = false};
}

double hw_group_quota(const char *root, const hw_group *group)
{
    char text[128], period_text[64];
    const char *second;
    char *end;
    if (hw_group_read(root, group, group->version == 2 ? "cpu.max" : "cpu.cfs_quota_us", text, sizeof(text)) <= 0)
        return NAN;
    long long quota = strtoll(text, &end, 10);
    if (end == text || quota <= 0)
        return NAN; /* "max 100000", "-1" */
    if (group->version == 2)
        second = end;
    else if (hw_group_read(root, group, "cpu.cfs_period_us", period_text, sizeof(period_text)) > 0)
        second = period_text;
    else
        return NAN;
    long long period = strtoll(second, NULL, 10);
    return period > 0 ? (double)quota / (double)period : NAN;
}

static double lowest_quota(const char *root, int pid, hw_group *ret_group)
{
    double lowest = NAN;
    for (int version = 1; version <= 2; version++) {
        hw_group group;
        if (!hw_group_find(root, pid, version, "cpu", &group))
            continue;
        do {
            double quota = hw_group_quota(root, &group);
            if (!isnan(quota) && !(quota >= lowest)) {
                lowest = quota;
                *ret_group = group;
            }
        } while (hw_group_up(&group));
    }
    return lowest;
}

void hw_usable_read(o3_profile *profile, const char *root, int pid)
{
    char path[64], name[O3_GROUP_PATH_MAX], list[64], allowed[4096];
    o3_auto(free) char *text = o3_alloc(1, 16384);
    hw_group group;
    hw_set set = {.known = false};
    if (o3_read_text(root, "/sys/devices/system/cpu/online", text, 16384) > 0)
        set = hw_set_parse(text);
    O3_FORMAT(profile->usable_why, "all %d online", profile->cpus_online);

    hw_set inside = cpuset_read(root, pid, &group);
    if (set_narrow(&set, &inside)) {
        hw_group_name(&group, name, sizeof(name));
        hw_set_format(&set, list, sizeof(list));
        O3_FORMAT(profile->usable_why, "cpuset %s of %s", list, name);
    }
    hw_pid_path(path, sizeof(path), pid, "status");
    if (o3_read_text(root, path, text, 16384) > 0 && hw_key_text(text, "Cpus_allowed_list", allowed, sizeof(allowed))) {
        hw_set affinity = hw_set_parse(allowed);
        if (set_narrow(&set, &affinity)) {
            hw_set_format(&set, list, sizeof(list));
            O3_FORMAT(profile->usable_why, "affinity %s", list);
        }
    }
    int cpus = set.known ? hw_set_count(&set) : profile->cpus_online;
    profile->usable_cpus = cpus > 0 ? (double)cpus : (double)NAN;
    if (!hw_set_format(&set, profile->cpu_list, sizeof(profile->cpu_list)))
        profile->cpu_list[0] = '\0'; /* half a list would be a wrong one */

    double quota = lowest_quota(root, pid, &group);
    if (!isnan(quota) && !(profile->usable_cpus <= quota)) {
        hw_group_name(&group, name, sizeof(name));
        O3_FORMAT(profile->usable_why, "quota %.4g of %s", quota, name);
        profile->usable_cpus = quota;
    }
    if (isnan(profile->usable_cpus))
        O3_COPY(profile->usable_why, "unknown");
}
