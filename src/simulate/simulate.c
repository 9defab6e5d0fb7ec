/* SPDX-License-Identifier: Apache-2.0 */
/* Many pairs, each through the whole of o3_optimize in its own time, by threads that share nothing but the list of what
 * is to be done. The answer of a pair depends on seed and number alone, so neither threads nor order change it. */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "search/search.h"
#include "simulate_impl.h"

#define JOBS_MAX 64
#define DRAWS_MAX 200   /* of machine and model until one fits */
#define TIMED_FRAC 0.5  /* a fill that takes more of the budget than this leaves no time for a second */

typedef struct sim_batch { /* one strategy over all pairs */
    const o3_simulate_request *request;
    o3_config config;
    const char *strategy;
    sim_run *runs;
    atomic_int_least64_t next, done;
    pthread_mutex_t lock;  /* of on_progress */
} sim_batch;

typedef struct sim_worker { /* large things, once a thread */
    sim_batch *batch;
    pthread_t thread;
    o3_cancel *cancel;
    o3_profile profile, tuned_profile;
    o3_model model;
    sim_truth truth;
    sim_world world;
    o3_result result;
} sim_worker;

static int size_class_of(const o3_config *config, const o3_model *model)
{
    double p = (double)model->parameters;
    return p >= config->size_large.min_params ? O3_SIZE_LARGE
           : p >= config->size_medium.min_params ? O3_SIZE_MEDIUM : O3_SIZE_SMALL;
}

static void optimize(sim_worker *k, uint64_t seed)
{
    o3_err err;
    o3_request request = {.budget_s = NAN, .seed = 1};
    O3_COPY(request.model, k->model.name);
    o3_cancel_clear(k->cancel, O3_CANCEL_SAFETY);
    sim_world_start(&k->world, &k->truth, seed, k->cancel);
    o3_world world = {.engine = &k->world.engine, .config = &k->batch->config, .root = "/", .profile = &k->profile,
                      .model = &k->model, .monitor = &k->world.sensors.base, .cancel = k->cancel};
    o3_clock_use(&k->world.clock);
    if (o3_optimize(&world, &request, &k->result, &k->tuned_profile, &err))
        k->result.complete = false; /* nothing proven is an answer, too: the ceiling says so */
    o3_clock_use(NULL);
}

static void judge(const sim_worker *k, const o3_knobs *knobs, int64_t ceiling, sim_run *run)
{
    static const double budgets_s[] = {600, 900, 1200};
    const o3_ceiling *c = &k->result.ceiling;
    o3_knobs at = *knobs;
    at.num_ctx = (int32_t)c->proven_tokens;
    run->size_class = size_class_of(&k->batch->config, &k->model);
    o3_knobs unset = O3_KNOBS_DEFAULT; /* as slow as the server was started */
    double fill_s = sim_prefill_s(&k->truth, 0, (double)ceiling) / sim_knobs_speed(&k->truth, &unset, (double)ceiling);
    run->timed = fill_s > TIMED_FRAC * budgets_s[run->size_class];
    run->loads = c->loads;
    run->fills = c->fills;
    run->iterations = c->iterations;
    run->exact = c->proven_tokens >= ceiling - O3_CTX_GRID;
    run->unproven = c->proven_tokens <= 0;
    run->room_frac = (double)c->proven_tokens / (double)ceiling;
    run->above_safe = c->proven_tokens > 0 && !sim_truth_safe(&k->truth, &at);
    run->limit_broken = k->world.limit_broken;
    run->killed = k->world.was_killed;
    run->minutes = (double)k->world.now_ns / 6e10;
    run->over_budget = run->minutes * 60 > budgets_s[run->size_class];
    run->over_bound = k->result.cost.wall_s / k->result.cost.lower_bound_s;
    run->done = true;
}

static bool wanted(const o3_simulate_request *request, const sim_machine *machine)
{
    return !strncmp(machine->name, request->machines, strlen(request->machines));
}

static const sim_machine *draw_machine(const o3_simulate_request *request, o3_rng *rng)
{
    const sim_machine *machine;
    do
        machine = &sim_machines[o3_rng_below(rng, (uint32_t)sim_machine_count)];
    while (!wanted(request, machine)); /* check() has seen one that is */
    return machine;
}

/* Draws until a window fits; the first pair where none does is run as well: it must end with a word, not with harm. */
static void run_pair(sim_worker *k, int64_t index)
{
    const o3_simulate_request *request = k->batch->request;
    sim_run *run = &k->batch->runs[index];
    o3_knobs pinned = O3_KNOBS_DEFAULT;
    o3_rng rng;
    o3_rng_seed(&rng, request->seed, (uint64_t)index);
    pinned.num_batch = 512;
    for (int draw = 0; draw < DRAWS_MAX; draw++) {
        const sim_machine *machine = draw_machine(request, &rng);
        sim_machine_profile(machine, &k->batch->config, &rng, &k->profile);
        sim_model_make((int)o3_rng_below(&rng, (uint32_t)sim_model_count), &k->model);
        sim_truth_make(&k->truth, machine, &k->profile, &k->model, request, &rng);
        uint64_t seed = o3_rng_u64(&rng);
        int64_t ceiling = k->truth.ceiling_tokens;
        if (ceiling > 0) {
            sim_knobs_tell(&k->truth, &k->profile);
            optimize(k, seed);
            if (k->result.ceiling.num_batch != O3_UNSET)
                pinned.num_batch = k->result.ceiling.num_batch;
            if (pinned.num_batch != 512)
                ceiling = sim_truth_ceiling(&k->truth, &pinned);
            judge(k, &pinned, ceiling, run);
            sim_knobs_judge(&k->truth, &k->result.race, run);
            return;
        }
        if (!run->misfit) {
            optimize(k, seed);
            run->misfit = true;
            pinned.num_ctx = (int32_t)k->result.ceiling.proven_tokens;
            pinned.num_batch = k->result.ceiling.num_batch;
            run->misfit_broken = k->world.limit_broken || (pinned.num_ctx > 0 && !sim_truth_safe(&k->truth, &pinned));
        }
    }
}

static void progress(sim_batch *batch)
{
    const o3_simulate_request *request = batch->request;
    int64_t done = atomic_fetch_add(&batch->done, 1) + 1, step = request->pairs / 100 + 1;
    if (!request->on_progress || (done % step && done < request->pairs))
        return;
    pthread_mutex_lock(&batch->lock);
    request->on_progress(request->ctx, batch->strategy, done, request->pairs);
    pthread_mutex_unlock(&batch->lock);
}

static void *work(void *ctx)
{
    sim_worker *k = ctx;
    sim_batch *batch = k->batch;
    for (;;) {
        int64_t index = atomic_fetch_add(&batch->next, 1);
        if (index >= batch->request->pairs || o3_cancel_get(batch->request->cancel) != O3_CANCEL_NONE)
            return NULL;
        run_pair(k, index);
        progress(batch);
    }
}

static int jobs_of(const o3_simulate_request *request)
{
    long jobs = request->jobs > 0 ? request->jobs : sysconf(_SC_NPROCESSORS_ONLN);
    jobs = jobs < 1 ? 1 : jobs > JOBS_MAX ? JOBS_MAX : jobs;
    return (int)(jobs < request->pairs ? jobs : request->pairs);
}

/* The first worker is this thread: where no other can be had, it does all. */
static void run_batch(sim_batch *batch, int jobs)
{
    /* Documents of some 100 KB come and go with each pair: taken from the heap and kept, their pages are not given back
     * to the kernel and faulted in again each time. */
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    mallopt(M_TOP_PAD, 16 << 20);
    sim_worker *workers = o3_alloc((size_t)jobs, sizeof(*workers));
    int started = 1;
    for (int i = 0; i < jobs; i++) {
        workers[i].batch = batch;
        workers[i].cancel = o3_cancel_new();
    }
    while (started < jobs && !pthread_create(&workers[started].thread, NULL, work, &workers[started]))
        started++;
    work(&workers[0]);
    for (int i = 1; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    for (int i = 0; i < jobs; i++)
        o3_cancel_free(workers[i].cancel);
    free(workers);
}

static void run_strategy(const o3_simulate_request *request, const char *strategy, o3_simulated *ret_row)
{
    sim_batch *batch = o3_alloc(1, sizeof(*batch));
    *batch = (sim_batch){.request = request, .strategy = strategy};
    batch->runs = o3_alloc((size_t)request->pairs, sizeof(*batch->runs));
    pthread_mutex_init(&batch->lock, NULL);
    o3_config_defaults(&batch->config);
    O3_COPY(batch->config.search_strategy.context_discovery, strategy);
    int64_t start = o3_now_ns();
    run_batch(batch, jobs_of(request));
    double seconds = (double)(o3_now_ns() - start) / 1e9;
    *ret_row = (o3_simulated){.strategy = ""};
    O3_COPY(ret_row->strategy, strategy);
    sim_summarise(ret_row, batch->runs, request->pairs);
    ret_row->pairs_per_s = (double)ret_row->pairs / seconds;
    pthread_mutex_destroy(&batch->lock);
    free(batch->runs);
    free(batch);
}

static o3_status check(const o3_simulate_request *r, o3_err *err)
{
    if (r->pairs < 1 || r->pairs > 10000000)
        return o3_fail(err, O3_E_USAGE, "%lld pairs cannot be simulated; give 1 to 10000000", (long long)r->pairs);
    if (!(r->lying >= 0 && r->lying < 1))
        return o3_fail(err, O3_E_USAGE, "predictions cannot be wrong by a share of %g; give 0 to 0.99", r->lying);
    if (!(r->noise >= 0 && r->noise <= 1))
        return o3_fail(err, O3_E_USAGE, "samples cannot spread by a share of %g; give 0 to 1", r->noise);
    int machines = 0;
    for (int i = 0; i < sim_machine_count; i++)
        machines += wanted(r, &sim_machines[i]);
    if (machines == 0)
        return o3_fail(err, O3_E_USAGE, "no simulated machine is called %s; there are cpu-*, cgroup-*, gpu-* and apu-*",
                       r->machines);
    if (r->strategy[0] && !search_strategy_find(r->strategy))
        return o3_fail(err, O3_E_USAGE, "%s is no search strategy; the default is %s", r->strategy,
                       search_strategy_names[0]);
    return O3_OK;
}

o3_status o3_simulate(const o3_simulate_request *request, o3_simulation *ret_simulation, o3_err *err)
{
    o3_simulation *s = ret_simulation;
    o3_status status = check(request, err);
    if (status)
        return status;
    *s = (o3_simulation){.request = *request, .complete = true};
    for (int i = 0; search_strategy_names[i] && s->count < O3_SIMULATED_MAX; i++) {
        if (request->strategy[0] && strcmp(request->strategy, search_strategy_names[i]))
            continue;
        run_strategy(request, search_strategy_names[i], &s->rows[s->count]);
        s->complete = s->complete && s->rows[s->count].pairs == request->pairs;
        s->count++;
        if (o3_cancel_get(request->cancel) != O3_CANCEL_NONE)
            break;
    }
    if (!s->complete)
        o3_note(&s->notes, "stopped early: rows hold the pairs that were finished");
    return O3_OK;
}
