/* SPDX-License-Identifier: Apache-2.0 */
/* Cores of several makes, caches, NUMA nodes. */
#include "hardware/hardware_impl.h"

#define CACHE_INDEXES 10
#define NODE_IDS 1024

/* Where kernels list the cores of a make, the fastest make first. */
static const struct {
    const char *name, *path;
} kind_files[] = {
    {"P", "/sys/devices/cpu_core/cpus"},
    {"P", "/sys/devices/system/cpu/types/intel_core_0/cpulist"},
    {"E", "/sys/devices/cpu_atom/cpus"},
    {"E", "/sys/devices/system/cpu/types/intel_atom_0/cpulist"},
    {"LP-E", "/sys/devices/cpu_lowpower/cpus"},
    {"LP-E", "/sys/devices/system/cpu/types/intel_lowpower_0/cpulist"},
};

static hw_set both(const hw_set *a, const hw_set *b)
{
    hw_set set = {.known = true};
    for (int i = 0; i < O3_COUNT(set.bits); i++)
        set.bits[i] = a->bits[i] & b->bits[i];
    return set;
}

static void add_kind(o3_profile *profile, const char *name, const hw_set *members, const hw_set *cores)
{
    if (profile->kind_count == O3_CPU_KINDS_MAX)
        return;
    o3_cpu_kind *kind = &profile->kinds[profile->kind_count++];
    hw_set own = both(members, cores);
    *kind = (o3_cpu_kind){.cpus = hw_set_count(members), .cores = cores->known ? hw_set_count(&own) : -1};
    O3_COPY(kind->name, name);
    if (!hw_set_format(members, kind->list, sizeof(kind->list)))
        kind->list[0] = '\0';
}

static void kinds_by_list(o3_profile *profile, const char *root, const hw_set *online, const hw_set *cores)
{
    char list[1024];
    for (int i = 0; i < O3_COUNT(kind_files); i++) {
        int last = profile->kind_count - 1;
        if (!hw_read_line(root, kind_files[i].path, list, sizeof(list)) ||
            (last >= 0 && !strcmp(profile->kinds[last].name, kind_files[i].name)))
            continue;
        hw_set listed = hw_set_parse(list), members = both(&listed, online);
        if (hw_set_count(&members))
            add_kind(profile, kind_files[i].name, &members, cores);
    }
}

/* cpu_capacity is 1024 for the fastest core. A kernel that has it shows it for every CPU. */
static void kinds_by_capacity(o3_profile *profile, const char *root, const hw_set *online, const hw_set *cores)
{
    enum { MOST = 1024 };
    o3_auto(free) int16_t *capacities = o3_alloc(HW_CPUS_MAX, sizeof(*capacities));
    char path[96], name[24];
    for (int cpu = 0; cpu < HW_CPUS_MAX; cpu++) {
        if (!hw_set_has(online, cpu))
            continue;
        O3_FORMAT(path, "/sys/devices/system/cpu/cpu%d/cpu_capacity", cpu);
        int64_t capacity = o3_read_i64(root, path, -1);
        if (capacity < 1 || capacity > MOST)
            return;
        capacities[cpu] = (int16_t)capacity;
    }
    for (int below = MOST + 1, next; below > 0; below = next) {
        hw_set members = {.known = true};
        next = 0;
        for (int cpu = 0; cpu < HW_CPUS_MAX; cpu++)
            next = capacities[cpu] < below && capacities[cpu] > next ? capacities[cpu] : next;
        for (int cpu = 0; next && cpu < HW_CPUS_MAX; cpu++)
            if (capacities[cpu] == next)
                members.bits[cpu / 64] |= UINT64_C(1) << (cpu % 64);
        O3_FORMAT(name, "capacity %d", next);
        if (next)
            add_kind(profile, name, &members, cores);
    }
}

static bool read_cache(const char *root, int cpu, int index, o3_cache *ret_cache)
{
    char path[96], size[32];
    const char dir[] = "/sys/devices/system/cpu/cpu%d/cache/index%d/%s";
    o3_cache cache = {.count = 1};
    O3_FORMAT(path, dir, cpu, index, "level");
    cache.level = (int)o3_read_i64(root, path, -1);
    O3_FORMAT(path, dir, cpu, index, "size");
    bool sized = hw_read_line(root, path, size, sizeof(size)) && o3_parse_bytes(size, &cache.size_bytes); /* "48K" */
    O3_FORMAT(path, dir, cpu, index, "type");
    hw_read_line(root, path, cache.type, sizeof(cache.type));
    for (char *c = cache.type; *c; c++)
        *c |= 0x20; /* "Unified" */
    *ret_cache = cache;
    return sized && cache.size_bytes > 0 && cache.level >= 1 && cache.level <= 9;
}

static void count_cache(o3_profile *profile, const o3_cache *cache)
{
    int at = 0;
    for (; at < profile->cache_count; at++) {
        o3_cache *known = &profile->caches[at];
        if (known->level == cache->level && known->size_bytes == cache->size_bytes && !strcmp(known->type, cache->type)) {
            known->count++;
            return;
        }
        if (known->level > cache->level)
            break;
    }
    if (profile->cache_count == O3_CACHES_MAX)
        return;
    memmove(&profile->caches[at + 1], &profile->caches[at],
            (size_t)(profile->cache_count++ - at) * sizeof(profile->caches[0]));
    profile->caches[at] = *cache;
}

/* A cache is counted at the first online CPU of those that share it, which is the first of its core too. */
static void read_caches(o3_profile *profile, const char *root, const hw_set *online, const hw_set *firsts)
{
    char path[96], list[1024];
    o3_cache cache;
    for (int cpu = 0; cpu < HW_CPUS_MAX; cpu++) {
        for (int index = 0; hw_set_has(firsts, cpu) && index < CACHE_INDEXES; index++) {
            O3_FORMAT(path, "/sys/devices/system/cpu/cpu%d/cache/index%d/shared_cpu_list", cpu, index);
            if (!hw_read_line(root, path, list, sizeof(list)))
                break;
            hw_set sharing = hw_set_parse(list), here = both(&sharing, online);
            if (hw_set_first(&here) == cpu && read_cache(root, cpu, index, &cache))
                count_cache(profile, &cache);
        }
    }
}

/* "Node 0 MemTotal:       32768 kB" */
static int64_t node_bytes(const char *text, int id, const char *key)
{
    char line[64];
    O3_FORMAT(line, "Node %d %s", id, key);
    int64_t kib = o3_field_i64(text, line, -1);
    return kib < 0 || kib > INT64_MAX / 1024 ? -1 : kib * 1024;
}

static void read_nodes(o3_profile *profile, const char *root)
{
    char online[256], path[96], list[1024], text[4096];
    if (!hw_read_line(root, "/sys/devices/system/node/online", online, sizeof(online)))
        return;
    hw_set ids = hw_set_parse(online);
    for (int id = 0; id < NODE_IDS && profile->node_count < O3_NODES_MAX; id++) {
        if (!hw_set_has(&ids, id))
            continue;
        o3_node *node = &profile->nodes[profile->node_count++];
        *node = (o3_node){.id = id, .total_bytes = -1, .free_bytes = -1};
        O3_FORMAT(path, "/sys/devices/system/node/node%d/cpulist", id);
        if (hw_read_line(root, path, list, sizeof(list)) && strlen(list) < sizeof(node->cpus))
            O3_COPY(node->cpus, list);
        O3_FORMAT(path, "/sys/devices/system/node/node%d/meminfo", id);
        if (o3_read_text(root, path, text, sizeof(text)) <= 0)
            continue;
        node->total_bytes = node_bytes(text, id, "MemTotal");
        node->free_bytes = node_bytes(text, id, "MemFree");
    }
    if (hw_set_count(&ids) > O3_NODES_MAX)
        o3_note(&profile->notes, "more than %d NUMA nodes; the others are left out", O3_NODES_MAX);
}

void hw_topology_read(o3_profile *profile, const char *root, const hw_set *online, const hw_set *cores)
{
    profile->kind_count = profile->cache_count = profile->node_count = 0;
    kinds_by_list(profile, root, online, cores);
    if (!profile->kind_count)
        kinds_by_capacity(profile, root, online, cores);
    if (profile->kind_count == 1)
        profile->kind_count = 0;
    read_caches(profile, root, online, cores->known ? cores : online);
    read_nodes(profile, root);
    if (profile->node_count > 1)
        o3_note(&profile->notes, "%d NUMA nodes: a model that runs on the CPUs of several reads part of its memory "
                                 "through the link between them", profile->node_count);
}
