/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the profile together: the engine's process decides whose limits count, the configuration how much of each
 * pool is safe. */
#include <limits.h>
#include <unistd.h>

#include "hardware/hardware_impl.h"

#define MIB INT64_C(1048576)
#define RAM_STEP (64 * MIB) /* kernels keep a little more or less for themselves; it is still the same machine */

static void read_system(o3_profile *profile, const char *root)
{
    o3_auto(free) char *text = o3_alloc(1, 8192);
    hw_read_line(root, "/proc/sys/kernel/hostname", profile->hostname, sizeof(profile->hostname));
    hw_read_line(root, "/proc/sys/kernel/osrelease", profile->kernel, sizeof(profile->kernel));
    if (o3_read_text(root, "/etc/os-release", text, 8192) > 0 ||
        o3_read_text(root, "/usr/lib/os-release", text, 8192) > 0)
        hw_key_text(text, "PRETTY_NAME", profile->os, sizeof(profile->os));
}

static bool process_there(const char *root, int pid)
{
    char path[64], full[PATH_MAX];
    O3_FORMAT(path, "/proc/%d", pid);
    return pid > 0 && hw_full_path(full, sizeof(full), root, path) && !access(full, F_OK);
}

/* min(limit x total, total - reserve). The shipped reserve is meant for a desktop beside the engine; in a small
 * pool it would leave nothing, so it counts as no more than the limit already keeps back, unless the user set it. */
static int64_t safe_of(int64_t total, double limit_frac, int64_t reserve_mb, bool users)
{
    double reserve = reserve_mb > 0 ? (double)reserve_mb * (double)MIB : 0;
    double kept_back = (1 - limit_frac) * (double)total;
    if (!users && reserve > kept_back)
        reserve = kept_back;
    double by_limit = limit_frac * (double)total, by_reserve = (double)total - reserve;
    double safe = by_limit < by_reserve ? by_limit : by_reserve;
    return safe > 0 ? (int64_t)safe : 0;
}

o3_pool *hw_pool_add(o3_profile *profile, const o3_config *config, hw_pool_kind kind, int64_t total, int64_t used)
{
    __auto_type m = &config->hardware_monitoring;
    bool vram = kind == HW_POOL_VRAM, users = vram ? m->vram_reserve_is_users : m->ram_reserve_is_users;
    double percent = vram ? m->safety_thresholds.max_vram_percent : m->safety_thresholds.max_ram_percent;
    int64_t reserve_mb = vram ? m->resource_headroom.vram_reserve_mb : m->resource_headroom.ram_reserve_mb;
    o3_pool *pool = &profile->pools[profile->pool_count++];
    *pool = (o3_pool){.total_bytes = total, .used_bytes = used, .safe_bytes = -1, .limit_frac = percent / 100};
    if (total >= 0)
        pool->safe_bytes = safe_of(total, pool->limit_frac, reserve_mb, users);
    return pool;
}

/* Long paths keep their end, which tells groups apart; names stay unique because every level is longer. */
static void name_of_group(const o3_cgroup *group, char *dst, size_t dst_size)
{
    static const char prefix[] = "cgroup:", dots[] = "...";
    size_t len = strlen(group->name), room = dst_size - sizeof(prefix);
    if (len <= room)
        o3_format(dst, dst_size, "%s%s", prefix, group->name);
    else
        o3_format(dst, dst_size, "%s%s%s", prefix, dots, group->name + len - (room - strlen(dots)));
}

static void read_pools(o3_profile *profile, const char *root, const o3_config *config)
{
    int64_t ram = profile->ram_bytes, available = profile->ram_available_bytes;
    o3_pool *pool = hw_pool_add(profile, config, HW_POOL_RAM, ram, ram >= 0 && available >= 0 ? ram - available : -1);
    O3_COPY(pool->name, "ram");
    O3_COPY(pool->source, "/proc/meminfo");
    for (int i = 0; i < profile->cgroup_count; i++) {
        const o3_cgroup *group = &profile->cgroups[i];
        if (group->limit_bytes < 0 || (ram >= 0 && group->limit_bytes >= ram))
            continue;
        pool = hw_pool_add(profile, config, HW_POOL_RAM, group->limit_bytes, o3_cgroup_unreclaimable(root, group));
        pool->cgroup = i + 1;
        name_of_group(group, pool->name, sizeof(pool->name));
        O3_FORMAT(pool->source, "%s/memory.stat", group->dir);
    }
}

static void note_nothing_left(o3_profile *profile, const o3_config *config)
{
    __auto_type reserve = &config->hardware_monitoring.resource_headroom;
    for (int i = 0; i < profile->pool_count; i++) {
        bool device = o3_pool_is_device(profile, i);
        if (profile->pools[i].safe_bytes == 0)
            o3_note(&profile->notes, "the reserve of %lld MiB leaves nothing of %s",
                    (long long)(device ? reserve->vram_reserve_mb : reserve->ram_reserve_mb), profile->pools[i].name);
    }
}

static int64_t steps(int64_t bytes)
{
    return bytes < 0 ? -1 : (bytes + RAM_STEP / 2) / RAM_STEP;
}

/* Not over names, paths, free memory or kernel version: those change and the answers stay. */
static void set_fingerprint(o3_profile *profile)
{
    o3_auto(buf) o3_buf text = O3_BUF(4096);
    o3_buf_printf(&text, "cpu=%s|isa=%s|packages=%d|cores=%d|threads=%d|online=%d|usable=%.2f|ram=%lld",
                  profile->cpu_model, profile->isa, profile->packages, profile->cores, profile->threads_per_core,
                  profile->cpus_online, profile->usable_cpus, (long long)steps(profile->ram_bytes));
    for (int i = 0; i < profile->pool_count; i++)
        if (profile->pools[i].cgroup)
            o3_buf_printf(&text, "|limit=%lld", (long long)profile->pools[i].total_bytes);
    for (int i = 0; i < profile->gpu_count; i++)
        o3_buf_printf(&text, "|gpu=%s %s %lld", profile->gpus[i].name, profile->gpus[i].part,
                      (long long)steps(profile->pools[profile->gpus[i].pool].total_bytes));
    O3_FORMAT(profile->fingerprint, "hw1-%016llx%016llx",
              (unsigned long long)o3_hash(o3_buf_text(&text), text.len, 1),
              (unsigned long long)o3_hash(o3_buf_text(&text), text.len, 2));
}

static void read_engine(o3_profile *profile, const char *root, int engine_pid)
{
    if (engine_pid > 0 && process_there(root, engine_pid)) {
        profile->engine_pid = engine_pid;
        hw_process_read(profile, root, engine_pid);
        return;
    }
    if (engine_pid > 0)
        o3_note(&profile->notes, "process %d of the engine cannot be seen", engine_pid);
    o3_note(&profile->notes, "the engine's process is unknown: limits and usable CPUs are those of this process");
}

o3_status o3_profile_read(o3_profile *ret_profile, const char *root, const o3_config *config, int engine_pid,
                          bool engine_local, o3_err *err)
{
    o3_auto(free) o3_profile *profile = o3_alloc(1, sizeof(*profile));
    profile->engine_pid = profile->engine_uid = -1;
    profile->engine_local = engine_local;
    profile->bandwidth = O3_BANDWIDTH_NONE;
    read_system(profile, root);
    hw_cpu_read(profile, root);
    hw_memory_read(profile, root);
    if (profile->cpus_online < 0 && profile->ram_bytes < 0 && !*profile->cpu_model)
        return o3_fail(err, O3_E_IO, "nothing can be read of this machine below %s: is /proc mounted there?",
                       root ? root : "/");
    if (engine_local) {
        read_engine(profile, root, engine_pid);
        hw_cgroups_read(profile, root, profile->engine_pid);
        hw_limits_read(profile, root, profile->engine_pid);
        read_pools(profile, root, config);
        hw_gpus_read(profile, root, config);
        note_nothing_left(profile, config);
    } else {
        o3_note(&profile->notes, "the engine runs on another machine: local sensors say nothing about it");
    }
    hw_usable_read(profile, root, profile->engine_pid);
    if (engine_local)
        set_fingerprint(profile);
    *ret_profile = *profile;
    return O3_OK;
}

bool o3_pool_is_device(const o3_profile *profile, int pool)
{
    for (int i = 0; i < profile->gpu_count; i++)
        if (profile->gpus[i].pool == pool && (pool > 0 || !profile->gpus[i].unified))
            return true;
    return false;
}
