/* SPDX-License-Identifier: Apache-2.0 */
#include "sysroot.h"

#define MIB SYSROOT_MIB

static o3_profile profile;

static void read_profile(const char *root, int pid)
{
    o3_config config = sysroot_config();
    memset(&profile, 0x5a, sizeof(profile));
    assert_int_equal(o3_profile_read(&profile, root, &config, pid, true, NULL), O3_OK);
}

static void cpu_text(const char *root, int cpu, const char *file, const char *text)
{
    char path[128];
    O3_FORMAT(path, "/sys/devices/system/cpu/cpu%d/%s", cpu, file);
    sysroot_text(root, path, text);
}

/* A CPU's place: its thread list. */
static void topology(const char *root, int cpu, const char *siblings)
{
    cpu_text(root, cpu, "topology/physical_package_id", "0\n");
    cpu_text(root, cpu, "topology/thread_siblings_list", siblings);
}

static void cache(const char *root, int cpu, int index, int level, const char *type, const char *size, const char *sharing)
{
    char name[64], text[16];
    const char *const files[][2] = {{"type", type}, {"size", size}, {"shared_cpu_list", sharing}};
    for (int i = 0; i < O3_COUNT(files); i++) {
        O3_FORMAT(name, "cache/index%d/%s", index, files[i][0]);
        cpu_text(root, cpu, name, files[i][1]);
    }
    O3_FORMAT(name, "cache/index%d/level", index);
    O3_FORMAT(text, "%d\n", level);
    cpu_text(root, cpu, name, text);
}

/* 2 P cores with two threads (0-3), 4 E cores (4-7), of which CPU 7 is offline, 1 LP-E core (8). */
static void hybrid(const char *root)
{
    static const char *const siblings[] = {"0-1", "0-1", "2-3", "2-3", "4", "5", "6", NULL, "8"};
    sysroot_machine(root, 8);
    sysroot_remove(root, "/sys/devices/system/cpu");
    for (int cpu = 0; cpu < O3_COUNT(siblings); cpu++) {
        if (!siblings[cpu])
            continue;
        topology(root, cpu, siblings[cpu]);
        cache(root, cpu, 0, 1, "Data\n", cpu < 4 ? "48K\n" : "32K\n", siblings[cpu]);
        cache(root, cpu, 1, 2, "Unified\n", cpu < 4 ? "2048K\n" : "4096K\n", cpu < 4 ? siblings[cpu] : cpu < 8 ? "4-7" : "8");
        if (cpu < 8)
            cache(root, cpu, 2, 3, "Unified\n", "24576K\n", "0-7");
    }
    sysroot_text(root, "/sys/devices/system/cpu/online", "0-6,8\n");
}

static void hybrid_intel(void **state)
{
    const char *root = *state;
    hybrid(root);
    sysroot_text(root, "/sys/devices/cpu_core/cpus", "0-3\n");
    sysroot_text(root, "/sys/devices/cpu_atom/cpus", "4-7\n");
    sysroot_text(root, "/sys/devices/cpu_lowpower/cpus", "8\n");
    read_profile(root, -1);
    assert_int_equal(profile.cores, 6);
    assert_int_equal(profile.kind_count, 3);
    static const struct {
        const char *name, *list;
        int cpus, cores;
    } kinds[] = {{"P", "0-3", 4, 2}, {"E", "4-6", 3, 3}, {"LP-E", "8", 1, 1}};
    for (int i = 0; i < O3_COUNT(kinds); i++) {
        assert_string_equal(profile.kinds[i].name, kinds[i].name);
        assert_string_equal(profile.kinds[i].list, kinds[i].list);
        assert_int_equal(profile.kinds[i].cpus, kinds[i].cpus);
        assert_int_equal(profile.kinds[i].cores, kinds[i].cores);
    }
}

static void hybrid_by_types(void **state)
{
    const char *root = *state;
    hybrid(root);
    sysroot_text(root, "/sys/devices/system/cpu/types/intel_core_0/cpulist", "0-3\n");
    sysroot_text(root, "/sys/devices/system/cpu/types/intel_atom_0/cpulist", "4-8\n");
    read_profile(root, -1);
    assert_int_equal(profile.kind_count, 2);
    assert_string_equal(profile.kinds[1].name, "E");
    assert_string_equal(profile.kinds[1].list, "4-6,8");
    assert_int_equal(profile.kinds[1].cores, 4);
}

static void capacities(void **state)
{
    static const char *const text[] = {"406\n", "406\n", "1024\n", "871\n"};
    const char *root = *state;
    sysroot_machine(root, 4);
    sysroot_remove(root, "/sys/devices/system/cpu");
    sysroot_text(root, "/sys/devices/system/cpu/online", "0-3\n");
    for (int cpu = 0; cpu < O3_COUNT(text); cpu++) {
        char list[4];
        O3_FORMAT(list, "%d\n", cpu);
        topology(root, cpu, list);
        cpu_text(root, cpu, "cpu_capacity", text[cpu]);
    }
    read_profile(root, -1);
    assert_int_equal(profile.kind_count, 3);
    assert_string_equal(profile.kinds[0].name, "capacity 1024");
    assert_string_equal(profile.kinds[0].list, "2");
    assert_string_equal(profile.kinds[2].name, "capacity 406");
    assert_int_equal(profile.kinds[2].cores, 2);
    for (int cpu = 0; cpu < 4; cpu++)
        cpu_text(root, cpu, "cpu_capacity", "1024\n");
    read_profile(root, -1);
    assert_int_equal(profile.kind_count, 0); /* all of one make */
    cpu_text(root, 3, "cpu_capacity", "\n");
    read_profile(root, -1);
    assert_int_equal(profile.kind_count, 0);
}

static void caches(void **state)
{
    const char *root = *state;
    hybrid(root);
    read_profile(root, -1);
    static const struct {
        int level, count;
        int64_t kib;
    } rows[] = {{1, 2, 48}, {1, 4, 32}, {2, 2, 2048}, {2, 2, 4096}, {3, 1, 24576}};
    assert_int_equal(profile.cache_count, O3_COUNT(rows));
    for (int i = 0; i < O3_COUNT(rows); i++) {
        assert_int_equal(profile.caches[i].level, rows[i].level);
        assert_int_equal(profile.caches[i].count, rows[i].count);
        assert_int_equal(profile.caches[i].size_bytes, rows[i].kib * 1024);
    }
    assert_string_equal(profile.caches[0].type, "data");
    assert_string_equal(profile.caches[4].type, "unified");
    cache(root, 0, 0, 1, "Data\n", "huge\n", "0-1"); /* what cannot be understood is left out */
    read_profile(root, -1);
    assert_int_equal(profile.caches[0].count, 1);
}

static void numa(void **state)
{
    const char *root = *state;
    sysroot_machine(root, 4);
    read_profile(root, -1);
    assert_int_equal(profile.node_count, 0);
    sysroot_text(root, "/sys/devices/system/node/online", "0,2\n");
    sysroot_text(root, "/sys/devices/system/node/node0/cpulist", "0-3\n");
    sysroot_text(root, "/sys/devices/system/node/node0/meminfo",
                 "Node 0 MemTotal:       1048576 kB\nNode 0 MemFree:         524288 kB\n");
    sysroot_text(root, "/sys/devices/system/node/node2/cpulist", "\n"); /* memory alone */
    read_profile(root, -1);
    assert_int_equal(profile.node_count, 2);
    assert_int_equal(profile.nodes[1].id, 2);
    assert_string_equal(profile.nodes[0].cpus, "0-3");
    assert_string_equal(profile.nodes[1].cpus, "");
    assert_int_equal(profile.nodes[0].total_bytes, 1024 * MIB);
    assert_int_equal(profile.nodes[0].free_bytes, 512 * MIB);
    assert_int_equal(profile.nodes[1].total_bytes, -1);
    assert_true(sysroot_noted(&profile, "2 NUMA nodes"));
}

static const o3_limit *limit_of(const char *whose, const char *group, const char *file)
{
    for (int i = 0; i < profile.limit_count; i++) {
        const o3_limit *limit = &profile.limits[i];
        if (!strcmp(limit->whose, whose) && !strcmp(limit->group, group) && !strcmp(limit->file, file))
            return limit;
    }
    return NULL;
}

static void limits_v2(void **state)
{
    static const char *const files[][2] = {
        {"/a/memory.max", "1073741824\n"},   {"/a/b/memory.max", "max\n"},     {"/a/b/memory.high", "536870912\n"},
        {"/a/b/memory.swap.max", "0\n"},     {"/a/cpu.max", "150000 100000\n"}, {"/a/b/cpu.max", "max 100000\n"},
        {"/a/b/cpuset.cpus", "0-1\n"},       {"/a/cpuset.cpus", "\n"},          {"/o3/memory.max", "12x\n"},
        {"/o3/memory.high", "268435456\n"},
    };
    const char *root = *state;
    char path[128];
    sysroot_machine(root, 4);
    sysroot_text(root, "/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    sysroot_text(root, "/proc/42/cgroup", "0::/a/b\n");
    sysroot_text(root, "/proc/self/cgroup", "0::/o3\n");
    for (int i = 0; i < O3_COUNT(files); i++) {
        O3_FORMAT(path, "/sys/fs/cgroup%s", files[i][0]);
        sysroot_text(root, path, files[i][1]);
    }
    read_profile(root, 42);
    assert_int_equal(profile.limit_count, 6);
    assert_int_equal(limit_of("server", "/a", "memory.max")->bytes, 1024 * MIB);
    assert_int_equal(limit_of("server", "/a/b", "memory.high")->bytes, 512 * MIB);
    assert_int_equal(limit_of("server", "/a/b", "memory.swap.max")->bytes, 0); /* no swap at all is a limit */
    assert_true(limit_of("server", "/a", "cpu.max")->cpus == 1.5);
    assert_int_equal(limit_of("server", "/a", "cpu.max")->bytes, -1);
    assert_string_equal(limit_of("server", "/a/b", "cpuset.cpus")->list, "0-1");
    assert_int_equal(limit_of("o3", "/o3", "memory.high")->bytes, 256 * MIB);
    assert_null(limit_of("o3", "/o3", "memory.max")); /* not to be understood; cgroup.c notes it for the pools */
    read_profile(root, -1);
    assert_int_equal(profile.limit_count, 1);
}

/* Hybrid: v1 controllers beside a v2 tree that has none. */
static void limits_hybrid(void **state)
{
    const char *root = *state;
    sysroot_machine(root, 4);
    sysroot_text(root, "/proc/self/mountinfo",
                 "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
                 "33 31 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
                 "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    sysroot_text(root, "/proc/42/cgroup", "4:memory:/m/n\n3:cpu,cpuacct:/c\n1:name=systemd:/system.slice/x.service\n0::/u\n");
    sysroot_text(root, "/proc/self/cgroup", "4:memory:/\n3:cpu,cpuacct:/\n0::/\n");
    sysroot_text(root, "/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "2147483648\n");
    sysroot_text(root, "/sys/fs/cgroup/memory/m/n/memory.limit_in_bytes", SYSROOT_NO_LIMIT);
    sysroot_text(root, "/sys/fs/cgroup/memory/m/n/memory.memsw.limit_in_bytes", "3221225472\n");
    sysroot_text(root, "/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "250000\n");
    sysroot_text(root, "/sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
    sysroot_text(root, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    read_profile(root, 42);
    assert_int_equal(profile.limit_count, 3);
    assert_int_equal(limit_of("server", "/m", "memory.limit_in_bytes")->bytes, 2048 * MIB);
    assert_int_equal(limit_of("server", "/m/n", "memory.memsw.limit_in_bytes")->bytes, 3072 * MIB);
    assert_true(limit_of("server", "/c", "cpu.cfs_quota_us")->cpus == 2.5);
    assert_string_equal(profile.engine_unit, "x.service");
}

static void many_limits(void **state)
{
    const char *root = *state;
    char path[400] = "/sys/fs/cgroup", group[300] = "0::";
    sysroot_machine(root, 2);
    sysroot_text(root, "/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    for (int depth = 0; depth < O3_LIMITS_MAX + 5; depth++) {
        char file[450];
        o3_format(path + strlen(path), sizeof(path) - strlen(path), "/d%d", depth);
        o3_format(group + strlen(group), sizeof(group) - strlen(group), "/d%d", depth);
        O3_FORMAT(file, "%s/memory.max", path);
        sysroot_text(root, file, "1000000\n");
    }
    sysroot_text(root, "/proc/self/cgroup", group);
    read_profile(root, -1);
    assert_int_equal(profile.limit_count, O3_LIMITS_MAX);
    assert_true(sysroot_noted(&profile, "the others are not listed"));
}

static void owner(void **state)
{
    const char *root = *state;
    sysroot_machine(root, 2);
    sysroot_text(root, "/proc/42/status", "Name:\tollama\nUid:\t997\t997\t997\t997\nCpus_allowed_list:\t0-1\n");
    sysroot_text(root, "/proc/42/cgroup", "0::/system.slice/docker-12ab.scope/ollama.service/inner\n");
    read_profile(root, 42);
    assert_int_equal(profile.engine_uid, 997);
    assert_string_equal(profile.engine_user, ""); /* no list of users below this root */
    assert_string_equal(profile.engine_unit, "ollama.service");
    sysroot_text(root, "/etc/passwd", "root:x:0:0::/:\nbroken\nollama:x:997:997::/usr/share/ollama:/bin/false\n");
    sysroot_text(root, "/proc/42/cgroup", "0::/user.slice\n");
    read_profile(root, 42);
    assert_string_equal(profile.engine_user, "ollama");
    assert_string_equal(profile.engine_unit, "");
    sysroot_remove(root, "/proc/42/status");
    read_profile(root, 42);
    assert_int_equal(profile.engine_uid, -1);
    assert_string_equal(profile.engine_user, "");
}

/* Another user's server: what it was started with is closed to us. */
static void closed_process(void **state)
{
    const char *root = *state;
    sysroot_machine(root, 2);
    sysroot_text(root, "/proc/42/status", "Uid:\t997\t997\t997\t997\n");
    sysroot_text(root, "/proc/42/cmdline", "/usr/bin/ollama");
    read_profile(root, 42);
    assert_false(profile.engine_env_known);
    assert_string_equal(profile.engine_exe, "/usr/bin/ollama");
    assert_true(sysroot_noted(&profile, "the environment of the engine (process 42"));
}

static void real_machine(void **state)
{
    (void)state;
    read_profile("/", getpid());
    assert_int_equal(profile.engine_uid, getuid());
    /* Memory that a hypervisor lends is in MemTotal and in no node, so the sums need not agree. */
    for (int i = 0; i < profile.node_count; i++)
        assert_true(profile.nodes[i].free_bytes >= 0 && profile.nodes[i].free_bytes <= profile.nodes[i].total_bytes);
    if (!profile.node_count)
        print_message("no NUMA node is shown here\n");
    int last = 0;
    for (int i = 0; i < profile.cache_count; i++) {
        assert_true(profile.caches[i].level >= last && profile.caches[i].count >= 1);
        last = profile.caches[i].level;
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, sysroot_new, sysroot_free)
    const struct CMUnitTest tests[] = {
        CASE(hybrid_intel), CASE(hybrid_by_types), CASE(capacities),  CASE(caches),
        CASE(numa),         CASE(limits_v2),       CASE(limits_hybrid), CASE(many_limits),
        CASE(owner),        CASE(closed_process),  CASE(real_machine),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
