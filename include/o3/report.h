/* SPDX-License-Identifier: Apache-2.0 */
/* report: documents as JSON (docs/schema/) and back, and the summary a person reads. Pure: structs in, text or JSON
 * out; missing values are null. */
#ifndef O3_REPORT_H
#define O3_REPORT_H

#include <jansson.h>

#include "hardware.h"
#include "result.h"

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

#endif
