/* SPDX-License-Identifier: Apache-2.0 */
/* hardware: reads the machine once and says what O3 may use of it. The profile is a plain document: pools that
 * bytes can come from with their safe sizes, CPUs that are really usable, the engine's process. It knows /proc,
 * /sys and the cgroup file systems (v1, v2, hybrid), all behind one root, and nothing of models or tests. */
#ifndef O3_HARDWARE_H
#define O3_HARDWARE_H

#include "config.h"

typedef struct o3_pool {
    char name[64];           /* "ram", "cgroup:/a/b" ... */
    int64_t total_bytes;     /* size or limit; -1 if unknown */
    int64_t used_bytes;      /* unreclaimable use when read; -1 if unknown */
    int64_t models_bytes;    /* of it models that the engine had loaded: free again at rest; 0 if none or unknown */
    int64_t safe_bytes;      /* min(limit % x total, total - reserve), reserve counted as design.md 1.2 says */
    double limit_frac;       /* 0.85 for RAM */
    int cgroup;              /* 1 + its index in profile.cgroups; 0 = not a cgroup */
    char source[128];        /* file(s) it was read from */
} o3_pool;

#define O3_GROUP_PATH_MAX 512
typedef struct o3_cgroup {
    int version;                  /* 1 or 2; 0 = none */
    char dir[O3_GROUP_PATH_MAX];  /* directory of the memory controller below the sysroot */
    char name[O3_GROUP_PATH_MAX]; /* its path among the cgroups, "/a/b" */
    int64_t limit_bytes;          /* -1 = none */
} o3_cgroup;

typedef enum o3_gpu_vendor { O3_GPU_OTHER, O3_GPU_NVIDIA, O3_GPU_AMD, O3_GPU_INTEL, O3_GPU_APPLE,
                             O3_GPU_SOFTWARE } o3_gpu_vendor;
#define O3_GPUS_MAX 16
/* Which GPUs a profile holds, in this order: first the gpu_count that the engine can use by all we know, each with its
 * pool; behind them, up to gpus_seen, those it will not use or whose memory nobody can tell (aside says which). */
typedef struct o3_gpu {
    char name[96], pci[20];      /* "NVIDIA GeForce RTX 4090", "0000:01:00.0"; "" unknown */
    o3_gpu_vendor vendor;
    bool unified;                /* its memory is the host's RAM: counted there too */
    int pool;                    /* index of its pool; -1 only behind gpu_count */
    double bandwidth_bytes_per_s; /* theoretical; NaN unknown */
    double fp16_flops;           /* theoretical; NaN unknown */
    int64_t max_tensor_bytes;    /* a larger tensor stays on the host; -1 = no bound */
    char driver[48];             /* "nvidia 590.48.01", "amdgpu"; "" unknown */
    char source[32];             /* who told its memory: "NVML", "amdgpu", "nvidia-smi" ...; "" nobody */
    char part[64];               /* the MIG instance that this row stands for, "MIG 3g.40gb"; "" the whole GPU */
    char uuid[64];               /* NVIDIA's, to tell instances apart and to read *_VISIBLE_DEVICES; "" unknown */
    char aside[160];             /* why it is behind gpu_count, as a sentence's end; "" for the others */
    char dir[160];               /* its device directory below the sysroot; "" none */
    bool integrated;             /* in one package with the CPU */
    bool asleep;                 /* suspended by the kernel: what would wake it was not asked */
    int64_t own_bytes;           /* integrated: RAM that the BIOS gave to it alone (carve-out); -1 unknown or none */
    int64_t shared_bytes;        /* integrated: RAM of the system that its driver may map (GTT); -1 unknown or none */
    double max_temperature_c;    /* where O3 stops: the configured limit, or its own critical point less 5; NaN unwatched */
} o3_gpu;
#define O3_GPU_UNKNOWN                                                                                          \
    ((o3_gpu){.pool = -1, .bandwidth_bytes_per_s = NAN, .fp16_flops = NAN, .max_tensor_bytes = -1, .own_bytes = -1, \
              .shared_bytes = -1, .max_temperature_c = NAN})

/* Read bandwidth that was measured on this machine (hardware --measure), by threads. */
typedef struct o3_bandwidth {
    double one_bytes_per_s, half_bytes_per_s, all_bytes_per_s; /* 1, half of, all usable cores; NaN not measured */
    double flops_per_s;          /* f32 multiply-add rate of all usable cores; NaN not measured */
    int64_t measured_unix_ms;    /* -1 never */
} o3_bandwidth;
#define O3_BANDWIDTH_NONE ((o3_bandwidth){NAN, NAN, NAN, NAN, -1})

/* Cores of one make. A CPU with cores of a single make has no list of them. */
#define O3_CPU_KINDS_MAX 6
typedef struct o3_cpu_kind {
    char name[24];           /* "P", "E", "LP-E" (Intel), "capacity 512" (of 1024: ARM and others) */
    int cpus, cores;         /* online; cores -1 unknown */
    char list[128];          /* "0-7"; "" if it is longer than that */
} o3_cpu_kind;

#define O3_CACHES_MAX 12
typedef struct o3_cache {
    int level;
    char type[12];           /* "data", "instruction", "unified" */
    int64_t size_bytes;      /* of one */
    int count;               /* how many of this level, type and size the online CPUs have */
} o3_cache;

#define O3_NODES_MAX 16
typedef struct o3_node {     /* NUMA */
    int id;
    char cpus[128];          /* "0-31"; "" none, or longer than that */
    int64_t total_bytes, free_bytes; /* -1 unknown */
} o3_node;

/* A limit that a cgroup sets, as its file states it. */
#define O3_LIMITS_MAX 40
typedef struct o3_limit {
    char whose[8];           /* "server", "o3" (also where the server's process is unknown) */
    char group[256];         /* "/a/b"; a longer path keeps its end */
    char file[40];           /* "memory.max", "cpu.cfs_quota_us" ... */
    int64_t bytes;           /* -1: not a limit of memory */
    double cpus;             /* NaN: not a limit of CPU time */
    char list[64];           /* CPUs of a cpuset, "0-3"; else "" */
} o3_limit;

#define O3_CGROUPS_MAX 16
typedef struct o3_profile {
    char hostname[128], os[128], kernel[128];
    char cpu_model[128], cpu_vendor[64];
    int cpus_online, packages, cores, threads_per_core; /* -1 unknown */
    int kind_count, cache_count, node_count;
    o3_cpu_kind kinds[O3_CPU_KINDS_MAX];  /* the fastest first */
    o3_cache caches[O3_CACHES_MAX];       /* by level */
    o3_node nodes[O3_NODES_MAX];          /* by id */
    double usable_cpus;        /* min(affinity, cpuset, quota) of the engine's process, else ours; may be 1.5 */
    char usable_why[160];      /* "all 8 online", "affinity 0-3", "cpuset 0-3 of /a", "quota 2.0 of /a/b" */
    char cpu_list[256];        /* online CPUs it may run on, "0-3,8" (a quota does not narrow it); "" unknown */
    char isa[256];             /* features that matter to llama.cpp, space separated */
    int64_t ram_bytes, ram_available_bytes, swap_bytes, swap_free_bytes; /* -1 unknown */
    bool psi;                  /* /proc/pressure is there */
    int engine_pid;            /* -1: not found or not local */
    bool engine_local;         /* the server runs on this machine */
    char engine_exe[256];
    int engine_uid;            /* -1 unknown */
    char engine_user[64];      /* "" unknown */
    char engine_unit[128];     /* systemd's "ollama.service", "docker-0123.scope"; "" none or unknown */
    char engine_env[2048];     /* "K=V\n" of OLLAMA_*, LLAMA_*, GGML_*, *_VISIBLE_DEVICES, sorted; "" if none */
    bool engine_env_known;     /* false: not readable */
    int cgroup_count;
    o3_cgroup cgroups[O3_CGROUPS_MAX]; /* of the engine's process when known, else ours; the
                                          innermost first, of its ancestors those with a limit */
    int limit_count;
    o3_limit limits[O3_LIMITS_MAX];    /* those that are set: of the server's process, then ours; the innermost first */
    int pool_count;
    o3_pool pools[O3_POOLS_MAX];
    int gpu_count, gpus_seen;  /* see o3_gpu; gpus_seen >= gpu_count */
    o3_gpu gpus[O3_GPUS_MAX];
    o3_bandwidth bandwidth;
    char fingerprint[72];      /* of the parts that change answers: CPU, RAM, limits, usable cores; "" = unknown
                                  (the engine is not local), equal to nothing */
    o3_notes notes;
} o3_profile;

/* Reads below `root` ("/" or a capture). engine_pid -1 = unknown: our own cgroups and affinity stand in and a note
 * says so. engine_local false: the fields describe this machine, which is not the engine's: no pools, no cgroups, no
 * fingerprint, a note. Limits and reserves come from `config`.
 * O3_E_IO only if nothing at all could be read; anything else missing is unknown and noted. */
O3_NODISCARD o3_status o3_profile_read(o3_profile *ret_profile, const char *root, const o3_config *config,
                                       int engine_pid, bool engine_local, o3_err *err);

/* Measures it: reads a buffer well above the last-level caches on the engine's CPUs, then multiplies; under two seconds,
 * all its CPUs busy meanwhile. O3_E_IMPOSSIBLE where the engine is elsewhere or too little memory is free, O3_E_IO. */
O3_NODISCARD o3_status o3_bandwidth_measure(o3_bandwidth *ret_bandwidth, const o3_profile *profile, const char *root,
                                            o3_err *err);

/* Captures: what a profile was read from, as a .tar.gz that somebody else can look into. From `begin` to `write` this
 * thread's readings are kept. */
typedef struct o3_capture o3_capture;
o3_capture *o3_capture_begin(void);
void o3_capture_free(o3_capture *capture); /* NULL is fine; nothing is kept from then on */
/* Host and user names, serial numbers, UUIDs, hardware addresses and container ids are replaced, in `profile` too. */
void o3_capture_mask(o3_capture *capture, o3_profile *profile);
/* Writes `file` with the document (the masked profile as JSON) as O3_CAPTURE_DOCUMENT. O3_E_USAGE if the file is there and
 * `force` is not set, O3_E_IO, O3_E_IMPOSSIBLE without libarchive. */
#define O3_CAPTURE_DOCUMENT "o3-hardware.json"
O3_NODISCARD o3_status o3_capture_write(o3_capture *capture, const char *file, const char *document, bool force,
                                        int *ret_files, o3_err *err);
/* A directory, or the directory that a capture was taken apart into: at most 64 MiB of regular files. O3_E_NOT_FOUND,
 * O3_E_IO if it is damaged, O3_E_LIMIT if it is too large, O3_E_CONFIG if it holds links or names that lead out. */
typedef struct o3_replay {
    char root[256];
    bool temporary;            /* o3_replay_close removes it */
} o3_replay;
O3_NODISCARD o3_status o3_replay_open(o3_replay *ret_replay, const char *path, o3_err *err);
void o3_replay_close(o3_replay *replay);

/* Has a GPU this pool to itself, so that nothing of the host lies in it? A unified GPU may share the first pool, the
 * RAM: that is the host's too. */
bool o3_pool_is_device(const o3_profile *profile, int pool);

/* The pid of the process that listens on a local TCP port (by /proc/net/tcp and tcp6, and /proc/PID/fd);
 * -1 if it cannot be told: other user's process, other network namespace, or a forwarder (docker-proxy, ssh, a
 * reverse proxy), whose limits and memory say nothing about the server behind it. */
int o3_process_listening(const char *root, int port);

/* Unreclaimable bytes of a cgroup now; -1 if unreadable. The rule is o3_cgroup_count's. */
int64_t o3_cgroup_unreclaimable(const char *root, const o3_cgroup *group);
/* The same from the text of its memory.stat. kernel_bytes: v1 memory.kmem.usage_in_bytes (-1 unknown; unused for v2,
 * whose text has it); usage_bytes: what the kernel charges in all, the cap (-1 unknown). No allocation.
 * anon + shmem + unevictable, counted without taking locked pages twice, + kernel memory that is not reclaimable. */
int64_t o3_cgroup_count(int version, const char *stat, int64_t kernel_bytes, int64_t usage_bytes);
/* Is `cpu` in a kernel CPU list ("0-3,8")? */
bool o3_cpu_list_has(const char *list, int cpu);

#endif
