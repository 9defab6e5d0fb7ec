/* SPDX-License-Identifier: Apache-2.0 */
/* One table of members for each document: to_json and from_json both walk it, so neither can know a member that the
 * other does not. */
#ifndef O3_REPORT_FIELDS_H
#define O3_REPORT_FIELDS_H

#include "o3/report.h"

typedef enum field_type {
    FIELD_TEXT,    /* char[]; "" is null */
    FIELD_BOOL,
    FIELD_COUNT,   /* int32_t that is never missing */
    FIELD_I32,     /* negative is null */
    FIELD_I64,     /* negative is null */
    FIELD_REAL,    /* NaN is null */
    FIELD_KNOB,    /* int32_t; O3_UNSET is null */
    FIELD_SWITCH,  /* int32_t 0 or 1; O3_UNSET is null; a boolean in JSON */
    FIELD_SEED,    /* uint64_t as decimal text: JSON readers lose bits above 2^53 */
    FIELD_STEP,    /* o3_step_reason by name */
    FIELD_RACE,    /* o3_race_verdict by name */
    FIELD_OUTCOME, /* o3_outcome by name; written only */
    FIELD_KIND,    /* o3_sample_kind by name; written only */
    FIELD_PART,    /* an object described by `part`, at `offset` (0 groups members of the same struct) */
    FIELD_ARRAY,   /* objects described by `part` */
    FIELD_PEAKS,   /* o3_peaks: pool names are its members */
    FIELD_NOTES,   /* o3_notes as an array of texts */
    FIELD_PRESETS, /* of o3_result: preset names are its members */
    FIELD_VENDOR,  /* o3_gpu_vendor by name */
    FIELD_SCHEMA,
    FIELD_PROFILE, /* a place that the caller fills */
} field_type;

typedef struct field {
    const char *name;
    field_type type;
    bool required;
    size_t offset, size; /* size of the text or of an array's element */
    size_t count;        /* offset of an array's int counter */
    size_t most;         /* elements an array has room for */
    const struct field *part;
} field;

/* Tables end with name NULL. */
extern const field fields_result[], fields_preset[], fields_trial[], fields_profile[], fields_gpu[];
extern const char *const fields_vendors[]; /* by o3_gpu_vendor; ends with NULL */

json_t *fields_write(const field *table, const void *base);
/* Always a string: bytes that are no UTF-8 (a text cut within a character) are replaced. */
json_t *fields_text(const char *text);

#endif
