/* SPDX-License-Identifier: Apache-2.0 */
/* report: documents as JSON (docs/schema/) and back, and the summary a person reads. Pure: structs in, text or JSON
 * out; missing values are null. */
#ifndef O3_REPORT_H
#define O3_REPORT_H

#include <jansson.h>

#include "hardware.h"
#include "monitor.h"
#include "predict.h"
#include "result.h"
#include "store.h"

#define O3_SCHEMA 1
/* New references: the caller json_decref()s. profile may be NULL (null in the document). */
json_t *o3_profile_to_json(const o3_profile *profile);
json_t *o3_result_to_json(const o3_result *result, const o3_profile *profile);
json_t *o3_trial_to_json(const o3_trial *trial);
/* For documents that O3 wrote itself; O3_E_PROTOCOL names the member that does not fit. */
O3_NODISCARD o3_status o3_result_from_json(o3_result *ret_result, const json_t *json, o3_err *err);
/* Indented, each number in the shortest form that reads back exactly. malloc'ed; the caller frees. */
char *o3_json_text(const json_t *json);

/* The summary of ux.md: table, what changed, watch out, next. malloc'ed; the caller frees. 80 columns wide.
 * colour: ANSI allowed (it only adds). */
char *o3_result_summary(const o3_result *result, bool colour, bool verbose);
char *o3_result_table(const o3_result *result, bool colour); /* its table alone */
/* One preset or the baseline with everything known of it: n, spread, outliers, peaks, score by part. */
char *o3_preset_detail(const o3_preset *preset, bool colour);
char *o3_profile_summary(const o3_profile *profile, bool colour);

/* A look of `o3 monitor` with what belongs to it; all borrowed. */
#define O3_FRAME_MODELS_MAX 8
typedef struct o3_frame {
    const o3_profile *profile;
    const o3_sight *sight;
    double max_temperature_c;  /* of the CPU; 0 or NaN: no limit */
    bool server;               /* one answers */
    int runner_pid;            /* -1 none or unknown */
    int model_count;
    struct {
        char name[O3_NAME_MAX];
        int64_t num_ctx, size_bytes, size_vram_bytes; /* -1 unknown */
    } models[O3_FRAME_MODELS_MAX];
    const o3_sight *past;      /* for the trends, oldest first */
    int past_count;
} o3_frame;
json_t *o3_frame_to_json(const o3_frame *frame);
char *o3_frame_csv_head(const o3_profile *profile); /* these end with a line feed; the caller frees */
char *o3_frame_csv(const o3_frame *frame);
char *o3_frame_view(const o3_frame *frame, bool colour); /* lines, no wider than 80 columns unless a name is long */
char *o3_frame_line(const o3_frame *frame);

/* Another machine: what `o3 hardware --json` prints (whole, or its "profile"), or a small one written by hand
 * (docs/machine.md): every member may be left out, bytes may be texts ("24GiB"), pools follow from the memory and the
 * GPUs, their safe sizes from `config`. Unknown is what is not there. O3_E_CONFIG names the member that is unknown (with
 * the nearest one) or does not fit. */
O3_NODISCARD o3_status o3_profile_from_json(o3_profile *ret_profile, const json_t *json, const o3_config *config,
                                            o3_err *err);

/* One context in the table of a prediction. */
typedef struct o3_outlook_row {
    int64_t num_ctx;
    o3_range total_bytes;  /* in all memories */
    double spilled_frac;   /* as in o3_estimate */
    bool fits;             /* now, with the high end of the interval, in every pool */
    o3_speed half, full;   /* at half of the window and at its end */
} o3_outlook_row;

/* What `o3 predict` says of one model. `model` and `profile` are borrowed. */
#define O3_OUTLOOK_ROWS_MAX 48
typedef struct o3_outlook {
    const o3_model *model;
    const o3_profile *profile;
    const char *machine;              /* "this machine", or the file that describes it; borrowed */
    char engine_version[32];          /* "" unknown: current rules */
    o3_estimate estimate;             /* at the setting asked for */
    o3_range size_bytes;              /* what /api/ps will say of it */
    bool fits;                        /* the setting asked for, now; true where no limit is known */
    int64_t ceiling_tokens;           /* largest safe num_ctx now; 0 none, -1 unknown (no pool is known) */
    int64_t ceiling_at_rest_tokens;   /* without the models that are loaded now */
    int limiting;                     /* index of the pool that limits the ceiling; -1 its training, or unknown */
    o3_range on_device_decode_per_s;  /* of a spilled setting, if nothing were spilled, at half of the window; else NaN */
    double optimize_s;                /* what `o3 optimize` would take about; NaN unknown */
    int row_count;
    o3_outlook_row rows[O3_OUTLOOK_ROWS_MAX];
    o3_notes notes;                   /* of the setting, the model and the machine */
} o3_outlook;
json_t *o3_outlook_to_json(const o3_outlook *outlook);
char *o3_outlook_summary(const o3_outlook *outlook, bool colour); /* as o3_result_summary */

/* One model in the table of all. */
typedef struct o3_outlook_line {
    char name[O3_NAME_MAX], digest[80];
    int64_t size_bytes, parameters;   /* of the file; -1 unknown */
    int64_t trained_tokens;           /* -1 unknown */
    int64_t ceiling_tokens, ceiling_at_rest_tokens; /* as in o3_outlook */
    o3_range total_bytes;             /* at speed.num_ctx */
    double spilled_frac;
    o3_speed speed;                   /* at half of its default window, or of its ceiling where that is smaller */
    char why_not[O3_TEXT_MAX];        /* one sentence; "" = it can be predicted */
} o3_outlook_line;
/* Sorts what runs before what does not, the larger first. */
void o3_outlook_rank(o3_outlook_line *lines, int count);
json_t *o3_outlook_table_to_json(const o3_outlook_line *lines, int count);
char *o3_outlook_table(const o3_outlook_line *lines, int count, bool colour);

/* How far predictions were off, by quantity: first the ones that formulas and priors made alone, then those that
 * had learned. */
#define O3_ACCURACY_MAX 32
typedef struct o3_accuracy_row {
    char quantity[24];
    bool learned;
    int count;
    double median_frac, p95_frac, worst_frac; /* of |predicted - measured| / measured; nearest rank; worst keeps its sign */
    double bias_frac;                         /* median of (predicted - measured) / measured */
    double inside_frac, inside_low, inside_high; /* share of measurements inside their 90 % interval; Wilson interval */
} o3_accuracy_row;
typedef struct o3_accuracy {
    int count;
    o3_accuracy_row rows[O3_ACCURACY_MAX];
} o3_accuracy;
/* Forecasts without a measurement or a prediction are left out. */
void o3_accuracy_of(o3_accuracy *ret_accuracy, const o3_forecast *forecasts, int count);
json_t *o3_accuracy_to_json(const o3_accuracy *accuracy);
char *o3_accuracy_table(const o3_accuracy *accuracy, bool colour);

#endif
