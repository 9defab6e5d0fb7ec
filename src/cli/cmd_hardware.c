/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"
#include "o3/report.h"

o3_status cmd_hardware(const cli_call *call, o3_err *err)
{
    o3_auto(cli_session) cli_session *session = cli_session_new(call);
    o3_auto(free) o3_profile *profile = o3_alloc(1, sizeof(*profile));
    o3_engine_caps caps = {.version = ""};
    o3_status status = cli_open_config(session, err);
    if (!status)
        status = cli_open_engine(session, err);
    if (status)
        return status;
    bool measure = call->options.measure;
    status = cli_open_store(session, measure ? err : NULL);
    if (status && measure)
        return status;
    o3_world world = cli_world(session); /* without a store nothing measured earlier is known, the rest is */
    status = o3_look(&world, profile, &caps, err);
    if (status == O3_E_UNAVAILABLE || status == O3_E_PROTOCOL) {
        /* Without a server the machine is still worth a look; the limits are then those of this process. */
        caps = (o3_engine_caps){.version = ""};
        status = o3_look_alone(&world, profile, err);
        o3_note(&profile->notes, "no Ollama answers at %s: limits and usable cores are those of this process",
                cli_host(call));
    }
    if (!status && measure)
        status = o3_look_measure(&world, profile, err);
    if (status)
        return status;
    if (call->options.json) {
        json_t *engine = *caps.version ? json_pack("{s:s, s:s}", "version", caps.version, "host",
                                                   o3_engine_url(session->engine))
                                       : json_null();
        cli_print_json(json_pack("{s:i, s:o, s:o}", "schema", O3_SCHEMA, "engine", engine, "profile",
                                 o3_profile_to_json(profile)));
        return O3_OK;
    }
    o3_auto(free) char *text = o3_profile_summary(profile, cli_colour());
    fputs(text, stdout);
    if (*caps.version)
        printf("Engine    Ollama %s at %s\n", caps.version, o3_engine_url(session->engine));
    return O3_OK;
}
