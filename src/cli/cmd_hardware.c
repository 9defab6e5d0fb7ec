/* SPDX-License-Identifier: Apache-2.0 */
/* o3 hardware, and o3 hardware capture: the machine here, or one that somebody captured. */
#include "cli.h"
#include "o3/report.h"

#define CAPTURE_FILE "o3-hardware.tar.gz"
#define DOCUMENT_MAX (1 << 20)

typedef struct machine {
    cli_session *session;
    o3_profile *profile;
    char version[32], url[256]; /* of the server; "" where none answers */
} machine;

static o3_status look_here(machine *m, o3_err *err)
{
    o3_engine_caps caps = {.version = ""};
    o3_world world = cli_world(m->session); /* without a store nothing measured earlier is known, the rest is */
    o3_status status = o3_look(&world, m->profile, &caps, err);
    if (status == O3_E_UNAVAILABLE || status == O3_E_PROTOCOL) {
        /* Without a server the machine is still worth a look; the limits are then those of this process. */
        status = o3_look_alone(&world, m->profile, err);
        o3_note(&m->profile->notes, "no Ollama answers at %s: limits and usable cores are those of this process",
                cli_host(m->session->call));
    } else if (!status) {
        O3_COPY(m->version, caps.version);
        O3_COPY(m->url, o3_engine_url(m->session->engine));
    }
    if (!status && m->session->call->options.measure)
        status = o3_look_measure(&world, m->profile, err);
    return status;
}

/* What the capture's document knows and its files do not: measured rates, GPUs that only a driver's library sees. */
static void take_told(o3_profile *profile, const o3_profile *told)
{
    profile->bandwidth = told->bandwidth;
    if (profile->gpu_count || !told->gpu_count)
        return;
    for (int i = 0; i < told->gpu_count; i++) {
        o3_gpu gpu = told->gpus[i];
        if (gpu.pool > 0 && profile->pool_count < O3_POOLS_MAX) {
            profile->pools[profile->pool_count] = told->pools[gpu.pool];
            gpu.pool = profile->pool_count++;
        }
        profile->gpus[profile->gpu_count++] = gpu;
    }
    profile->gpus_seen = profile->gpu_count;
    o3_note(&profile->notes, "the GPUs are those that the capture's profile tells; its files do not");
}

/* A directory that is no capture has no document. */
static bool read_document(machine *m, const char *root, o3_profile *ret_told, o3_notes *notes)
{
    o3_auto(free) char *text = o3_alloc(1, DOCUMENT_MAX);
    o3_err err = {O3_OK, ""};
    if (o3_read_text(root, "/" O3_CAPTURE_DOCUMENT, text, DOCUMENT_MAX) <= 0)
        return false;
    json_t *json = json_loads(text, 0, NULL);
    bool good = json && !o3_profile_from_json(ret_told, json, &m->session->config, &err);
    if (!good)
        o3_note(notes, "the capture's own profile is left out: %s", *err.message ? err.message : "it is no JSON");
    const char *version = json_string_value(json_object_get(json_object_get(json, "engine"), "version"));
    O3_COPY(m->version, version ? version : "");
    json_decref(json);
    return good;
}

static o3_status look_back(machine *m, const char *root, o3_err *err)
{
    o3_auto(free) o3_profile *told = o3_alloc(1, sizeof(*told));
    o3_notes notes = {.count = 0};
    bool known = read_document(m, root, told, &notes);
    int pid = known ? told->engine_pid : o3_process_listening(root, o3_engine_port(m->session->engine));
    o3_status status = o3_profile_read(m->profile, root, &m->session->config, pid, known ? told->engine_local : true, err);
    if (!status && known)
        take_told(m->profile, told);
    for (int i = 0; i < notes.count && !status; i++)
        o3_note(&m->profile->notes, "%s", notes.text[i]);
    return status;
}

static json_t *document(const machine *m)
{
    json_t *engine = json_null();
    if (*m->version)
        engine = json_pack("{s:s, s:s?}", "version", m->version, "host", *m->url ? m->url : NULL);
    return json_pack("{s:i, s:o, s:o}", "schema", O3_SCHEMA, "engine", engine, "profile",
                     o3_profile_to_json(m->profile));
}

static o3_status look(machine *m, o3_err *err)
{
    const cli_options *options = &m->session->call->options;
    o3_replay replay;
    o3_status status = cli_open_config(m->session, err);
    if (!status)
        status = cli_open_engine(m->session, err);
    if (status)
        return status;
    if (!options->root) {
        status = cli_open_store(m->session, options->measure ? err : NULL);
        return status && options->measure ? status : look_here(m, err);
    }
    if (options->measure)
        return o3_fail(err, O3_E_USAGE, "--measure is about this machine and --root about another; give one of them");
    status = o3_replay_open(&replay, options->root, err);
    if (status)
        return status;
    status = look_back(m, replay.root, err);
    o3_replay_close(&replay);
    return status;
}

o3_status cmd_hardware(const cli_call *call, o3_err *err)
{
    o3_auto(cli_session) cli_session *session = cli_session_new(call);
    o3_auto(free) o3_profile *profile = o3_alloc(1, sizeof(*profile));
    machine m = {.session = session, .profile = profile};
    o3_status status = look(&m, err);
    if (status)
        return status;
    if (call->options.json) {
        cli_print_json(document(&m));
        return O3_OK;
    }
    o3_auto(free) char *text = o3_profile_summary(profile, cli_colour());
    fputs(text, stdout);
    if (*m.version)
        printf("Engine    Ollama %s%s%s\n", m.version, *m.url ? " at " : " when it was captured", m.url);
    return O3_OK;
}

o3_status cmd_hardware_capture(const cli_call *call, o3_err *err)
{
    o3_auto(cli_session) cli_session *session = cli_session_new(call);
    o3_auto(free) o3_profile *profile = o3_alloc(1, sizeof(*profile));
    machine m = {.session = session, .profile = profile};
    const char *file = call->count ? call->words[0] : CAPTURE_FILE;
    o3_capture *capture = o3_capture_begin();
    int files = 0;
    o3_status status = look(&m, err);
    if (!status) {
        o3_capture_mask(capture, profile);
        m.url[0] = '\0';
        json_t *json = document(&m);
        o3_auto(free) char *text = o3_json_text(json);
        json_decref(json);
        status = o3_capture_write(capture, file, text, call->options.force, &files, err);
    }
    o3_capture_free(capture);
    if (status)
        return status;
    if (call->options.json)
        cli_print_json(json_pack("{s:i, s:s, s:i}", "schema", O3_SCHEMA, "file", file, "files", files));
    else
        printf("%s: %d files. Names, serial numbers, UUIDs and addresses are masked; look before you send it:\n"
               "tar -tzf %s, o3 hardware --root %s\n", file, files, file, file);
    return O3_OK;
}
