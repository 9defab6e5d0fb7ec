/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "o3/export.h"
#include "o3/report.h"

static o3_status find_exporter(const char *name, const o3_exporter **ret_exporter, o3_err *err)
{
    const char *names[16];
    char list[160] = "";
    int count = 0;
    *ret_exporter = o3_exporter_find(name);
    if (*ret_exporter)
        return O3_OK;
    for (const o3_exporter *e = o3_exporters; e->name && count < O3_COUNT(names); e++) {
        size_t len = strlen(list);
        o3_format(list + len, sizeof(list) - len, "%s%s", count ? ", " : "", e->name);
        names[count++] = e->name;
    }
    const char *near = o3_nearest(name, names, count);
    if (near)
        return o3_fail(err, O3_E_USAGE, "%s is no format (did you mean %s?)", name, near);
    return o3_fail(err, O3_E_USAGE, "%s is no format; there is %s", name, list);
}

/* Written beside and renamed, so that a full disk leaves the old file whole. Without --force the name must be new. */
static o3_status write_file(const char *path, const char *text, bool force, o3_err *err)
{
    char beside[4096];
    if (strlen(path) > sizeof(beside) - 16)
        return o3_fail(err, O3_E_LIMIT, "the file name has %zu bytes, at most %zu go", strlen(path),
                       sizeof(beside) - 16);
    O3_FORMAT(beside, "%s.XXXXXX", path);
    if (!force && !access(path, F_OK))
        return o3_fail(err, O3_E_USAGE, "%s is there already; --force overwrites it", path);
    int fd = mkstemp(beside);
    if (fd < 0)
        return o3_fail(err, O3_E_IO, "%s cannot be written: %s", path, strerror(errno));
    mode_t mask = umask(0);
    umask(mask);
    size_t len = strlen(text);
    bool good = write(fd, text, len) == (ssize_t)len && !fchmod(fd, 0666 & ~mask);
    int saved = errno;
    good = !close(fd) && good;
    /* link() refuses an existing name, also one made since the test above. */
    if (good)
        good = force ? !rename(beside, path) : !link(beside, path);
    saved = good ? saved : errno ? errno : saved;
    if (!good || !force)
        unlink(beside);
    if (!good)
        return o3_fail(err, O3_E_IO, "%s cannot be written: %s", path, strerror(saved));
    return O3_OK;
}

static o3_status choose(const cli_call *call, const o3_result *result, const o3_exporter *exporter,
                        const o3_preset **ret_preset, o3_err *err)
{
    if (call->options.preset)
        return cli_preset(result, call->options.preset, ret_preset, err);
    if (!result->preset_count)
        return o3_fail(err, O3_E_NOT_FOUND, "%s has no presets yet; o3 optimize %s goes on from there", result->model,
                       result->model);
    *ret_preset = exporter->one_preset ? &result->presets[0] : NULL;
    if (exporter->one_preset && result->preset_count > 1)
        fprintf(stderr, "o3: a %s holds one preset; this is %s (--preset names another)\n", exporter->name,
                result->presets[0].name);
    return O3_OK;
}

o3_status cmd_export(const cli_call *call, o3_err *err)
{
    o3_auto(cli_session) cli_session *session = cli_session_new(call);
    o3_auto(free) o3_result *result = o3_alloc(1, sizeof(*result));
    const o3_exporter *exporter = NULL;
    const o3_preset *preset = NULL;
    o3_status status = find_exporter(call->words[1], &exporter, err);
    if (!status)
        status = cli_open_store(session, err);
    if (!status)
        status = cli_result(session, call->words[0], result, NULL, err);
    if (!status)
        status = choose(call, result, exporter, &preset, err);
    if (status)
        return status;
    for (int i = 0; i < result->preset_count; i++)
        if ((!preset || preset == &result->presets[i]) && !result->presets[i].measured)
            fprintf(stderr, "o3: %s is predicted, nothing of it was measured\n", result->presets[i].name);
    o3_auto(free) char *text = exporter->write(result, preset);
    const char *path = call->options.output;
    if (path && strcmp(path, "-")) {
        status = write_file(path, text, call->options.force, err);
        if (status)
            return status;
        fprintf(stderr, "%s written\n", path);
    }
    if (call->options.json)
        cli_print_json(json_pack("{s:i, s:s, s:s, s:s?, s:s?, s:s}", "schema", O3_SCHEMA, "model", result->model,
                                 "format", exporter->name, "preset", preset ? preset->name : NULL, "output", path,
                                 "text", text));
    else if (!path || !strcmp(path, "-"))
        fputs(text, stdout);
    return O3_OK;
}
