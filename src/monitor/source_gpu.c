/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "monitor/source_gpu.h"

#define WAIT_NS (20 * O3_NS_PER_MS)       /* of one look, for all GPUs */
#define SHARE 10                          /* a read of so and so long happens every SHARE times that ... */
#define SLOWEST_NS (500 * O3_NS_PER_MS)   /* ... but this often at least: its limit is to be watched */
#define SLOWEST_SLOW_NS O3_NS_PER_S       /* the same for temperatures */
#define WORTH_SAYING_NS (50 * O3_NS_PER_MS)
#define PROCESSES_NS (2 * O3_NS_PER_S)
#define CLOSE_NS O3_NS_PER_S

/* One source with its GPUs and its thread. The thread alone uses `handles` once it runs; the rest is under the lock.
 * Who comes last, closer or thread, frees it. */
typedef struct worker {
    pthread_mutex_t lock;
    pthread_cond_t wanted, done;
    const gpu_source *source;
    int count;
    int index[O3_GPUS_MAX]; /* in the profile */
    void *handles[O3_GPUS_MAX];

    gpu_sample samples[O3_GPUS_MAX];
    bool asked, slow_asked, stopping, ended, abandoned;
    int pid;
    int64_t next_ns, slow_next_ns; /* not asked again before */
    int64_t memory_every_ns, slow_took_ns;
    double cost_s;
} worker;

struct gpu_sources {
    int count;
    worker *workers[O3_GPUS_MAX];
};

static struct timespec at_time(int64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / O3_NS_PER_S), .tv_nsec = (long)(ns % O3_NS_PER_S)};
}

static void worker_free(worker *w)
{
    for (int i = 0; i < w->count; i++)
        w->source->close(w->handles[i]);
    pthread_cond_destroy(&w->wanted);
    pthread_cond_destroy(&w->done);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static double thread_cost_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int64_t every_ns(const worker *w, int64_t took_ns, int64_t slowest_ns)
{
    int64_t own_ns = w->source->period_ms * O3_NS_PER_MS, by_cost_ns = took_ns * SHARE;
    if (by_cost_ns > slowest_ns)
        by_cost_ns = slowest_ns;
    return by_cost_ns > own_ns ? by_cost_ns : own_ns;
}

/* Asks all GPUs of the source for one kind of reading and publishes it: memory is not kept waiting by what is slow.
 * What was not asked for keeps its value and its age. The lock is held, but not while drivers are asked. */
static void round_of(worker *w, int what, int pid, gpu_sample samples[O3_GPUS_MAX])
{
    int64_t begin_ns = o3_now_ns();
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->count; i++) {
        int64_t at_ns = o3_now_ns();
        w->source->read(w->handles[i], what, pid, &samples[i].values);
        samples[i].at_ns = what & GPU_READ_MEMORY ? at_ns : samples[i].at_ns;
        samples[i].slow_at_ns = what & GPU_READ_SLOW ? at_ns : samples[i].slow_at_ns;
    }
    pthread_mutex_lock(&w->lock);
    int64_t took_ns = o3_now_ns() - begin_ns;
    if (what & GPU_READ_MEMORY)
        w->next_ns = begin_ns + (w->memory_every_ns = every_ns(w, took_ns, SLOWEST_NS));
    if (what & GPU_READ_SLOW) {
        w->slow_next_ns = begin_ns + every_ns(w, took_ns, SLOWEST_SLOW_NS);
        w->slow_took_ns = took_ns < SLOWEST_SLOW_NS ? took_ns : SLOWEST_SLOW_NS;
    }
    /* Whichever keeps memory from being read more often. */
    int64_t every = w->memory_every_ns > w->slow_took_ns ? w->memory_every_ns : w->slow_took_ns;
    for (int i = 0; i < w->count; i++)
        samples[i].every_ns = every > WORTH_SAYING_NS ? every : 0;
    memcpy(w->samples, samples, sizeof(w->samples));
}

static void *run(void *arg)
{
    worker *w = arg;
    gpu_sample samples[O3_GPUS_MAX];
    int64_t processes_ns = 0;
    int pid = -1;
    pthread_mutex_lock(&w->lock);
    memcpy(samples, w->samples, sizeof(samples));
    while (!w->stopping) {
        if (!w->asked) {
            pthread_cond_wait(&w->wanted, &w->lock);
            continue;
        }
        bool slow = w->slow_asked;
        w->slow_asked = false;
        round_of(w, GPU_READ_MEMORY, -1, samples);
        if (slow)
            round_of(w, GPU_READ_SLOW, -1, samples);
        if (w->pid != pid || (pid > 0 && o3_now_ns() >= processes_ns)) {
            pid = w->pid;
            processes_ns = o3_now_ns() + PROCESSES_NS;
            round_of(w, GPU_READ_PROCESSES, pid, samples);
        }
        w->cost_s = thread_cost_s();
        w->asked = false;
        pthread_cond_signal(&w->done);
    }
    w->ended = true;
    bool mine = w->abandoned;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
    if (mine)
        worker_free(w);
    return NULL;
}

static worker *worker_new(const gpu_source *source)
{
    pthread_condattr_t attributes;
    worker *w = o3_alloc(1, sizeof(*w));
    w->source = source;
    w->pid = -1;
    for (int i = 0; i < O3_GPUS_MAX; i++)
        w->samples[i] = (gpu_sample){.values = GPU_READING_UNKNOWN, .every_ns = source->period_ms * O3_NS_PER_MS};
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wanted, &attributes);
    pthread_cond_init(&w->done, &attributes);
    pthread_condattr_destroy(&attributes);
    return w;
}

/* Signals are the program's: none may be handled here. */
static bool worker_start(worker *w)
{
    pthread_t thread;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool started = !pthread_create(&thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (started)
        pthread_detach(thread);
    return started;
}

static worker *worker_of(gpu_sources *s, const gpu_source *source)
{
    for (int i = 0; i < s->count; i++)
        if (s->workers[i]->source == source)
            return s->workers[i];
    return s->workers[s->count++] = worker_new(source);
}

gpu_sources *gpu_sources_open(const char *root, const o3_profile *profile)
{
    gpu_sources *s = o3_alloc(1, sizeof(*s));
    int kept = 0;
    for (int i = 0; i < profile->gpu_count; i++) {
        const gpu_source *source = gpu_source_of(&profile->gpus[i]);
        if (!source || !source->open || (source->live && !gpu_live(root)))
            continue;
        void *handle = source->open(root, &profile->gpus[i]);
        if (!handle)
            continue;
        worker *w = worker_of(s, source);
        w->index[w->count] = i;
        w->handles[w->count++] = handle;
    }
    for (int i = 0; i < s->count; i++) {
        if (worker_start(s->workers[i]))
            s->workers[kept++] = s->workers[i];
        else
            worker_free(s->workers[i]);
    }
    s->count = kept;
    return kept ? s : (free(s), NULL);
}

static void worker_close(worker *w)
{
    struct timespec until = at_time(o3_now_ns() + CLOSE_NS);
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->wanted);
    while (!w->ended && pthread_cond_timedwait(&w->done, &w->lock, &until) != ETIMEDOUT)
        ;
    bool ended = w->ended;
    w->abandoned = !ended;
    pthread_mutex_unlock(&w->lock);
    if (ended)
        worker_free(w);
}

void gpu_sources_close(gpu_sources *s)
{
    for (int i = 0; s && i < s->count; i++)
        worker_close(s->workers[i]);
    free(s);
}

/* True if its answer is worth waiting for: a call that is still under way from an earlier look may hang, and a program
 * takes its time. */
static bool worker_ask(worker *w, bool slow, int pid, int64_t now_ns)
{
    pthread_mutex_lock(&w->lock);
    w->slow_asked |= slow && now_ns >= w->slow_next_ns;
    w->pid = pid;
    bool ask = !w->asked && now_ns >= w->next_ns;
    if (ask) {
        w->asked = true;
        pthread_cond_signal(&w->wanted);
    }
    pthread_mutex_unlock(&w->lock);
    return ask && !w->source->period_ms;
}

static void worker_answer(worker *w, bool wait, int64_t until_ns, gpu_sample ret_samples[O3_GPUS_MAX])
{
    struct timespec until = at_time(until_ns);
    pthread_mutex_lock(&w->lock);
    while (wait && w->asked && pthread_cond_timedwait(&w->done, &w->lock, &until) != ETIMEDOUT)
        ;
    for (int i = 0; i < w->count; i++)
        ret_samples[w->index[i]] = w->samples[i];
    pthread_mutex_unlock(&w->lock);
}

void gpu_sources_read(gpu_sources *s, bool slow, int runner_pid, gpu_sample ret_samples[O3_GPUS_MAX])
{
    int64_t now_ns = o3_now_ns();
    bool wait[O3_GPUS_MAX] = {false};
    for (int i = 0; s && i < s->count; i++)
        wait[i] = worker_ask(s->workers[i], slow, runner_pid, now_ns);
    for (int i = 0; s && i < s->count; i++)
        worker_answer(s->workers[i], wait[i], now_ns + WAIT_NS, ret_samples);
}

double gpu_sources_cost_s(gpu_sources *s)
{
    double sum = 0;
    for (int i = 0; s && i < s->count; i++) {
        pthread_mutex_lock(&s->workers[i]->lock);
        sum += s->workers[i]->cost_s;
        pthread_mutex_unlock(&s->workers[i]->lock);
    }
    return sum;
}
