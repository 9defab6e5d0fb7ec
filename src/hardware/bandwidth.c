/* SPDX-License-Identifier: Apache-2.0 */
/* How fast this machine reads memory and multiplies: what one token of a language model costs. Reading only, as
 * decoding does (a copy or a triad would count stores that never happen); the best of some rounds, as others' work can
 * only make a round slower. Threads stay on the CPUs that the engine may use, one a core as long as there are cores. */
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include "hardware/hardware_impl.h"

#define MIB INT64_C(1048576)
#define PAGE 4096
#define BUFFER_LEAST (64 * MIB)
#define BUFFER_USUAL (256 * MIB)
#define BUFFER_MOST (2048 * MIB)
#define CACHES 4              /* the buffer is this many times all last-level caches: little of it stays cached */
#define ROOM_SHARE 4          /* and at most this part of the memory that is free */
#define THREADS_MAX 512
#define ROUNDS_LEAST 3
#define ROUNDS_MOST 24
#define PHASE_S 0.25          /* of each of the four phases, unless its first rounds take longer */
#define TURNS 1000000         /* of the multiply kernel: a few milliseconds */

typedef struct kernels {
    uint64_t (*read)(const void *slice, size_t bytes);
    float (*multiply)(int turns);
    double flop; /* of one turn */
} kernels;

/* The same text for each instruction set: vectors of `width` bytes, `sums` independent accumulators, enough to hide the
 * latency of an addition and few enough to stay in registers. */
#define KERNELS(name, attributes, width, sums)                                                   \
    static attributes uint64_t read_##name(const void *slice, size_t bytes)                      \
    {                                                                                            \
        typedef uint64_t words __attribute__((vector_size(width)));                              \
        const words *p = slice, *end = p + bytes / sizeof(*p);                                   \
        words sum[8] = {0};                                                                      \
        for (; p + 8 <= end; p += 8)                                                             \
            _Pragma("GCC unroll 8") for (int i = 0; i < 8; i++)                                  \
                sum[i] ^= p[i];                                                                  \
        for (int i = 1; i < 8; i++)                                                              \
            sum[0] ^= sum[i];                                                                    \
        return sum[0][0] ^ sum[0][1];                                                            \
    }                                                                                            \
    static attributes float multiply_##name(int turns)                                           \
    {                                                                                            \
        typedef float floats __attribute__((vector_size(width)));                                \
        floats sum[sums] = {0}, factor = {0}, step = {0};                                        \
        factor += 0.999f;                                                                        \
        step += 0.001f;                                                                          \
        for (int i = 0; i < (sums); i++)                                                         \
            sum[i] += (float)i; /* equal ones would be one */                                    \
        for (int turn = 0; turn < turns; turn++)                                                 \
            _Pragma("GCC unroll 20") for (int i = 0; i < (sums); i++)                            \
                sum[i] = sum[i] * factor + step;                                                 \
        for (int i = 1; i < (sums); i++)                                                         \
            sum[0] += sum[i];                                                                    \
        return sum[0][0];                                                                        \
    }                                                                                            \
    static const kernels name = {read_##name, multiply_##name, 2.0 * (width) / sizeof(float) * (sums)};

#ifdef __x86_64__
KERNELS(plain, , 16, 10)
KERNELS(avx2, __attribute__((target("avx2,fma"))), 32, 10)
KERNELS(avx512, __attribute__((target("avx512f,prefer-vector-width=512"))), 64, 16)

static kernels best_kernels(void)
{
    if (__builtin_cpu_supports("avx512f"))
        return avx512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? avx2 : plain;
}
#else
KERNELS(plain, , 16, 20)

static kernels best_kernels(void)
{
    return plain;
}
#endif

typedef enum job { JOB_TOUCH, JOB_READ, JOB_MULTIPLY } job;
typedef struct team {
    kernels kernels;
    job job;
    char *buffer;
    size_t bytes;
    int threads;             /* at work; the buffer is shared out among them */
    int cpu_count, cpus[THREADS_MAX];
    pthread_rwlock_t gate;   /* opens once all are there */
    bool broken;             /* not all came: nobody works */
} team;
typedef struct member {
    team *team;
    int index;
    pthread_t thread;
    int64_t begin_ns, end_ns;
    double sink; /* keeps the work from being optimised away */
} member;

static void *work(void *ctx)
{
    member *m = ctx;
    team *t = m->team;
    size_t share = t->bytes / (size_t)t->threads / PAGE * PAGE;
    char *slice = t->buffer + share * (size_t)m->index;
    pthread_rwlock_rdlock(&t->gate);
    pthread_rwlock_unlock(&t->gate);
    if (t->broken)
        return NULL;
    m->begin_ns = o3_now_ns();
    if (t->job == JOB_TOUCH)
        memset(slice, 1, share); /* by one that will read it: on its node */
    else if (t->job == JOB_READ)
        m->sink = (double)t->kernels.read(slice, share);
    else
        m->sink = (double)t->kernels.multiply(TURNS);
    m->end_ns = o3_now_ns();
    return NULL;
}

static int start_on(member *m, int cpu)
{
    pthread_attr_t attr;
    size_t size = CPU_ALLOC_SIZE(HW_CPUS_MAX);
    o3_auto(free) cpu_set_t *set = o3_alloc(1, size);
    CPU_SET_S((size_t)cpu, size, set);
    pthread_attr_init(&attr);
    int failure = pthread_attr_setaffinity_np(&attr, size, set);
    if (!failure)
        failure = pthread_create(&m->thread, &attr, work, m);
    pthread_attr_destroy(&attr);
    return failure;
}

/* Every thread once; ret_s from the first beginning to the last end, as the engine's threads wait for each other. */
static o3_status run_once(team *t, double *ret_s, o3_err *err)
{
    member members[THREADS_MAX];
    int made = 0, failure = 0;
    pthread_rwlock_init(&t->gate, NULL);
    pthread_rwlock_wrlock(&t->gate);
    while (made < t->threads && !failure) {
        members[made] = (member){.team = t, .index = made};
        failure = start_on(&members[made], t->cpus[made]);
        made += !failure;
    }
    t->broken = failure;
    pthread_rwlock_unlock(&t->gate);
    int64_t begin = INT64_MAX, end = 0;
    for (int i = 0; i < made; i++) {
        pthread_join(members[i].thread, NULL);
        begin = members[i].begin_ns < begin ? members[i].begin_ns : begin;
        end = members[i].end_ns > end ? members[i].end_ns : end;
    }
    pthread_rwlock_destroy(&t->gate);
    if (failure)
        return o3_fail(err, O3_E_IO, "no thread could be started on CPU %d (%s), so nothing was measured", t->cpus[made],
                       strerror(failure));
    *ret_s = (double)(end - begin) / 1e9;
    return O3_OK;
}

/* Bytes or operations a second of the best round. */
static o3_status best_rate(team *t, job kind, int threads, double *ret_per_s, o3_err *err)
{
    double best_s = NAN, spent_s = 0;
    t->job = kind;
    t->threads = threads;
    for (int i = 0; i < ROUNDS_MOST && (i < ROUNDS_LEAST || spent_s < PHASE_S); i++) {
        double s;
        o3_status status = run_once(t, &s, err);
        if (status)
            return status;
        spent_s += s;
        if (!(best_s <= s) && s > 0)
            best_s = s;
    }
    double amount = kind == JOB_READ ? (double)t->bytes : TURNS * t->kernels.flop * threads;
    *ret_per_s = amount / best_s;
    return O3_OK;
}

/* CPUs that the engine and we may use, first threads of their cores before the others; as many as are usable. */
static void choose_cpus(team *t, const o3_profile *profile, const char *root)
{
    size_t size = CPU_ALLOC_SIZE(HW_CPUS_MAX);
    o3_auto(free) cpu_set_t *ours = o3_alloc(1, size);
    hw_set theirs = hw_set_parse(profile->cpu_list);
    int wanted = profile->usable_cpus >= 1 ? (int)profile->usable_cpus : 1;
    bool known = !sched_getaffinity(0, size, ours);
    for (int second = 0; second < 2; second++)
        for (int cpu = 0; cpu < HW_CPUS_MAX && t->cpu_count < wanted && t->cpu_count < THREADS_MAX; cpu++) {
            char path[128], siblings[256];
            if (!known || !CPU_ISSET_S((size_t)cpu, size, ours) || (theirs.known && !hw_set_has(&theirs, cpu)))
                continue;
            O3_FORMAT(path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
            bool first = !hw_read_line(root, path, siblings, sizeof(siblings)) || strtol(siblings, NULL, 10) == cpu;
            if (first == !second)
                t->cpus[t->cpu_count++] = cpu;
        }
}

/* All last-level caches of the machine; 0 unknown. */
static int64_t cache_bytes(const o3_profile *profile, const char *root)
{
    char path[128], text[64];
    int64_t bytes = 0, sharing = 1;
    for (int index = 0; index < 8; index++) {
        char *unit;
        O3_FORMAT(path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
        if (!hw_read_line(root, path, text, sizeof(text)))
            continue;
        int64_t size = strtoll(text, &unit, 10) * (*unit == 'M' ? MIB : 1024); /* "32768K" */
        if (size < bytes)
            continue;
        O3_FORMAT(path, "/sys/devices/system/cpu/cpu0/cache/index%d/shared_cpu_list", index);
        hw_set set = {.known = false};
        if (hw_read_line(root, path, text, sizeof(text)))
            set = hw_set_parse(text);
        sharing = set.known ? hw_set_count(&set) : 1;
        bytes = size;
    }
    int64_t caches = sharing > 0 ? (profile->cpus_online + sharing - 1) / sharing : 1;
    return bytes > 0 && bytes < BUFFER_MOST ? bytes * (caches > 1 ? caches : 1) : 0;
}

/* What a buffer may take of the machine, of the engine's groups and of our own. */
static int64_t free_bytes(const o3_profile *profile, const char *root)
{
    o3_auto(free) o3_profile *own = o3_alloc(1, sizeof(*own));
    int64_t room = profile->ram_available_bytes >= 0 ? profile->ram_available_bytes : 0;
    for (int i = 0; i < profile->pool_count; i++) {
        const o3_pool *pool = &profile->pools[i];
        int64_t left = pool->safe_bytes - (pool->used_bytes > 0 ? pool->used_bytes : 0);
        if (pool->safe_bytes >= 0 && left < room && pool->cgroup)
            room = left;
    }
    hw_cgroups_read(own, root, -1);
    for (int i = 0; i < own->cgroup_count; i++) {
        const o3_cgroup *group = &own->cgroups[i];
        int64_t used = o3_cgroup_unreclaimable(root, group), left = group->limit_bytes - (used > 0 ? used : 0);
        if (group->limit_bytes >= 0 && left < room)
            room = left;
    }
    return room;
}

static o3_status measure(team *t, o3_bandwidth *ret, o3_err *err)
{
    double touched;
    int all = t->cpu_count;
    t->job = JOB_TOUCH;
    t->threads = all;
    o3_status status = run_once(t, &touched, err);
    if (!status)
        status = best_rate(t, JOB_READ, 1, &ret->one_bytes_per_s, err);
    if (!status)
        status = best_rate(t, JOB_READ, all, &ret->all_bytes_per_s, err);
    ret->half_bytes_per_s = all > 3 ? (double)NAN : ret->one_bytes_per_s;
    if (!status && all > 3)
        status = best_rate(t, JOB_READ, all / 2, &ret->half_bytes_per_s, err);
    if (!status)
        status = best_rate(t, JOB_MULTIPLY, all, &ret->flops_per_s, err);
    ret->measured_unix_ms = o3_unix_ms();
    return status;
}

o3_status o3_bandwidth_measure(o3_bandwidth *ret_bandwidth, const o3_profile *profile, const char *root, o3_err *err)
{
    o3_auto(free) team *t = o3_alloc(1, sizeof(*t));
    o3_bandwidth found = O3_BANDWIDTH_NONE;
    char room_text[32];
    int64_t room = free_bytes(profile, root) / ROOM_SHARE, wanted = CACHES * cache_bytes(profile, root);
    if (!profile->engine_local)
        return o3_fail(err, O3_E_IMPOSSIBLE, "the server runs on another machine, whose memory cannot be measured from "
                       "here; run o3 hardware --measure there");
    t->kernels = best_kernels();
    choose_cpus(t, profile, root);
    if (!t->cpu_count)
        return o3_fail(err, O3_E_IMPOSSIBLE, "the engine may use the CPUs %s and this process none of them; run o3 where "
                       "the engine runs", profile->cpu_list);
    wanted = wanted < BUFFER_USUAL ? BUFFER_USUAL : wanted > BUFFER_MOST ? BUFFER_MOST : wanted;
    if (wanted > room)
        wanted = room;
    o3_fmt_bytes(room_text, sizeof(room_text), (double)room * ROOM_SHARE);
    if (wanted < BUFFER_LEAST)
        return o3_fail(err, O3_E_IMPOSSIBLE, "only %s of memory are free here, too little to measure reading from memory "
                       "and not from the cache; unload a model first", room_text);
    t->bytes = (size_t)(wanted / PAGE * PAGE);
    t->buffer = mmap(NULL, t->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (t->buffer == MAP_FAILED)
        return o3_fail(err, O3_E_IO, "no %lld MiB to measure with, though %s are free; unload a model first",
                       (long long)(wanted / MIB), room_text);
    o3_status status = measure(t, &found, err);
    munmap(t->buffer, t->bytes);
    if (!status)
        *ret_bandwidth = found;
    return status;
}
