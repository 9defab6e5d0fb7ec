/* SPDX-License-Identifier: Apache-2.0 */
/* All models in one table, and how good earlier predictions were. */
#include "cli.h"
#include "o3/report.h"

#define FORECASTS_MAX 16384 /* the newest; about 12 MB */

/* A model that cannot be predicted is a line that says why; a server that went away ends it all. */
static o3_status predict_line(cli_prediction *p, const o3_engine_model *entry, o3_model *model, o3_outlook_line *line,
                              o3_err *err)
{
    o3_setting setting;
    o3_calibration calibration;
    o3_notes *notes = &model->notes;
    o3_status status = o3_model_of(&p->world, entry->name, entry, model, err);
    if (!status)
        status = cli_predict_setting(p, model, &setting, &calibration, notes, err);
    if (!status) {
        o3_outlook_line_make(line, &p->survey->profile, model, p->version, &setting, &calibration);
        return O3_OK;
    }
    if (status != O3_E_IMPOSSIBLE && status != O3_E_ENGINE && status != O3_E_NOT_FOUND)
        return status;
    *line = (o3_outlook_line){.size_bytes = entry->size_bytes, .parameters = -1, .trained_tokens = -1,
                              .ceiling_tokens = -1, .ceiling_at_rest_tokens = -1};
    O3_COPY(line->name, entry->name);
    O3_COPY(line->digest, entry->digest);
    O3_COPY(line->why_not, err->message);
    err->message[0] = '\0';
    return O3_OK;
}

o3_status cli_predict_all(cli_prediction *p, o3_err *err)
{
    const o3_engine_models *models = &p->survey->models;
    o3_auto(free) o3_outlook_line *lines = o3_alloc((size_t)models->count + 1, sizeof(*lines));
    o3_auto(free) o3_model *model = o3_alloc(1, sizeof(*model));
    for (int i = 0; i < models->count; i++) {
        o3_status status = predict_line(p, &models->items[i], model, &lines[i], err);
        if (status)
            return status;
    }
    o3_outlook_rank(lines, models->count);
    if (models->left_out)
        fprintf(stderr, "o3: %d more models are left out; o3 predict MODEL answers for each\n", models->left_out);
    if (p->session->call->options.json) {
        cli_print_json(o3_outlook_table_to_json(lines, models->count));
    } else if (models->count) {
        o3_auto(free) char *text = o3_outlook_table(lines, models->count, cli_colour());
        fputs(text, stdout);
    } else {
        fprintf(stderr, "no models on this server yet; ollama pull brings one\n");
    }
    return O3_OK;
}

typedef struct collected {
    o3_forecast *forecasts;
    int seen;
} collected;

static bool collect(void *ctx, const o3_forecast *forecast)
{
    collected *c = ctx;
    c->forecasts[c->seen++ % FORECASTS_MAX] = *forecast;
    return true;
}

static o3_status read_forecasts(cli_session *session, const char *model, collected *c, o3_err *err)
{
    char latest[O3_NAME_MAX + 8];
    o3_status status = o3_store_forecasts(session->store, model, collect, c, err);
    if (status || c->seen || !model || !cli_latest(model, latest, sizeof(latest)))
        return status;
    return o3_store_forecasts(session->store, latest, collect, c, err);
}

o3_status cli_predict_accuracy(cli_session *session, o3_err *err)
{
    const char *model = session->call->count ? session->call->words[0] : NULL;
    o3_auto(free) o3_accuracy *accuracy = o3_alloc(1, sizeof(*accuracy));
    collected c = {0};
    o3_status status = cli_open_store(session, err);
    if (status)
        return status;
    o3_auto(free) o3_forecast *forecasts = c.forecasts = o3_alloc(FORECASTS_MAX, sizeof(*forecasts));
    status = read_forecasts(session, model, &c, err);
    if (status)
        return status;
    o3_accuracy_of(accuracy, forecasts, c.seen < FORECASTS_MAX ? c.seen : FORECASTS_MAX);
    if (!accuracy->count && model)
        return o3_fail(err, O3_E_NOT_FOUND, "no prediction of %s was measured yet; o3 optimize %s does", model, model);
    if (session->call->options.json) {
        cli_print_json(o3_accuracy_to_json(accuracy));
    } else if (accuracy->count) {
        o3_auto(free) char *text = o3_accuracy_table(accuracy, cli_colour());
        fputs(text, stdout);
    } else {
        fprintf(stderr, "no prediction was measured yet; o3 optimize MODEL measures the first\n");
    }
    return O3_OK;
}
