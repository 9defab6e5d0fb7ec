/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include "sysroot.h"

#define MIB SYSROOT_MIB
#define MOUNTS_V1                                                                 \
    "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"          \
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"            \
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
#define MOUNTS_V2 "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"

static o3_profile profile;

static o3_status read_with(const char *root, const o3_config *config, int pid, bool local)
{
    o3_err err = {.status = O3_OK};
    memset(&profile, 0x5a, sizeof(profile));
    return o3_profile_read(&profile, root, config, pid, local, &err);
}

static void read_profile(const char *root, int pid)
{
    o3_config config = sysroot_config();
    assert_int_equal(read_with(root, &config, pid, true), O3_OK);
}

static void engine(const char *root, const char *affinity)
{
    char text[256];
    O3_FORMAT(text, "Name:\tollama\nPPid:\t1\nCpus_allowed:\tff\nCpus_allowed_list:\t%s\n", affinity);
    sysroot_text(root, "/proc/42/status", text);
}

static void x86_machine(void **state)
{
    const char *root = *state;
    sysroot_machine(root, 8);
    engine(root, "0-7");
    sysroot_link(root, "/proc/42/exe", "/usr/local/bin/ollama");
    read_profile(root, 42);
    assert_string_equal(profile.cpu_model, "Test CPU 9000");
    assert_string_equal(profile.cpu_vendor, "GenuineIntel");
    assert_string_equal(profile.isa, "ssse3 avx f16c fma avx2"); /* avx512_vnnix is another word */
    assert_int_equal(profile.cpus_online, 8);
    assert_int_equal(profile.cores, 4);
    assert_int_equal(profile.packages, 1);
    assert_int_equal(profile.threads_per_core, 2);
    assert_true(profile.usable_cpus == 8);
    assert_string_equal(profile.usable_why, "all 8 online");
    assert_string_equal(profile.cpu_list, "0-7");
    assert_string_equal(profile.hostname, "testhost");
    assert_string_equal(profile.os, "Test Linux 1");
    assert_string_equal(profile.kernel, "6.1.0-test");
    assert_true(profile.psi);
    assert_int_equal(profile.ram_bytes, 16384 * MIB);
    assert_int_equal(profile.ram_available_bytes, 8192 * MIB);
    assert_int_equal(profile.swap_bytes, 2048 * MIB);
    assert_int_equal(profile.swap_free_bytes, 1024 * MIB);
    assert_int_equal(profile.engine_pid, 42);
    assert_string_equal(profile.engine_exe, "/usr/local/bin/ollama");
    assert_string_equal(profile.pools[0].name, "ram");
    assert_int_equal(profile.pools[0].used_bytes, 8192 * MIB);
    assert_true(profile.pools[0].limit_frac > 0.849 && profile.pools[0].limit_frac < 0.851);
}

static void hybrid_cores_and_offline_cpus(void **state)
{
    /* two cores with two threads, two without; CPU 6 is offline, and so is the second thread of the first core */
    static const char *const siblings[] = {"0-1", "0-1", "2-3", "2-3", "4", "5"};
    const char *root = *state;
    char path[128];
    sysroot_machine(root, 8);
    sysroot_remove(root, "/sys");
    for (int i = 0; i < O3_COUNT(siblings); i++) {
        O3_FORMAT(path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i);
        sysroot_text(root, path, siblings[i]);
        O3_FORMAT(path, "/sys/devices/system/cpu/cpu%d/topology/physical_package_id", i);
        sysroot_text(root, path, i < 4 ? "0" : "-1");
    }
    sysroot_text(root, "/sys/devices/system/cpu/online", "0,2-5\n");
    engine(root, "0-255"); /* a hypervisor's possible CPUs */
    read_profile(root, 42);
    assert_int_equal(profile.cpus_online, 5);
    assert_int_equal(profile.cores, 4);
    assert_int_equal(profile.threads_per_core, 2);
    assert_true(profile.usable_cpus == 5);
    assert_string_equal(profile.cpu_list, "0,2-5");
}

static void cpuinfo_alone(void **state)
{
    const char *root = *state;
    sysroot_machine(root, 8);
    sysroot_remove(root, "/sys");
    read_profile(root, -1);
    assert_int_equal(profile.cpus_online, 8);
    assert_int_equal(profile.cores, 4);
    assert_int_equal(profile.threads_per_core, 2);
    assert_true(profile.usable_cpus == 8);
}

static void arm_board(void **state)
{
    const char *root = *state;
    sysroot_text(root, "/proc/cpuinfo",
                 "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd asimddp i8mm sve\nCPU implementer\t: 0x41\n"
                 "CPU part\t: 0xd0b\n\nprocessor\t: 1\n");
    sysroot_text(root, "/sys/devices/system/cpu/online", "0-1\n");
    sysroot_text(root, "/proc/meminfo", "MemTotal: 1024 kB\nMemFree: 500 kB\nCached: 100 kB\nShmem: 50 kB\n");
    read_profile(root, -1);
    assert_string_equal(profile.cpu_vendor, "ARM");
    assert_string_equal(profile.cpu_model, "ARM part 0xd0b");
    assert_string_equal(profile.isa, "asimd asimddp i8mm sve");
    assert_int_equal(profile.cpus_online, 2);
    assert_int_equal(profile.cores, -1);
    assert_int_equal(profile.ram_available_bytes, 550 * 1024);
    assert_int_equal(profile.swap_bytes, -1);
    assert_false(profile.psi);
    assert_true(sysroot_noted(&profile, "PSI"));
}

static void strange_memory(void **state)
{
    static const struct {
        const char *text;
        int64_t ram, used;
    } rows[] = {
        {"", -1, -1},
        {"MemTotal: lots kB\nMemAvailable: 5 kB\n", -1, -1},
        {"MemTotal: 99999999999999999999 kB\nMemAvailable: 5 kB\n", -1, -1},
        {"MemTotal: 9223372036854775807 kB\n", -1, -1},
        {"MemTotal: 0 kB\n", -1, -1},
        {"MemTotal: 1024 kB\nMemAvailable: 9999 kB\n", 1048576, -1},
        {"MemTotal: 1024 kB\n", 1048576, -1},
        {"MemTotal: 1024 kB\nMemAvailable: 0 kB\n", 1048576, 1048576},
    };
    const char *root = *state;
    for (int i = 0; i < O3_COUNT(rows); i++) {
        sysroot_machine(root, 2);
        sysroot_text(root, "/proc/meminfo", rows[i].text);
        read_profile(root, -1);
        if (profile.ram_bytes != rows[i].ram || profile.pools[0].used_bytes != rows[i].used)
            fail_msg("row %d: %lld, %lld", i, (long long)profile.ram_bytes, (long long)profile.pools[0].used_bytes);
        assert_int_equal(profile.pools[0].safe_bytes < 0, rows[i].ram < 0);
    }
}

static void usable_cpus(void **state)
{
    static const struct {
        const char *mounts, *groups;
        struct { const char *path, *text; } files[4];
        const char *affinity;
        double usable;
        const char *why, *list;
    } rows[] = {
        {MOUNTS_V1, "1:cpu,cpuacct:/\n", {{NULL, NULL}}, "2-5", 4, "affinity 2-5", "2-5"},
        {MOUNTS_V1, "1:cpu,cpuacct:/a/b\n",
         {{"/sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n"}, {"/sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us", "100000\n"},
          {"/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "150000\n"},
          {"/sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n"}},
         "0-7", 1.5, "quota 1.5 of /a", "0-7"},
        {MOUNTS_V2, "0::/a/b\n",
         {{"/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n"}, {"/sys/fs/cgroup/a/cpu.max", "100000 50000\n"}}, "0-7", 2,
         "quota 2 of /a", "0-7"},
        {MOUNTS_V2, "0::/a\n", {{"/sys/fs/cgroup/a/cpu.max", "max 100000\n"}}, "0-7", 8, "all 8 online", "0-7"},
        {MOUNTS_V2, "0::/a\n", {{"/sys/fs/cgroup/a/cpu.max", "900000 100000\n"}}, "0-7", 8, "all 8 online", "0-7"},
        {MOUNTS_V2, "0::/a\n", {{"/sys/fs/cgroup/a/cpu.max", "garbage\n"}}, "0-7", 8, "all 8 online", "0-7"},
        {MOUNTS_V2, "0::/a\n", {{"/sys/fs/cgroup/a/cpu.max", "100000 0\n"}}, "0-7", 8, "all 8 online", "0-7"},
        {MOUNTS_V2, "0::/a/b\n",
         {{"/sys/fs/cgroup/a/b/cpuset.cpus.effective", "0-3\n"}, {"/sys/fs/cgroup/a/cpuset.cpus.effective", "0-5\n"}},
         "0-3", 4, "cpuset 0-3 of /a/b", "0-3"},
        {MOUNTS_V1, "5:cpuset:/x\n",
         {{"/sys/fs/cgroup/cpuset/x/cpuset.effective_cpus", "\n"}, {"/sys/fs/cgroup/cpuset/x/cpuset.cpus", "1,3\n"}},
         "1,3", 2, "cpuset 1,3 of /x", "1,3"},
        /* the affinity lies inside the cpuset and is smaller; only what both allow counts */
        {MOUNTS_V2, "0::/a\n", {{"/sys/fs/cgroup/a/cpuset.cpus.effective", "2-5\n"}}, "4-7", 2, "affinity 4-5", "4-5"},
        {MOUNTS_V2, "0::/a\n",
         {{"/sys/fs/cgroup/a/cpuset.cpus.effective", "2-5\n"}, {"/sys/fs/cgroup/a/cpu.max", "50000 100000\n"}}, "2-5",
         0.5, "quota 0.5 of /a", "2-5"},
        {MOUNTS_V2, "0::/a\n", {{NULL, NULL}}, "", 8, "all 8 online", "0-7"},
        {MOUNTS_V2, "0::/a\n", {{NULL, NULL}}, "junk", 8, "all 8 online", "0-7"},
        {MOUNTS_V2, "0::/a\n", {{NULL, NULL}}, "0-99999999999", 8, "all 8 online", "0-7"},
    };
    const char *root = *state;
    for (int i = 0; i < O3_COUNT(rows); i++) {
        sysroot_remove(root, "/sys");
        sysroot_machine(root, 8);
        engine(root, rows[i].affinity);
        sysroot_text(root, "/proc/self/mountinfo", rows[i].mounts);
        sysroot_text(root, "/proc/42/cgroup", rows[i].groups);
        for (int f = 0; f < O3_COUNT(rows[i].files) && rows[i].files[f].path; f++)
            sysroot_text(root, rows[i].files[f].path, rows[i].files[f].text);
        read_profile(root, 42);
        if (fabs(profile.usable_cpus - rows[i].usable) > 1e-9 || strcmp(profile.usable_why, rows[i].why) ||
            strcmp(profile.cpu_list, rows[i].list))
            fail_msg("row %d: %g, \"%s\", %s", i, profile.usable_cpus, profile.usable_why, profile.cpu_list);
    }
}

static void cpu_lists(void **state)
{
    (void)state;
    assert_true(o3_cpu_list_has("0-3,8", 0) && o3_cpu_list_has("0-3,8", 3) && o3_cpu_list_has("0-3,8\n", 8));
    assert_false(o3_cpu_list_has("0-3,8", 4) || o3_cpu_list_has("", 0) || o3_cpu_list_has("x", 0));
    assert_false(o3_cpu_list_has("3-1", 2) || o3_cpu_list_has("0-3", -1));
}

static void safe_sizes(void **state)
{
    static const struct {
        int64_t ram_mib, reserve_mib;
        bool users;
        double percent;
        int64_t safe_mib;
    } rows[] = {
        {16384, 4096, false, 85, 13926}, /* 0.85 x 16384 = 13926.4 */
        {65536, 4096, false, 85, 55705}, /* the limit keeps back more than the reserve */
        {16384, 4096, true, 85, 12288},  /* the user's own reserve counts in full */
        {320, 4096, false, 85, 272},
        {320, 4096, true, 85, 0},
        {16384, 0, true, 85, 13926},
        {16384, 4096, false, 100, 16384},
        {16384, 1024, true, 100, 15360},
    };
    const char *root = *state;
    for (int i = 0; i < O3_COUNT(rows); i++) {
        o3_config config = sysroot_config();
        config.hardware_monitoring.resource_headroom.ram_reserve_mb = rows[i].reserve_mib;
        config.hardware_monitoring.ram_reserve_is_users = rows[i].users;
        config.hardware_monitoring.safety_thresholds.max_ram_percent = rows[i].percent;
        sysroot_machine(root, 2);
        sysroot_meminfo(root, rows[i].ram_mib, rows[i].ram_mib / 2);
        assert_int_equal(read_with(root, &config, -1, true), O3_OK);
        if (profile.pools[0].safe_bytes / MIB != rows[i].safe_mib)
            fail_msg("row %d: %lld MiB", i, (long long)(profile.pools[0].safe_bytes / MIB));
        assert_int_equal(sysroot_noted(&profile, "leaves nothing"), rows[i].safe_mib == 0);
    }
}

static void remote_and_unknown_engines(void **state)
{
    const char *root = *state;
    o3_config config = sysroot_config();
    sysroot_machine(root, 4);
    assert_int_equal(read_with(root, &config, 42, false), O3_OK);
    assert_int_equal(profile.pool_count, 0);
    assert_int_equal(profile.cgroup_count, 0);
    assert_int_equal(profile.engine_pid, -1);
    assert_string_equal(profile.fingerprint, "");
    assert_true(sysroot_noted(&profile, "another machine"));
    assert_int_equal(profile.cpus_online, 4);

    read_profile(root, -1);
    assert_int_equal(profile.pool_count, 1);
    assert_true(sysroot_noted(&profile, "those of this process"));
    read_profile(root, 4711); /* ended, or in another pid namespace */
    assert_int_equal(profile.engine_pid, -1);
    assert_true(sysroot_noted(&profile, "process 4711 of the engine cannot be seen"));
}

static void nothing_readable(void **state)
{
    o3_config config = sysroot_config();
    o3_err err = {.status = O3_OK};
    o3_profile untouched = {.cores = 77};
    assert_int_equal(o3_profile_read(&untouched, *state, &config, -1, true, &err), O3_E_IO);
    assert_int_equal(untouched.cores, 77);
    assert_non_null(strstr(err.message, "/proc"));
}

static void environment(void **state)
{
    static const char variables[] = "PATH=/bin\0OLLAMA_HOST=127.0.0.1:11434\0GGML_X=1\0OLLAMA_API_KEY=abc123\0"
                                    "CUDA_VISIBLE_DEVICES=\0NOEQUALS\0LLAMA_ARG_N=a\nb\0OLLAMA_KEEP_ALIVE=5m";
    const char *root = *state;
    sysroot_machine(root, 2);
    engine(root, "0-1");
    sysroot_bytes(root, "/proc/42/environ", variables, sizeof(variables));
    sysroot_bytes(root, "/proc/42/cmdline", "ollama\0serve", 13);
    read_profile(root, 42);
    assert_true(profile.engine_env_known);
    assert_string_equal(profile.engine_env,
                        "CUDA_VISIBLE_DEVICES=\nGGML_X=1\nLLAMA_ARG_N=a?b\nOLLAMA_API_KEY=(hidden)\n"
                        "OLLAMA_HOST=127.0.0.1:11434\nOLLAMA_KEEP_ALIVE=5m\n");
    assert_string_equal(profile.engine_exe, "ollama"); /* the link cannot be followed: the command line tells */
    assert_null(strstr(profile.engine_env, "abc123"));

    /* another user's: the kernel lets nobody read it; a directory in its place fails for root as well */
    sysroot_remove(root, "/proc/42/environ");
    sysroot_dir(root, "/proc/42/environ");
    read_profile(root, 42);
    assert_false(profile.engine_env_known);
    assert_string_equal(profile.engine_env, "");
    assert_true(sysroot_noted(&profile, "another user"));
}

static void long_environment(void **state)
{
    const char *root = *state;
    o3_buf text = O3_BUF(1 << 20);
    for (int i = 0; i < 100; i++) {
        o3_buf_printf(&text, "OLLAMA_%03d=%0100d", 99 - i, i);
        o3_buf_add(&text, "", 1);
    }
    sysroot_machine(root, 2);
    engine(root, "0-1");
    sysroot_bytes(root, "/proc/42/environ", text.data, text.len);
    o3_buf_release(&text);
    read_profile(root, 42);
    assert_true(profile.engine_env_known);
    assert_true(strlen(profile.engine_env) < sizeof(profile.engine_env));
    assert_true(sysroot_noted(&profile, "longer than"));
}

static void fingerprint(void **state)
{
    const char *root = *state;
    char first[72];
    sysroot_machine(root, 8);
    engine(root, "0-7");
    read_profile(root, 42);
    O3_COPY(first, profile.fingerprint);
    assert_true(strlen(first) > 30);

    sysroot_meminfo(root, 16384, 2000); /* less is free */
    sysroot_text(root, "/proc/sys/kernel/hostname", "renamed\n");
    sysroot_text(root, "/proc/sys/kernel/osrelease", "6.2\n");
    read_profile(root, 42);
    assert_string_equal(profile.fingerprint, first);
    sysroot_meminfo(root, 16384 - 20, 2000); /* a new kernel keeps a little for itself */
    read_profile(root, 42);
    assert_string_equal(profile.fingerprint, first);

    sysroot_meminfo(root, 8192, 2000);
    read_profile(root, 42);
    assert_string_not_equal(profile.fingerprint, first);
    sysroot_meminfo(root, 16384, 8192);
    engine(root, "0-3");
    read_profile(root, 42);
    assert_string_not_equal(profile.fingerprint, first);
    engine(root, "0-7");
    sysroot_text(root, "/proc/42/cgroup", "0::/random-id-1\n");
    sysroot_memory_stat(root, "/sys/fs/cgroup/random-id-1", 2, 5);
    sysroot_text(root, "/sys/fs/cgroup/random-id-1/memory.max", "104857600\n");
    read_profile(root, 42);
    assert_string_not_equal(profile.fingerprint, first);
    O3_COPY(first, profile.fingerprint);
    sysroot_text(root, "/proc/42/cgroup", "0::/random-id-2\n"); /* the container was made again */
    sysroot_memory_stat(root, "/sys/fs/cgroup/random-id-2", 2, 9);
    sysroot_text(root, "/sys/fs/cgroup/random-id-2/memory.max", "104857600\n");
    read_profile(root, 42);
    assert_string_equal(profile.fingerprint, first);
}

#define TCP_HEAD "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
#define TCP_TAIL " 00000000:00000000 00:00000000 00000000     0        0 "

static void process(const char *root, int pid, int parent, const char *comm, const char *socket_name)
{
    char path[64], text[128];
    O3_FORMAT(path, "/proc/%d/comm", pid);
    O3_FORMAT(text, "%s\n", comm);
    sysroot_text(root, path, text);
    O3_FORMAT(path, "/proc/%d/status", pid);
    O3_FORMAT(text, "Name:\t%s\nPPid:\t%d\n", comm, parent);
    sysroot_text(root, path, text);
    O3_FORMAT(path, "/proc/%d/fd/0", pid);
    sysroot_link(root, path, "/dev/null");
    O3_FORMAT(path, "/proc/%d/fd/3", pid);
    if (socket_name)
        sysroot_link(root, path, socket_name);
}

static void listeners(void **state)
{
    const char *root = *state;
    sysroot_text(root, "/proc/net/tcp",
                 TCP_HEAD "   0: 0100007F:2CAA 00000000:0000 0A" TCP_TAIL "5001 1 0 100 0 0 10 0\n"
                          "   1: 0100007F:2CAB 0100007F:2CAA 01" TCP_TAIL "5002 1 0 100 0 0 10 0\n"
                          "   2: 0100000A:2CAC 00000000:0000 0A" TCP_TAIL "5003 1 0 100 0 0 10 0\n"
                          "   3: 00000000:2CAD 00000000:0000 0A" TCP_TAIL "5005 1 0 100 0 0 10 0\n"
                          "garbage\n   4: 0100007F\n");
    sysroot_text(root, "/proc/net/tcp6",
                 TCP_HEAD "   0: 00000000000000000000000000000000:2CAC 00000000000000000000000000000000:0000 0A" TCP_TAIL
                          "5004 1 0 100 0 0 10 0\n");
    process(root, 200, 100, "llama-server", "socket:[5001]"); /* has inherited it */
    process(root, 100, 1, "ollama", "socket:[5001]");
    process(root, 1, 0, "systemd", "socket:[5001]"); /* has handed it on */
    process(root, 300, 1, "client", "socket:[5002]");
    process(root, 400, 1, "other", "socket:[5003]");
    process(root, 401, 1, "ollama", "socket:[5004]");
    process(root, 500, 1, "docker-proxy", "socket:[5005]");
    sysroot_text(root, "/proc/uptime", "1 1\n");
    assert_int_equal(o3_process_listening(root, 0x2caa), 100);
    assert_int_equal(o3_process_listening(root, 0x2cab), -1); /* a connection, not a listener */
    assert_int_equal(o3_process_listening(root, 0x2cac), 401); /* "any" before a far address */
    assert_int_equal(o3_process_listening(root, 0x2cad), -1); /* a forwarder's limits say nothing */
    assert_int_equal(o3_process_listening(root, 9), -1);
    assert_int_equal(o3_process_listening(root, -1), -1);
    assert_int_equal(o3_process_listening(root, 70000), -1);

    /* another user's process: its fd directory cannot be opened */
    sysroot_remove(root, "/proc/401/fd");
    sysroot_remove(root, "/proc/400");
    sysroot_text(root, "/proc/401/fd", "");
    assert_int_equal(o3_process_listening(root, 0x2cac), -1);
}

static void real_listener(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(o3_process_listening("/", ntohs(address.sin_port)), getpid());
    assert_int_equal(o3_process_listening(NULL, ntohs(address.sin_port)), getpid());
    close(fd);
    assert_int_equal(o3_process_listening("/", ntohs(address.sin_port)), -1);
}

static void real_machine(void **state)
{
    (void)state;
    cpu_set_t set;
    char exe[256];
    o3_config config = sysroot_config();
    assert_int_equal(read_with("/", &config, getpid(), true), O3_OK);
    assert_int_equal(profile.cpus_online, sysconf(_SC_NPROCESSORS_ONLN));
    assert_true(profile.ram_bytes / 4096 == (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 4096);
    assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
    assert_true(profile.usable_cpus > 0 && profile.usable_cpus <= CPU_COUNT(&set));
    ssize_t got = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    assert_true(got > 0);
    exe[got] = '\0';
    assert_string_equal(profile.engine_exe, exe);
    assert_true(profile.engine_env_known);
    for (int i = 0; i < profile.pool_count; i++) {
        assert_true(profile.pools[i].used_bytes >= 0 && profile.pools[i].used_bytes <= profile.pools[i].total_bytes);
        assert_true(profile.pools[i].safe_bytes <= profile.pools[i].total_bytes);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, sysroot_new, sysroot_free)
    const struct CMUnitTest tests[] = {
        CASE(x86_machine),       CASE(hybrid_cores_and_offline_cpus), CASE(cpuinfo_alone),
        CASE(arm_board),         CASE(strange_memory),                CASE(usable_cpus),
        CASE(cpu_lists),         CASE(safe_sizes),                    CASE(remote_and_unknown_engines),
        CASE(nothing_readable),  CASE(environment),                   CASE(long_environment),
        CASE(fingerprint),       CASE(listeners),                     CASE(real_listener),
        CASE(real_machine),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
