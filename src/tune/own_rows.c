/* SPDX-License-Identifier: Apache-2.0 */
/* What can be set for a whole server and may be worth it: the table, held against this machine and model before anything
 * is started. A setting is understood the way the server's own environment is, so the table has no more than that. */
#include "tune_impl.h"

typedef enum aim {
    AIM_WINDOW, /* pays only if the window grows */
    AIM_SPEED,  /* or memory outside the prediction: looked at whatever the window */
    AIM_SLOTS,  /* more requests at a time, for less window each */
} aim;
typedef enum need { NEED_NOTHING, NEED_LLAMA_SERVER, NEED_GPU, NEED_GPUS } need;

static const struct choice {
    const char *name, *env;
    aim aim;
    need need;
    int slots;   /* AIM_SLOTS: a level of the configuration */
    bool unseen; /* no part of a setting: the same prediction tells nothing */
} choices[] = {
    {.name = "kv-q8_0", .env = "OLLAMA_FLASH_ATTENTION=1 OLLAMA_KV_CACHE_TYPE=q8_0"},
    {.name = "kv-q4_0", .env = "OLLAMA_FLASH_ATTENTION=1 OLLAMA_KV_CACHE_TYPE=q4_0"},
    {.name = "kv-f16", .env = "OLLAMA_KV_CACHE_TYPE=f16", .aim = AIM_SPEED},
    {.name = "flash-on", .env = "OLLAMA_FLASH_ATTENTION=1", .aim = AIM_SPEED},
    {.name = "flash-off", .env = "OLLAMA_FLASH_ATTENTION=0", .aim = AIM_SPEED},
    {.name = "fit-512", .env = "LLAMA_ARG_FIT_TARGET=512", .need = NEED_GPU},
    {.name = "cache-off", .env = "LLAMA_ARG_CACHE_RAM=0", .aim = AIM_SPEED, .need = NEED_LLAMA_SERVER, .unseen = true},
    {.name = "spread", .env = "OLLAMA_SCHED_SPREAD=1", .aim = AIM_SPEED, .need = NEED_GPUS, .unseen = true},
    {.name = "slots-1", .env = "OLLAMA_NUM_PARALLEL=1", .aim = AIM_SLOTS, .slots = 1},
    {.name = "slots-2", .env = "OLLAMA_NUM_PARALLEL=2", .aim = AIM_SLOTS, .slots = 2},
    {.name = "slots-4", .env = "OLLAMA_NUM_PARALLEL=4", .aim = AIM_SLOTS, .slots = 4},
};

/* The server's environment with these blank-separated settings behind it: the last of a name counts. */
static void merged_env(const session *s, const char *env, char *dst, size_t size)
{
    size_t len = strlen(s->profile->engine_env);
    o3_format(dst, size, "%s%s\n", s->profile->engine_env, env);
    for (char *c = dst + len; *c; c++)
        *c = *c == ' ' ? '\n' : *c;
}

static bool same_setting(const o3_setting *a, const o3_setting *b)
{
    return a->kv_type == b->kv_type && a->flash_attention == b->flash_attention && a->parallel == b->parallel &&
           a->fit_target_bytes == b->fit_target_bytes;
}

static bool has_level(const o3_config *config, int slots)
{
    const o3_int_list *levels = &config->testing.concurrency_progression.levels;
    for (int i = 0; i < levels->count; i++)
        if (levels->values[i] == slots)
            return true;
    return false;
}

/* Why not even its prediction is of interest; "" if it is. news: what is said of it and not of the server as it is. */
static void cannot(const session *s, const struct choice *c, const o3_setting *now, const o3_setting *then,
                   const char *news, char *dst, size_t size)
{
    char line[128];
    O3_FORMAT(line, "%s\n", c->env);
    *dst = '\0';
    if (c->need == NEED_LLAMA_SERVER && !s->caps.llama_server)
        o3_copy(dst, size, "this release of Ollama does not read it");
    else if (c->need >= NEED_GPU && s->profile->gpu_count < (c->need == NEED_GPUS ? 2 : 1))
        o3_copy(dst, size, c->need == NEED_GPUS ? "there are no GPUs to spread over" : "there is no GPU");
    else if (c->slots && !has_level(s->config, c->slots))
        o3_format(dst, size, "%d is no level of testing.concurrency_progression", c->slots);
    else if (c->unseen ? strstr(s->profile->engine_env, line) != NULL : same_setting(now, then))
        o3_copy(dst, size, *news ? news : "the server works like this already");
    else if (then->kv_type->quantized && !then->flash_attention)
        o3_copy(dst, size, "the quantised KV cache that the server has needs flash attention");
    else /* what cannot be had with this model */
        o3_copy(dst, size, news);
}

static o3_setting setting_with(const session *s, const char *env, o3_notes *notes)
{
    o3_setting setting;
    char all[sizeof(s->profile->engine_env) + 256];
    merged_env(s, env, all, sizeof(all));
    o3_setting_of(&setting, s->caps.version, all, notes);
    o3_setting_for(&setting, s->model, notes);
    setting.knobs = s->setting.knobs;
    return setting;
}

static int64_t ceiling_of(const session *s, const o3_setting *setting)
{
    return o3_predict_ceiling(s->profile, s->model, setting, false, &s->calibration, NULL);
}

static void judge_row(const session *s, const struct choice *c, const o3_server_row *first, o3_server_row *row)
{
    if (row->predicted_tokens <= 0)
        O3_COPY(row->note, "left out: not even the smallest window is predicted to fit");
    else if (c->aim == AIM_WINDOW && row->predicted_tokens <= first->predicted_tokens)
        O3_FORMAT(row->note, "left out: no larger window is predicted (%lld, as the server is set now %lld)%s",
                  (long long)row->predicted_tokens, (long long)first->predicted_tokens,
                  first->predicted_tokens >= s->model->trained_tokens ? ", it is the trained one" : "");
}

/* By window gained, among those that are tried; the rest keep their order behind them. */
static void sort_rows(o3_server_row *rows, o3_setting *settings, int count)
{
    for (int i = 2; i < count; i++) {
        for (int k = i; k > 1; k--) {
            bool tried = !rows[k].note[0], before = !rows[k - 1].note[0];
            if (!tried || (before && rows[k - 1].predicted_tokens >= rows[k].predicted_tokens))
                break;
            o3_server_row row = rows[k];
            o3_setting setting = settings[k];
            rows[k] = rows[k - 1];
            settings[k] = settings[k - 1];
            rows[k - 1] = row;
            settings[k - 1] = setting;
        }
    }
}

void own_rows_make(session *s, o3_setting settings[O3_SERVERS_MAX])
{
    o3_result *r = s->result;
    o3_auto(free) o3_notes *known = o3_alloc(1, sizeof(*known));
    o3_server_row *first = &r->servers[0];
    *first = o3_server_row_none;
    O3_COPY(first->name, "as-is");
    settings[0] = setting_with(s, "", known);
    first->predicted_tokens = ceiling_of(s, &settings[0]);
    r->server_count = 1;
    for (int i = 0; i < O3_COUNT(choices) && r->server_count < O3_SERVERS_MAX; i++) {
        const struct choice *c = &choices[i];
        o3_auto(free) o3_notes *notes = o3_alloc(1, sizeof(*notes));
        char why[O3_TEXT_MAX];
        o3_server_row *row = &r->servers[r->server_count];
        o3_setting *setting = &settings[r->server_count++];
        *row = o3_server_row_none;
        O3_COPY(row->name, c->name);
        O3_COPY(row->env, c->env);
        *setting = setting_with(s, c->env, notes);
        cannot(s, c, &settings[0], setting, notes->count > known->count ? notes->text[notes->count - 1] : "", why, sizeof(why));
        if (*why) {
            O3_FORMAT(row->note, "left out: %.350s", why);
            continue;
        }
        row->predicted_tokens = ceiling_of(s, setting);
        judge_row(s, c, first, row);
    }
    sort_rows(r->servers, settings, r->server_count);
}
