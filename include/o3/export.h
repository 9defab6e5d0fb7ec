/* SPDX-License-Identifier: Apache-2.0 */
/* export: a preset as something a server reads. One table of formats; every exporter takes the result and writes text.
 * Only knobs that Ollama really reads are written, each with where it came from. Pure. */
#ifndef O3_EXPORT_H
#define O3_EXPORT_H

#include "result.h"

typedef struct o3_exporter {
    const char *name; /* "modelfile" */
    const char *help;
    bool one_preset;  /* needs one preset; else all are written */
    /* malloc'ed text; the caller frees */
    char *(*write)(const o3_result *result, const o3_preset *preset);
} o3_exporter;
/* Ends with name NULL. */
extern const o3_exporter o3_exporters[];
const o3_exporter *o3_exporter_find(const char *name);
/* "smollm2:135m", "max_context" -> "smollm2:135m-o3-max-context". */
void o3_preset_model_name(const char *model, const char *preset, char ret_name[O3_NAME_MAX]);

#endif
