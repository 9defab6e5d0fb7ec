/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "sysroot.h"

#define MIB SYSROOT_MIB
#define V1_MOUNTS                                                                                \
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"                         \
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n" \
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"                           \
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
#define V2_MOUNTS "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define HYBRID_MOUNTS V1_MOUNTS "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"

static o3_profile profile;

static void read_profile(const char *root)
{
    o3_config config = sysroot_config();
    o3_err err = {.status = O3_OK};
    assert_int_equal(o3_profile_read(&profile, root, &config, 42, true, &err), O3_OK);
}

static void group(const char *root, const char *dir, int version, int64_t anon_mib, const char *limit)
{
    char path[PATH_MAX];
    sysroot_memory_stat(root, dir, version, anon_mib);
    O3_FORMAT(path, "%s/%s", dir, version == 1 ? "memory.limit_in_bytes" : "memory.max");
    if (limit)
        sysroot_text(root, path, limit);
    O3_FORMAT(path, "%s/%s", dir, version == 1 ? "memory.usage_in_bytes" : "memory.current");
    sysroot_text(root, path, "1000000000\n");
}

static void machine(const char *root, const char *mounts, const char *groups)
{
    sysroot_machine(root, 8);
    if (mounts)
        sysroot_text(root, "/proc/self/mountinfo", mounts);
    sysroot_text(root, "/proc/42/cgroup", groups);
}

static void v1_nested_limits(void **state)
{
    const char *root = *state;
    machine(root, V1_MOUNTS, "5:cpuset:/\n4:cpu,cpuacct:/a\n2:memory:/a/b/c\n");
    group(root, "/sys/fs/cgroup/memory", 1, 900, SYSROOT_NO_LIMIT);
    group(root, "/sys/fs/cgroup/memory/a", 1, 300, "1073741824\n");
    group(root, "/sys/fs/cgroup/memory/a/b", 1, 200, SYSROOT_NO_LIMIT);
    group(root, "/sys/fs/cgroup/memory/a/b/c", 1, 100, "335544320\n");
    sysroot_text(root, "/sys/fs/cgroup/memory/a/b/c/memory.kmem.usage_in_bytes", "1048576\n");
    read_profile(root);
    assert_int_equal(profile.cgroup_count, 2); /* b has no limit, neither has the top */
    assert_string_equal(profile.cgroups[0].dir, "/sys/fs/cgroup/memory/a/b/c");
    assert_string_equal(profile.cgroups[1].name, "/a");
    assert_int_equal(profile.pool_count, 3);
    assert_string_equal(profile.pools[0].name, "ram");
    assert_string_equal(profile.pools[1].name, "cgroup:/a/b/c");
    assert_int_equal(profile.pools[1].total_bytes, 320 * MIB);
    assert_int_equal(profile.pools[1].used_bytes, 101 * MIB);
    assert_int_equal(profile.pools[1].safe_bytes, 272 * MIB);
    assert_int_equal(profile.pools[1].cgroup, 1);
    assert_string_equal(profile.pools[2].name, "cgroup:/a");
    assert_int_equal(profile.pools[2].used_bytes, 300 * MIB);
    assert_string_equal(profile.pools[2].source, "/sys/fs/cgroup/memory/a/memory.stat");
}

static void v1_limit_above_what_is_visible(void **state)
{
    const char *root = *state;
    machine(root, V1_MOUNTS, "2:memory:/\n");
    group(root, "/sys/fs/cgroup/memory", 1, 50, SYSROOT_NO_LIMIT);
    sysroot_text(root, "/sys/fs/cgroup/memory/memory.stat",
                 "hierarchical_memory_limit 536870912\ntotal_rss 52428800\ntotal_inactive_anon 0\n");
    read_profile(root);
    assert_int_equal(profile.pool_count, 2);
    assert_int_equal(profile.pools[1].total_bytes, 512 * MIB);
    assert_int_equal(profile.pools[1].used_bytes, 50 * MIB);
    assert_true(sysroot_noted(&profile, "above those visible"));
}

static void v2_nested_with_high(void **state)
{
    const char *root = *state;
    machine(root, V2_MOUNTS, "0::/s.slice/e.service\n");
    group(root, "/sys/fs/cgroup", 2, 900, NULL); /* the root group has no limit files */
    group(root, "/sys/fs/cgroup/s.slice", 2, 300, "1073741824\n");
    group(root, "/sys/fs/cgroup/s.slice/e.service", 2, 100, "max\n");
    sysroot_text(root, "/sys/fs/cgroup/s.slice/memory.high", "536870912\n");
    read_profile(root);
    assert_int_equal(profile.cgroup_count, 2);
    assert_int_equal(profile.cgroups[0].limit_bytes, -1); /* innermost is kept for its refaults */
    assert_int_equal(profile.cgroups[0].version, 2);
    assert_int_equal(profile.pool_count, 2);
    assert_string_equal(profile.pools[1].name, "cgroup:/s.slice");
    assert_int_equal(profile.pools[1].total_bytes, 512 * MIB);
    assert_int_equal(profile.pools[1].cgroup, 2);
}

static void hybrid_takes_the_controller(void **state)
{
    const char *root = *state;
    machine(root, HYBRID_MOUNTS, "4:memory:/m\n0::/other\n");
    group(root, "/sys/fs/cgroup/memory/m", 1, 10, "104857600\n");
    group(root, "/sys/fs/cgroup/unified/other", 2, 77, "52428800\n");
    read_profile(root);
    assert_int_equal(profile.pool_count, 2);
    assert_int_equal(profile.cgroups[0].version, 1);
    assert_int_equal(profile.pools[1].total_bytes, 100 * MIB);
}

/* Where a process stands, as a container runtime may show it: mounts, cgroup line, the directory to be found. */
static void places(void **state)
{
    static const struct {
        const char *mounts, *line, *dir;
    } rows[] = {
        /* no cgroup namespace, own group bound to the mount point */
        {"35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "4:memory:/docker/abc\n",
         "/sys/fs/cgroup/memory"},
        {"35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "4:memory:/docker/abc/x\n",
         "/sys/fs/cgroup/memory/x"},
        /* a name that only begins like the mount's top is not below it */
        {"35 31 0:32 /docker/ab /mnt/ab ro - cgroup cgroup rw,memory\n"
         "36 31 0:32 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
         "4:memory:/docker/abc\n", "/sys/fs/cgroup/memory/docker/abc"},
        /* cgroup namespace */
        {V2_MOUNTS, "0::/\n", "/sys/fs/cgroup"},
        /* the mount was made outside of our namespace */
        {"30 23 0:26 /.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/../sib\n", "/sys/fs/cgroup/sib"},
        /* blanks in names, a group that was removed since */
        {"30 23 0:26 / /sys/fs/my\\040groups rw - cgroup2 cgroup2 rw\n", "0::/x\n", "/sys/fs/my groups/x"},
        {V2_MOUNTS, "0::/gone (deleted)\n", "/sys/fs/cgroup/gone"},
        /* colons in a name */
        {V2_MOUNTS, "0::/a:b:c\n", "/sys/fs/cgroup/a:b:c"},
        /* a capture without mountinfo */
        {NULL, "0::/x\n", "/sys/fs/cgroup/x"},
        {NULL, "7:memory:/x\n0::/\n", "/sys/fs/cgroup/memory/x"},
    };
    const char *root = *state;
    for (int i = 0; i < O3_COUNT(rows); i++) {
        sysroot_remove(root, "/proc");
        sysroot_remove(root, "/sys");
        machine(root, rows[i].mounts, rows[i].line);
        group(root, rows[i].dir, strchr("47", rows[i].line[0]) ? 1 : 2, 5, "104857600\n");
        read_profile(root);
        if (profile.pool_count != 2 || strcmp(profile.cgroups[0].dir, rows[i].dir))
            fail_msg("row %d: %d pools, %s instead of %s", i, profile.pool_count, profile.cgroups[0].dir, rows[i].dir);
        assert_int_equal(profile.pools[1].used_bytes, 5 * MIB);
    }
}

static void outside_of_what_is_visible(void **state)
{
    const char *root = *state;
    machine(root, V2_MOUNTS, "0::/../../other\n");
    group(root, "/sys/fs/cgroup", 2, 5, "104857600\n");
    read_profile(root);
    assert_int_equal(profile.cgroup_count, 0);
    assert_true(sysroot_noted(&profile, "no memory cgroup of the engine's process"));
}

static void no_cgroups_at_all(void **state)
{
    const char *root = *state;
    sysroot_machine(root, 4);
    sysroot_dir(root, "/proc/42");
    read_profile(root);
    assert_int_equal(profile.cgroup_count, 0);
    assert_int_equal(profile.pool_count, 1);
    assert_int_equal(profile.usable_cpus, 4);
}

static void strange_limits(void **state)
{
    static const struct {
        const char *text; /* NULL: the file cannot be read */
        int64_t limit;
        bool noted;
    } rows[] = {
        {"max\n", -1, false},
        {"9223372036854771712\n", -1, false},
        {"9223372036854775807\n", -1, false},
        {"18446744073709551615\n", -1, false},
        {"99999999999999999999999999\n", -1, false},
        {"-1\n", -1, false},
        {"", -1, true},
        {"\n", -1, true},
        {"lots\n", -1, true},
        {"12 apples\n", -1, true},
        {"-5\n", -1, true},
        {NULL, -1, true},
        {"0\n", 0, false},
        {"4096", 4096, false},
    };
    const char *root = *state;
    for (int i = 0; i < O3_COUNT(rows); i++) {
        sysroot_remove(root, "/sys");
        machine(root, V2_MOUNTS, "0::/x\n");
        group(root, "/sys/fs/cgroup/x", 2, 5, rows[i].text);
        if (!rows[i].text) /* reading a directory fails, as EBUSY would, for root as well */
            sysroot_dir(root, "/sys/fs/cgroup/x/memory.max");
        read_profile(root);
        assert_int_equal(profile.cgroup_count, 1);
        if (profile.cgroups[0].limit_bytes != rows[i].limit || sysroot_noted(&profile, "memory.max") != rows[i].noted)
            fail_msg("row %d: limit %lld", i, (long long)profile.cgroups[0].limit_bytes);
        assert_int_equal(profile.pool_count, rows[i].limit < 0 ? 1 : 2);
    }
}

static void very_deep(void **state)
{
    const char *root = *state;
    char path[PATH_MAX] = "/sys/fs/cgroup", line[PATH_MAX];
    for (int i = 0; i < 20; i++) {
        o3_format(path + strlen(path), sizeof(path) - strlen(path), "/level-%02d", i);
        group(root, path, 2, 1, "104857600\n");
    }
    O3_FORMAT(line, "0::%s\n", path + strlen("/sys/fs/cgroup"));
    machine(root, V2_MOUNTS, line);
    read_profile(root);
    assert_int_equal(profile.cgroup_count, O3_CGROUPS_MAX);
    assert_true(profile.pool_count <= O3_POOLS_MAX);
    assert_true(sysroot_noted(&profile, "nested cgroups"));
    for (int i = 1; i < profile.pool_count; i++) {
        assert_true(strlen(profile.pools[i].name) < sizeof(profile.pools[i].name));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(profile.pools[i].name, profile.pools[j].name);
    }
}

static void counting(void **state)
{
    static const struct {
        const char *what, *stat;
        int version;
        int64_t kernel, usage, want;
    } rows[] = {
        {"v1: total_ fields, kernel on top", "rss 1\nshmem 1\ntotal_rss 100\ntotal_shmem 20\n", 1, 7, -1, 127},
        {"v1: locked anonymous pages once", "total_rss 100\ntotal_shmem 0\ntotal_active_anon 40\n"
         "total_inactive_anon 0\ntotal_unevictable 60\n", 1, 0, -1, 100},
        {"v1: locked file pages count", "total_rss 100\ntotal_shmem 0\ntotal_active_anon 100\n"
         "total_inactive_anon 0\ntotal_unevictable 60\n", 1, 0, -1, 160},
        {"v1: shmem from the lists where it is not listed", "total_rss 100\ntotal_active_anon 100\n"
         "total_inactive_anon 50\ntotal_unevictable 0\n", 1, 0, -1, 150},
        {"v1: without lists unevictable is added", "total_rss 100\ntotal_unevictable 60\n", 1, -1, -1, 160},
        {"v1: never above usage", "total_rss 100\ntotal_shmem 20\n", 1, 7, 90, 90},
        {"v1: silly kernel figure", "total_rss 100\n", 1, INT64_MAX, -1, 100},
        {"v1: no rss, no answer", "cache 5\ntotal_cache 9\n", 1, 5, 5, -1},
        {"v2: kernel less reclaimable slab", "anon 100\nshmem 20\nkernel 50\nslab_reclaimable 30\nsock 1\n", 2, 999, -1,
         141},
        {"v2: kernels without that line", "anon 100\nkernel_stack 1\npagetables 2\npercpu 4\nslab_reclaimable 500\n"
         "slab_unreclaimable 8\n", 2, -1, -1, 115},
        {"v2: locked once", "anon 100\nshmem 20\ninactive_anon 30\nactive_anon 30\nunevictable 61\n", 2, -1, -1, 121},
        {"v2: file cache is nothing", "anon 100\nfile 1000000\ninactive_file 1000000\n", 2, -1, 2000000, 100},
        {"v2: names that only begin alike", "anon_thp 5\nanon 3\nshmem_thp 9\n", 2, -1, -1, 3},
        {"v2: garbage values", "anon 100\nshmem lots\nkernel -7\nunevictable 99999999999999999999\n", 2, -1, -1, 100},
        {"v2: cut in the middle", "anon 100\nshme", 2, -1, -1, 100},
        {"v2: negative anon", "anon -1\n", 2, -1, -1, -1},
        {"empty", "", 2, -1, -1, -1},
        {"binary", "\1\2\3\n\n\n anon 5\n", 2, -1, -1, -1},
    };
    (void)state;
    for (int i = 0; i < O3_COUNT(rows); i++) {
        int64_t got = o3_cgroup_count(rows[i].version, rows[i].stat, rows[i].kernel, rows[i].usage);
        if (got != rows[i].want)
            fail_msg("%s: %lld instead of %lld", rows[i].what, (long long)got, (long long)rows[i].want);
    }
    assert_int_equal(o3_cgroup_unreclaimable("/", &(o3_cgroup){.version = 0}), -1);
    assert_int_equal(o3_cgroup_unreclaimable("/", &(o3_cgroup){.version = 2, .dir = "/nowhere"}), -1);
}

/* What the child in a real group holds: 40 MiB anonymous (10 of them locked), 20 MiB shared, 30 MiB of file cache. */
static void child_fill(const char *file_name, int ready, int go)
{
    char byte;
    size_t size = 40u << 20;
    char *anon = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *shared = mmap(NULL, size / 2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int fd = open(file_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (anon == MAP_FAILED || shared == MAP_FAILED || fd < 0)
        _exit(2);
    memset(anon, 1, size);
    memset(shared, 1, size / 2);
    int locked = mlock(anon, 10u << 20);
    for (int i = 0; i < 30; i++)
        if (write(fd, anon, 1u << 20) < 0)
            _exit(3);
    byte = locked ? 'n' : 'l';
    if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) < 0)
        _exit(4);
    unlink(file_name);
    _exit(0);
}

static bool put(const char *dir, const char *file, const char *text)
{
    char path[PATH_MAX];
    O3_FORMAT(path, "%s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) > 0;
    if (fd >= 0)
        close(fd);
    return done;
}

static void real_group(void **state)
{
    int ready[2], go[2];
    char dir[PATH_MAX], file_name[PATH_MAX], byte;
    O3_FORMAT(file_name, "%s/cache", (const char *)*state);
    O3_FORMAT(dir, "/sys/fs/cgroup/memory/o3-test-count-%d", (int)getpid());
    int version = mkdir(dir, 0755) ? 2 : 1;
    if (version == 2) {
        O3_FORMAT(dir, "/sys/fs/cgroup/o3-test-count-%d", (int)getpid());
        if (mkdir(dir, 0755)) {
            print_message("# skipped: no cgroup can be made here (%s)\n", strerror(errno));
            skip();
        }
    }
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (!pid) {
        close(go[1]);
        if (!put(dir, "cgroup.procs", "0"))
            _exit(1);
        child_fill(file_name, ready[1], go[0]);
    }
    close(ready[1]);
    bool filled = read(ready[0], &byte, 1) == 1;
    o3_cgroup here = {.version = version};
    O3_COPY(here.dir, dir);
    int64_t bytes = filled ? o3_cgroup_unreclaimable("/", &here) : -1;
    close(go[1]);
    waitpid(pid, NULL, 0);
    close(ready[0]);
    close(go[0]);
    for (int i = 0; i < 100 && rmdir(dir); i++)
        usleep(10000);
    if (!filled || bytes < 0) {
        print_message("# skipped: the group has no memory controller or takes no process\n");
        skip();
    }
    print_message("# held 60 MiB and 30 MiB of file cache; counted %.2f MiB\n", (double)bytes / (double)MIB);
    assert_in_range(bytes, 60 * MIB, 70 * MIB);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, sysroot_new, sysroot_free)
    const struct CMUnitTest tests[] = {
        CASE(v1_nested_limits),           CASE(v1_limit_above_what_is_visible), CASE(v2_nested_with_high),
        CASE(hybrid_takes_the_controller), CASE(places),                        CASE(outside_of_what_is_visible),
        CASE(no_cgroups_at_all),          CASE(strange_limits),                 CASE(very_deep),
        CASE(counting),                   CASE(real_group),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
