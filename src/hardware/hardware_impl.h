/* SPDX-License-Identifier: Apache-2.0 */
/* hardware, inside: each reader fills its part of the profile and notes what it could not read. `pid` is the
 * engine's process, or -1 for ourselves. */
#ifndef O3_HARDWARE_IMPL_H
#define O3_HARDWARE_IMPL_H

#include "base/base.h"
#include "o3/hardware.h"

#define HW_CPUS_MAX 8192
typedef struct hw_set {
    uint64_t bits[HW_CPUS_MAX / 64];
    bool known; /* false: the text held no list */
} hw_set;
hw_set hw_set_parse(const char *list); /* "0-3,8" */
bool hw_set_has(const hw_set *set, int cpu);
int hw_set_count(const hw_set *set);
int hw_set_first(const hw_set *set);   /* -1 if it is empty */
bool hw_set_format(const hw_set *set, char *dst, size_t dst_size); /* "0-3,8"; false if it was cut */

/* A process's place in one cgroup hierarchy. Its directory below the root is mount + below. */
typedef struct hw_group {
    int version;                    /* 1 or 2 */
    char mount[O3_GROUP_PATH_MAX];  /* where the hierarchy is mounted */
    char prefix[O3_GROUP_PATH_MAX]; /* cgroup path that the mount shows as its top; "" for the root cgroup */
    char below[O3_GROUP_PATH_MAX];  /* from there down to the group; "" = the mount itself */
} hw_group;

/* version 1 looks for the hierarchy that holds `controller`, 2 for the unified one. */
bool hw_group_find(const char *root, int pid, int version, const char *controller, hw_group *ret_group);
bool hw_group_up(hw_group *group); /* to the parent; false at the top that can be seen */
/* Reads one file of the group; -1 as o3_read_text. */
int64_t hw_group_read(const char *root, const hw_group *group, const char *file, char *dst, size_t dst_size);
void hw_group_name(const hw_group *group, char *dst, size_t dst_size); /* "/a/b", "/" */
double hw_group_quota(const char *root, const hw_group *group); /* cores of its own quota; NaN = none */
#define HW_LIMIT_NONE_FROM (INT64_C(1) << 60) /* larger ones mean "none": v1 writes LONG_MAX rounded down to a page */

/* "/proc/PID/file", or "/proc/self/file" for -1. */
void hw_pid_path(char *dst, size_t dst_size, int pid, const char *file);
/* root + path for calls that need a name; false if it does not fit. */
bool hw_full_path(char *dst, size_t dst_size, const char *root, const char *path);
/* One line without its newline and blanks at the end; false if missing or empty. */
bool hw_read_line(const char *root, const char *path, char *dst, size_t dst_size);
/* "key : value" of /proc/cpuinfo and friends, from the first line with that key. */
bool hw_key_text(const char *text, const char *key, char *dst, size_t dst_size);

void hw_cpu_read(o3_profile *profile, const char *root);
/* cores: the first online CPU of each core, unknown where the kernel does not tell. */
void hw_topology_read(o3_profile *profile, const char *root, const hw_set *online, const hw_set *cores);
void hw_limits_read(o3_profile *profile, const char *root, int pid);
void hw_usable_read(o3_profile *profile, const char *root, int pid);
void hw_memory_read(o3_profile *profile, const char *root);
void hw_cgroups_read(o3_profile *profile, const char *root, int pid);
void hw_process_read(o3_profile *profile, const char *root, int pid);
/* After the pools of the host and the engine's environment. */
void hw_gpus_read(o3_profile *profile, const char *root, const o3_config *config);
/* A pool with its safe size, by the configuration's limits for the kind; the caller has seen that there is room. */
typedef enum hw_pool_kind { HW_POOL_RAM, HW_POOL_VRAM } hw_pool_kind;
o3_pool *hw_pool_add(o3_profile *profile, const o3_config *config, hw_pool_kind kind, int64_t total, int64_t used);

/* mask.c: what a capture must not give away. In all text: UUIDs, hardware addresses, long ids, serial numbers, the
 * names of homes; `names` where names occur. */
typedef enum hw_mask_rule {
    HW_MASK_TEXT,
    HW_MASK_NAMES,
    HW_MASK_DROP,         /* left out */
    HW_MASK_ALL,
    HW_MASK_CGROUP_LINES, /* of mountinfo */
    HW_MASK_ENVIRON,
} hw_mask_rule;
#define HW_MASK_NAMES_MAX 8
typedef struct hw_mask_names {
    int count;
    char at[HW_MASK_NAMES_MAX][128];
} hw_mask_names;
void hw_mask_name(hw_mask_names *names, const char *name); /* adds it, unless it tells nothing ("root") */
hw_mask_rule hw_mask_rule_of(const char *path);
void hw_mask_text(char *text, const hw_mask_names *names); /* in place; the length stays */
/* The bytes (terminated) of a file; what is left of them. */
size_t hw_mask_file(const char *path, char *bytes, size_t len, const hw_mask_names *names);
void hw_mask_profile(o3_profile *profile, const hw_mask_names *names);
/* Of the environment, what the profile keeps: settings of the engine and of the libraries below it that choose
 * devices; secret ones without their value. */
bool hw_variable_is_ours(const char *name, size_t len);
bool hw_variable_is_secret(const char *name, size_t len);

/* Inodes of the sockets that listen on a port, best first: loopback and "any" before other addresses, because a client
 * that was told "localhost" reaches those. */
#define HW_SOCKETS_MAX 16
typedef struct hw_sockets {
    int count;
    struct {
        uint64_t inode;
        int rank;
    } at[HW_SOCKETS_MAX];
} hw_sockets;
void hw_sockets_read(hw_sockets *ret_set, const char *root, int port);

#endif
