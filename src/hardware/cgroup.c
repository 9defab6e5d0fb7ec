/* SPDX-License-Identifier: Apache-2.0 */
/* cgroups v1, v2 and hybrid. The path in /proc/PID/cgroup and the roots in mountinfo are both relative to *our*
 * cgroup namespace, so they fit together; we read through our own mounts, whatever the engine sees. */
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "hardware/hardware_impl.h"

#define MOUNTINFO_MAX (1 << 20)

static bool has_token(const char *list, const char *token)
{
    size_t len = strlen(token);
    for (const char *p = list; p; p = strchr(p, ','), p = p ? p + 1 : NULL)
        if (!strncmp(p, token, len) && (p[len] == ',' || !p[len]))
            return true;
    return false;
}

/* The path of the group in /proc/PID/cgroup: "4:cpu,memory:/a" (v1) or "0::/a" (v2). */
static bool group_path(const char *root, int pid, int version, const char *controller, char *dst, size_t dst_size)
{
    char file[64], text[16384], *rest = text, *line;
    hw_pid_path(file, sizeof(file), pid, "cgroup");
    if (o3_read_text(root, file, text, sizeof(text)) <= 0)
        return false;
    while ((line = strsep(&rest, "\n"))) {
        char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        list++;
        if (version == 2 ? strncmp(line, "0:", 2) || *list : !has_token(list, controller))
            continue;
        char *deleted = strstr(path, " (deleted)");
        if (deleted && !deleted[10])
            *deleted = '\0';
        if (*path != '/' || strlen(path) >= dst_size)
            return false;
        o3_copy(dst, dst_size, path);
        return true;
    }
    return false;
}

/* mountinfo writes blanks in names as octal. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        if (from[0] == '\\' && from[1] && from[2] && from[3]) {
            *to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

/* Splits "31 23 0:28 ROOT MOUNT opts ... - TYPE SOURCE SUPER"; false if it is not of our hierarchy. */
static bool mount_matches(char *line, int version, const char *controller, char **ret_top, char **ret_mount)
{
    char *part[6], *dash = strstr(line, " - ");
    if (!dash)
        return false;
    *dash = '\0';
    for (int i = 0; i < O3_COUNT(part); i++)
        if (!(part[i] = strsep(&line, " ")))
            return false;
    char *tail = dash + 3, *type = strsep(&tail, " "), *source = strsep(&tail, " ");
    if (!type || !source || !tail)
        return false;
    if (version == 2 ? strcmp(type, "cgroup2") != 0 : strcmp(type, "cgroup") || !has_token(tail, controller))
        return false;
    unescape(part[3]);
    unescape(part[4]);
    *ret_top = part[3];
    *ret_mount = part[4];
    return true;
}

/* What is left of `path` below `top`, or NULL if it is not below. */
static const char *below_top(const char *path, const char *top)
{
    static const char outside[] = "/.."; /* of our cgroup namespace */
    size_t len = strcmp(top, "/") ? strlen(top) : 0;
    if (!strncmp(path, outside, 3) && strncmp(top, outside, 3))
        return NULL;
    if (strncmp(path, top, len) || (path[len] && path[len] != '/'))
        return NULL;
    return strcmp(path + len, "/") ? path + len : "";
}

static bool group_set(hw_group *group, int version, const char *mount, const char *top, const char *below)
{
    if (strlen(mount) >= sizeof(group->mount) || strlen(top) >= sizeof(group->prefix) ||
        strlen(mount) + strlen(below) >= sizeof(((o3_cgroup *)NULL)->dir))
        return false;
    group->version = version;
    O3_COPY(group->mount, mount);
    O3_COPY(group->prefix, strcmp(top, "/") ? top : "");
    O3_COPY(group->below, below);
    return true;
}

/* Where mountinfo is missing (a capture), the places every distribution uses. */
static bool usual_place(const char *root, const char *path, int version, const char *controller, hw_group *ret_group)
{
    static const char *const v2[] = {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"};
    char full[PATH_MAX], v1[128];
    O3_FORMAT(v1, "/sys/fs/cgroup/%s", controller);
    for (int i = 0; i < (version == 2 ? 2 : 1); i++) {
        const char *mount = version == 2 ? v2[i] : v1;
        const char *below = below_top(path, "/");
        if (below && hw_full_path(full, sizeof(full), root, mount) && !access(full, F_OK))
            return group_set(ret_group, version, mount, "/", below);
    }
    return false;
}

bool hw_group_find(const char *root, int pid, int version, const char *controller, hw_group *ret_group)
{
    char path[O3_GROUP_PATH_MAX], *top, *mount, *line;
    bool found = false, fits = false;
    if (!group_path(root, pid, version, controller, path, sizeof(path)))
        return false;
    o3_auto(free) char *text = o3_alloc(1, MOUNTINFO_MAX);
    if (o3_read_text(root, "/proc/self/mountinfo", text, MOUNTINFO_MAX) < 0)
        return usual_place(root, path, version, controller, ret_group);
    for (char *rest = text; !fits && (line = strsep(&rest, "\n"));) {
        if (!mount_matches(line, version, controller, &top, &mount))
            continue;
        const char *below = below_top(path, top);
        fits = below && group_set(ret_group, version, mount, top, below);
        /* A container without a cgroup namespace may show its own group as the mount's top under another name. */
        if (!fits && !found && strncmp(path, "/..", 3))
            found = group_set(ret_group, version, mount, top, "");
    }
    return fits || found;
}

bool hw_group_up(hw_group *group)
{
    char *slash = strrchr(group->below, '/');
    if (!slash)
        return false;
    *slash = '\0';
    return true;
}

int64_t hw_group_read(const char *root, const hw_group *group, const char *file, char *dst, size_t dst_size)
{
    char path[2 * O3_GROUP_PATH_MAX + 64];
    O3_FORMAT(path, "%s%s/%s", group->mount, group->below, file);
    return o3_read_text(root, path, dst, dst_size);
}

void hw_group_name(const hw_group *group, char *dst, size_t dst_size)
{
    o3_format(dst, dst_size, "%s%s", group->prefix, group->below);
    if (!*dst)
        o3_copy(dst, dst_size, "/");
}

/* One limit file: bytes, -1 for none or not there; *ret_bad when it is there and cannot be understood. */
static int64_t limit_file(const char *root, const hw_group *group, const char *file, bool *ret_bad)
{
    char text[128], *end;
    if (hw_group_read(root, group, file, text, sizeof(text)) < 0) {
        *ret_bad = errno != ENOENT;
        return -1;
    }
    text[strcspn(text, "\n")] = '\0';
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (!strcmp(text, "max") || !strcmp(text, "-1") || (errno == ERANGE && value > 0 && !*end))
        return -1;
    if (errno || end == text || *end || value < 0) {
        *ret_bad = true;
        return -1;
    }
    return value >= HW_LIMIT_NONE_FROM ? -1 : (int64_t)value;
}

static int64_t lower(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

static int64_t group_limit(o3_profile *profile, const char *root, const hw_group *group)
{
    /* Above memory.high the kernel stalls the group as hard as it can: a limit like the other. */
    static const char *const files[2][2] = {{"memory.limit_in_bytes", NULL}, {"memory.max", "memory.high"}};
    int64_t limit = -1;
    for (int i = 0; i < 2 && files[group->version - 1][i]; i++) {
        bool bad = false;
        limit = lower(limit, limit_file(root, group, files[group->version - 1][i], &bad));
        if (bad)
            o3_note(&profile->notes, "the limit in %s%s/%s cannot be read and is taken as none", group->mount,
                    group->below, files[group->version - 1][i]);
    }
    return limit;
}

/* v1 tells in memory.stat the lowest limit of all ancestors, also of those above the top that we can see. */
static int64_t hidden_limit(o3_profile *profile, const hw_group *group, const char *stat, int64_t own)
{
    int64_t limit = group->version == 1 ? o3_field_i64(stat, "hierarchical_memory_limit", -1) : -1;
    if (limit <= 0 || limit >= HW_LIMIT_NONE_FROM || (own >= 0 && own <= limit))
        return own;
    o3_note(&profile->notes, "a memory limit of %lld bytes comes from a cgroup above those visible here",
            (long long)limit);
    return limit;
}

void hw_cgroups_read(o3_profile *profile, const char *root, int pid)
{
    o3_auto(free) char *stat = o3_alloc(1, 16384);
    hw_group group;
    profile->cgroup_count = 0;
    /* In a hybrid system the v2 hierarchy is there too, but without the memory controller. */
    if (!hw_group_find(root, pid, 1, "memory", &group) && !hw_group_find(root, pid, 2, "memory", &group)) {
        o3_note(&profile->notes, "no memory cgroup of %s can be seen: limits of containers are unknown",
                pid < 0 ? "this process" : "the engine's process");
        return;
    }
    do {
        if (hw_group_read(root, &group, "memory.stat", stat, 16384) <= 0)
            continue;
        int64_t limit = group_limit(profile, root, &group);
        if (!*group.below)
            limit = hidden_limit(profile, &group, stat, limit);
        /* Ancestors count only with a limit; the innermost group always, for its refaults. */
        if (profile->cgroup_count && limit < 0)
            continue;
        if (profile->cgroup_count == O3_CGROUPS_MAX) {
            o3_note(&profile->notes, "more than %d nested cgroups have limits; the outer ones are not watched",
                    O3_CGROUPS_MAX);
            return;
        }
        o3_cgroup *row = &profile->cgroups[profile->cgroup_count++];
        *row = (o3_cgroup){.version = group.version, .limit_bytes = limit};
        O3_FORMAT(row->dir, "%s%s", group.mount, group.below);
        hw_group_name(&group, row->name, sizeof(row->name));
    } while (hw_group_up(&group));
}

/* Fields of memory.stat. v1 has "total_" ones over the whole subtree, which is what its limit holds; v2 only such. */
typedef struct stat_fields {
    int64_t anon, shmem, active_anon, inactive_anon, unevictable;
    int64_t kernel, slab_reclaimable, slab_unreclaimable, kernel_stack, pagetables, percpu, sock, hugetlb;
} stat_fields;

#define AT(field) offsetof(stat_fields, field)
static const struct stat_key {
    const char *name;
    size_t at;
} v1_keys[] = {
    {"total_rss", AT(anon)},
    {"total_shmem", AT(shmem)},
    {"total_active_anon", AT(active_anon)},
    {"total_inactive_anon", AT(inactive_anon)},
    {"total_unevictable", AT(unevictable)},
    {NULL, 0},
}, v2_keys[] = {
    {"anon", AT(anon)},
    {"shmem", AT(shmem)},
    {"active_anon", AT(active_anon)},
    {"inactive_anon", AT(inactive_anon)},
    {"unevictable", AT(unevictable)},
    {"kernel", AT(kernel)},
    {"slab_reclaimable", AT(slab_reclaimable)},
    {"slab_unreclaimable", AT(slab_unreclaimable)},
    {"kernel_stack", AT(kernel_stack)},
    {"pagetables", AT(pagetables)},
    {"percpu", AT(percpu)},
    {"sock", AT(sock)},
    {"hugetlb", AT(hugetlb)},
    {NULL, 0},
};
#undef AT

static void parse_stat(stat_fields *fields, const struct stat_key *keys, const char *text)
{
    memset(fields, 0xff, sizeof(*fields)); /* every field -1 */
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t len = strcspn(line, " \n");
        for (const struct stat_key *key = keys; line[len] == ' ' && key->name; key++) {
            if (strncmp(line, key->name, len) || key->name[len])
                continue;
            errno = 0;
            char *end;
            long long value = strtoll(line + len + 1, &end, 10);
            if (!errno && end != line + len + 1 && value >= 0 && value < HW_LIMIT_NONE_FROM)
                *(int64_t *)(void *)((char *)fields + key->at) = value;
            break;
        }
    }
}

static int64_t known(int64_t value)
{
    return value > 0 ? value : 0;
}

int64_t o3_cgroup_count(int version, const char *stat, int64_t kernel_bytes, int64_t usage_bytes)
{
    stat_fields f;
    parse_stat(&f, version == 1 ? v1_keys : v2_keys, stat);
    if (f.anon < 0)
        return -1;
    /* Two views of the same pages: by kind (anon + shmem), and by LRU list, where locked pages of any kind stand
     * on the unevictable list only. The list view misses pages still in per-CPU batches, the kind view misses
     * locked files (and shmem where an old v1 kernel does not list it): the larger is right. Adding unevictable to
     * the kinds would count every locked anonymous page twice; that is done only where there are no lists. */
    int64_t kinds = f.anon + known(f.shmem), lists = -1;
    if (f.active_anon >= 0 && f.inactive_anon >= 0)
        lists = f.active_anon + f.inactive_anon + known(f.unevictable);
    else
        kinds += known(f.unevictable);
    int64_t bytes = lists > kinds ? lists : kinds;

    if (version == 1)
        bytes += kernel_bytes < HW_LIMIT_NONE_FROM ? known(kernel_bytes) : 0;
    else if (f.kernel >= 0) /* since 5.18 one line for all of it */
        bytes += f.kernel > known(f.slab_reclaimable) ? f.kernel - known(f.slab_reclaimable) : 0;
    else
        bytes += known(f.kernel_stack) + known(f.slab_unreclaimable) + known(f.pagetables) + known(f.percpu);
    bytes += known(f.sock) + known(f.hugetlb);
    return usage_bytes >= 0 && bytes > usage_bytes ? usage_bytes : bytes;
}

static int64_t bytes_file(const char *root, const o3_cgroup *group, const char *file)
{
    char path[O3_GROUP_PATH_MAX + 64];
    O3_FORMAT(path, "%s/%s", group->dir, file);
    return o3_read_i64(root, path, -1);
}

int64_t o3_cgroup_unreclaimable(const char *root, const o3_cgroup *group)
{
    char path[O3_GROUP_PATH_MAX + 64], text[16384];
    O3_FORMAT(path, "%s/memory.stat", group->dir);
    if (group->version < 1 || o3_read_text(root, path, text, sizeof(text)) <= 0)
        return -1;
    bool v1 = group->version == 1;
    int64_t kernel = v1 ? bytes_file(root, group, "memory.kmem.usage_in_bytes") : -1;
    int64_t usage = bytes_file(root, group, v1 ? "memory.usage_in_bytes" : "memory.current");
    return o3_cgroup_count(group->version, text, kernel, usage);
}
