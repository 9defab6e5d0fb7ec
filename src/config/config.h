/* SPDX-License-Identifier: Apache-2.0 */
/* config, inside: how the loaders (YAML, old Python literals, environment) reach the option table. Every loader turns
 * its input into "dotted path, text, where it stood" and calls config_assign; types, ranges and messages are made
 * there, once. Nothing here knows where a file comes from but load.c. */
#ifndef O3_CONFIG_INTERNAL_H
#define O3_CONFIG_INTERNAL_H

#include "o3/config.h"

#include "../base/base.h"

#define CONFIG_FILE_NAME "o3_ai_config.yaml"
#define CONFIG_FILE_MAX (1024 * 1024)
#define CONFIG_PATH_MAX 192 /* a dotted path with the user's name in it */
#define CONFIG_NAME_MAX 64  /* one part of it */
#define CONFIG_ROWS_MAX 16  /* of any kind of row */

/* The two groups whose next part is a name of the user's: an array of rows in o3_config. */
typedef struct config_rows {
    const char *pattern;             /* "preset_categories.*" */
    size_t offset, stride, count_at; /* the array, one row, the int that counts them; the name is a row's first field */
    int max;
    size_t name_size;
} config_rows;

/* options_rows.c: the data. */
extern const o3_option config_options[];
extern const int config_option_count;
typedef struct config_shipped {
    const char *path, *text;
} config_shipped;
extern const config_shipped config_shipped_rows[]; /* what the shipped presets and use cases say, in order */
extern const int config_shipped_count;

/* options.c: finding. An option and, for a "*" path, the row; row 0 otherwise. */
typedef struct config_slot {
    const o3_option *option;
    int index, row;
} config_slot;
const config_rows *config_rows_of(const o3_option *option); /* NULL for a fixed path */
int config_row_count(const o3_config *config, const o3_option *option);
size_t config_offset(const o3_option *option, int row);
void config_slot_path(const o3_config *config, config_slot slot, char ret_path[CONFIG_PATH_MAX]);
/* The option of a path or an older place of it; ret_name is the user's part ("" if none). NULL if there is none. */
const o3_option *config_find(const char *path, char ret_name[CONFIG_NAME_MAX]);
bool config_is_group(const char *path);
/* The group one row is written in ("preset_categories.mine"), with the row's name; NULL if it is none. */
const config_rows *config_row_group(const char *path, char ret_name[CONFIG_NAME_MAX]);
/* The row of that name, added with its defaults if need be. -1: ret_why says why not. */
int config_row_add(o3_config *config, const config_rows *rows, const char *name, char *ret_why, size_t why_size);
/* "PATH is not an option (NEAREST?)" */
void config_unknown(const char *path, char *dst, size_t dst_size);

/* value.c: one text to one field and back; the only place that knows how types are written. */
bool config_parse(const o3_option *option, void *field, const char *text, char *ret_why, size_t why_size);
void config_format(const o3_option *option, const void *field, char *dst, size_t dst_size);
bool config_nullable(const o3_option *option);
void config_quote(char *dst, size_t dst_size, const char *text); /* 'text', cut, control characters as ? */
bool config_printable(const char *text); /* no control characters */
#define CONFIG_VALUE_MAX 512

/* load.c: what a loader writes into. origins and notes may be NULL. */
typedef struct config_target {
    o3_config *config;
    o3_config_origins *origins;
    o3_notes *notes;
} config_target;
/* The slot of a known path; adds a row for a new name. `where` ("FILE:12", "O3_X") leads every message. */
o3_status config_slot_at(const config_target *target, const char *path, const char *where, config_slot *ret_slot,
                         o3_err *err);
o3_status config_assign(const config_target *target, const char *path, const char *text, const char *where,
                        o3_err *err);
void config_defaults_raw(o3_config *ret_config); /* before config_resolve */
/* One text over `config`, which must hold values already. config_finish is the caller's. */
o3_status config_load_text(o3_config *config, const char *text, size_t len, const char *name,
                           o3_config_origins *origins, o3_notes *notes, o3_err *err);
o3_status config_load_legacy(o3_config *config, const char *text, size_t len, const char *name,
                             o3_config_origins *origins, o3_notes *notes, o3_err *err);
o3_status config_load_env(const config_target *target, char *const *environment, o3_err *err);
void config_env_name(const char *path, char *dst, size_t dst_size);

/* check.c: after the last loader. */
void config_resolve(const config_target *target);                  /* values that follow from others */
o3_status config_check(const config_target *target, o3_err *err);  /* rules between fields */
void config_note_unserved(const config_target *target);            /* what was set and has no effect yet */
o3_status config_finish(const config_target *target, o3_err *err); /* notes, resolve, check */
/* The slot of a path that is known to be in the table. */
config_slot config_slot_of(const o3_config *config, const char *path);

/* show.c */
void config_origin_set(o3_config_origins *origins, config_slot slot, const char *text);
const char *config_origin(const o3_config_origins *origins, config_slot slot); /* "built-in" */

#endif
