/* SPDX-License-Identifier: Apache-2.0 */
/* What would be, without loading anything. The model comes from the server, from a saved answer or from a file; the
 * machine is the server's, this one or a described one. */
#include <errno.h>
#include <libgen.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "o3/report.h"

#define FILE_MAX_BYTES (64 << 20) /* a verbose answer has tens of MB */

/* A file that was named: there, no directory, readable. */
static o3_status check_file(const char *flag, const char *path, o3_err *err)
{
    struct stat st;
    if (stat(path, &st) && (errno == ENOENT || errno == ENOTDIR))
        return o3_fail(err, O3_E_NOT_FOUND, "--%s %.300s is not there", flag, path);
    if (!access(path, R_OK) && !stat(path, &st))
        return S_ISDIR(st.st_mode) ? o3_fail(err, O3_E_USAGE, "--%s %.300s is a directory; name a file", flag, path) : O3_OK;
    return o3_fail(err, O3_E_IO, "--%s %.300s cannot be read: %s", flag, path, strerror(errno));
}

static o3_status read_json(const char *flag, const char *path, json_t **ret_json, o3_err *err)
{
    struct stat st;
    json_error_t where;
    o3_status status = check_file(flag, path, err);
    if (status)
        return status;
    o3_auto(file) FILE *file = fopen(path, "re");
    if (!file || fstat(fileno(file), &st))
        return o3_fail(err, O3_E_IO, "--%s %.300s cannot be read: %s", flag, path, strerror(errno));
    if (st.st_size > FILE_MAX_BYTES)
        return o3_fail(err, O3_E_LIMIT, "--%s %.300s has %lld bytes; %d are the most", flag, path, (long long)st.st_size,
                       FILE_MAX_BYTES);
    *ret_json = json_loadf(file, JSON_REJECT_DUPLICATES, &where);
    return *ret_json ? O3_OK : o3_fail(err, O3_E_CONFIG, "--%s %.300s:%d is no JSON: %s", flag, path, where.line, where.text);
}

static o3_status read_machine(cli_prediction *p, const char *path, o3_err *err)
{
    json_t *json = NULL;
    o3_status status = read_json("machine", path, &json, err);
    if (status)
        return status;
    status = o3_profile_from_json(&p->survey->profile, json, &p->session->config, err);
    const char *version = json_string_value(json_object_get(json_object_get(json, "engine"), "version"));
    if (version)
        O3_COPY(p->version, version);
    json_decref(json);
    p->machine = path;
    p->described = true;
    return status ? o3_fail_in(err, status, "--machine %.300s", path) : O3_OK;
}

/* Without a server the machine is this one, with the limits of this process. */
static o3_status look_here(cli_prediction *p, o3_err *err)
{
    o3_survey *s = p->survey;
    o3_status status = o3_look(&p->world, &s->profile, &s->caps, err);
    if (status != O3_E_UNAVAILABLE && status != O3_E_PROTOCOL)
        return status;
    s->caps.version[0] = '\0';
    err->message[0] = '\0';
    o3_note(&p->notes, "no Ollama answers at %s: this is for a current release with its defaults", cli_host(p->session->call));
    return o3_look_alone(&p->world, &s->profile, err);
}

/* The machine, the release, and where the model is the server's: its list. */
static o3_status look(cli_prediction *p, o3_err *err)
{
    const cli_options *options = &p->session->call->options;
    bool from_file = options->show || options->gguf;
    o3_status status = O3_OK;
    if (options->machine)
        status = read_machine(p, options->machine, err);
    if (!status && !(options->machine && from_file)) {
        status = cli_open_engine(p->session, err);
        p->world = cli_world(p->session);
    }
    if (status)
        return status;
    if (!options->machine)
        status = from_file ? look_here(p, err) : o3_survey_read(&p->world, p->survey, err);
    else if (!from_file && !(status = o3_engine_caps_read(p->world.engine, &p->survey->caps, err)))
        status = o3_engine_list(p->world.engine, &p->survey->models, err);
    if (!*p->version)
        O3_COPY(p->version, p->survey->caps.version);
    if (options->ollama)
        O3_COPY(p->version, options->ollama);
    return status;
}

static o3_status bad_kv_type(const char *name, o3_err *err)
{
    const char *names[16] = {NULL};
    char list[160] = "";
    int count = 0;
    for (const o3_kv_type *type = o3_kv_types; type->name && count < O3_COUNT(names); type++) {
        size_t len = strlen(list);
        o3_format(list + len, sizeof(list) - len, "%s%s", count ? ", " : "", type->name);
        names[count++] = type->name;
    }
    const char *near = o3_nearest(name, names, count);
    for (int i = 0; i < count && !near; i++) /* "q8" */
        near = strncasecmp(names[i], name, strlen(name)) ? NULL : names[i];
    if (near)
        return o3_fail(err, O3_E_USAGE, "--kv-type %s is no type of the KV cache (did you mean %s?)", name, near);
    return o3_fail(err, O3_E_USAGE, "--kv-type %s is no type of the KV cache; there is %s", name, list);
}

static o3_status take_server_flags(const cli_options *options, o3_setting *s, o3_err *err)
{
    const char *flash = options->flash_attention;
    if (flash && strcmp(flash, "on") && strcmp(flash, "off"))
        return o3_fail(err, O3_E_USAGE, "--flash-attention %s is neither on nor off", flash);
    if (flash) {
        s->flash_attention = !strcmp(flash, "on");
        s->flash_auto = false;
    }
    if (options->parallel)
        s->parallel = (int)options->parallel;
    if (!options->kv_type && !flash)
        return O3_OK;
    if (options->kv_type && !(s->kv_type = o3_kv_type_find(options->kv_type)))
        return bad_kv_type(options->kv_type, err);
    if (s->kv_type->quantized && !s->flash_attention)
        return o3_fail(err, O3_E_USAGE, "a KV cache of %s needs flash attention, which is off: the load would fail; add "
                       "--flash-attention on, or take --kv-type f16", s->kv_type->name);
    return O3_OK;
}

o3_status cli_predict_setting(cli_prediction *p, const o3_model *model, o3_setting *ret_setting,
                              o3_calibration *ret_calibration, o3_notes *notes, o3_err *err)
{
    const cli_options *options = &p->session->call->options;
    o3_setting *s = ret_setting;
    o3_setting_of(s, p->version, p->survey->profile.engine_env, notes);
    o3_status status = take_server_flags(options, s, err);
    if (status)
        return status;
    o3_setting_for(s, model, notes);
    if (options->num_ctx)
        s->knobs.num_ctx = (int32_t)options->num_ctx;
    if (options->num_batch)
        s->knobs.num_batch = (int32_t)options->num_batch;
    if (options->num_thread)
        s->knobs.num_thread = (int32_t)options->num_thread;
    if (options->num_gpu >= 0)
        s->knobs.num_gpu = (int32_t)options->num_gpu;
    *ret_calibration = O3_CALIBRATION_NONE;
    return p->described ? O3_OK : o3_calibration_of(&p->world, &p->survey->profile, model, p->version, ret_calibration, err);
}

/* What cannot be an answer of /api/show is told apart from one with parts missing. */
static o3_status show_from_file(const char *path, json_t **ret_show, o3_err *err)
{
    o3_status status = read_json("show", path, ret_show, err);
    if (status || json_is_object(json_object_get(*ret_show, "model_info")))
        return status;
    const char *words = json_string_value(json_object_get(*ret_show, "error"));
    char said[96] = "";
    if (words)
        O3_FORMAT(said, ": it says \"%.60s\"", words);
    json_decref(*ret_show);
    return o3_fail(err, O3_E_CONFIG, "--show %.200s is no answer of /api/show (no model_info)%s; save one with "
                   "curl -d '{\"model\":\"NAME\"}' http://127.0.0.1:11434/api/show", path, said);
}

static o3_status gguf_from_file(const char *path, json_t **ret_show, int64_t *ret_bytes, o3_err *err)
{
    o3_status status = check_file("gguf", path, err);
    if (!status)
        status = o3_gguf_read(path, ret_show, ret_bytes, err);
    return status == O3_E_PROTOCOL ? (err->status = O3_E_CONFIG) : status; /* no server is to blame for a file */
}

static o3_status model_from_file(const cli_options *options, o3_model *model, o3_err *err)
{
    json_t *show = NULL;
    o3_auto(free) char *path = o3_strdup(options->gguf ? options->gguf : options->show);
    o3_auto(free) o3_engine_model *entry = o3_alloc(1, sizeof(*entry));
    entry->size_bytes = -1;
    o3_status status = options->gguf ? gguf_from_file(path, &show, &entry->size_bytes, err)
                                     : show_from_file(path, &show, err);
    if (status)
        return status;
    O3_COPY(entry->name, basename(path));
    status = o3_model_parse(model, entry->name, show, entry, err);
    json_decref(show);
    return status;
}

static o3_status predict_one(cli_prediction *p, const char *name, o3_err *err)
{
    const cli_options *options = &p->session->call->options;
    o3_auto(free) o3_model *model = o3_alloc(1, sizeof(*model));
    o3_auto(free) o3_outlook *outlook = o3_alloc(1, sizeof(*outlook));
    o3_setting setting;
    o3_calibration calibration;
    o3_status status = name ? o3_model_of(&p->world, name, o3_survey_model(&p->survey->models, name), model, err)
                            : model_from_file(options, model, err);
    if (!status)
        status = cli_predict_setting(p, model, &setting, &calibration, &p->notes, err);
    if (status)
        return status;
    if (setting.knobs.num_ctx == O3_UNSET)
        setting.knobs.num_ctx = (int32_t)o3_default_window(&p->survey->profile, model, p->version);
    o3_outlook_make(outlook, &p->session->config, &p->survey->profile, model, p->version, &setting, &calibration);
    outlook->machine = p->machine;
    for (int i = 0; i < p->notes.count; i++)
        o3_note(&outlook->notes, "%s", p->notes.text[i]);
    if (options->json) {
        cli_print_json(o3_outlook_to_json(outlook));
        return O3_OK;
    }
    o3_auto(free) char *text = o3_outlook_summary(outlook, cli_colour());
    fputs(text, stdout);
    return O3_OK;
}

static o3_status check_flags(const cli_call *call, o3_err *err)
{
    const cli_options *o = &call->options;
    int major, minor;
    if (o->show && o->gguf)
        return o3_fail(err, O3_E_USAGE, "--show and --gguf both name the model; give one of them");
    if (call->count && (o->show || o->gguf))
        return o3_fail(err, O3_E_USAGE, "%s and --%s both name the model; give one of them", call->words[0],
                       o->show ? "show" : "gguf");
    if (o->ollama && (sscanf(o->ollama + (*o->ollama == 'v'), "%d.%d", &major, &minor) != 2 || strlen(o->ollama) > 31))
        return o3_fail(err, O3_E_USAGE, "--ollama %.40s is no release such as 0.32.15", o->ollama);
    return O3_OK;
}

o3_status cmd_predict(const cli_call *call, o3_err *err)
{
    o3_auto(cli_session) cli_session *session = cli_session_new(call);
    o3_auto(free) o3_survey *survey = o3_alloc(1, sizeof(*survey));
    cli_prediction p = {.session = session, .survey = survey, .machine = "this machine"};
    o3_status status = check_flags(call, err);
    if (!status)
        status = cli_open_config(session, err);
    if (status)
        return status;
    if (call->options.accuracy)
        return cli_predict_accuracy(session, err);
    if (session->config.learning.store_results && cli_open_store(session, err)) {
        /* It only remembers what can be asked again. */
        fprintf(stderr, "o3: %s; nothing is remembered\n", err->message);
        err->message[0] = '\0';
    }
    p.world = cli_world(session);
    status = look(&p, err);
    if (status)
        return status;
    if (call->count || call->options.show || call->options.gguf)
        return predict_one(&p, call->count ? call->words[0] : NULL, err);
    return cli_predict_all(&p, err);
}
