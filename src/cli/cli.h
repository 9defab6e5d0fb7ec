/* SPDX-License-Identifier: Apache-2.0 */
/* cli: one table of commands, one table of options a command, one function a command. stdout is the answer, stderr the
 * talk. Nothing is opened before the command is known. */
#ifndef O3_CLI_H
#define O3_CLI_H

#include <stdio.h>

#include "base/base.h"
#include "o3/tune.h"

typedef struct cli_options {
    bool help, json, verbose, quick, no_proof, keep_knobs, own_server, unload_others, force, pull, all, accuracy, measure;
    const char *config, *legacy, *host, *preset, *gate, *use_case, *output; /* NULL: not given */
    const char *kv_type, *flash_attention, *ollama, *machine, *show, *gguf;
    const char *root; /* NULL: not given */
    double budget_s, interval_s, duration_s; /* NaN: not given */
    int64_t samples;  /* 0: not given */
    int64_t seed;     /* 0: not given */
    int64_t num_ctx, num_batch, num_thread, parallel; /* 0: not given */
    int64_t num_gpu;  /* O3_UNSET: not given */
    int64_t pairs, jobs;   /* 0: not given */
    double lying, noise;   /* NaN: not given */
    double min_decode_per_s, max_ttft_s; /* NaN: not given */
    const char *strategy, *machines; /* NULL: not given */
    bool markdown, csv;
} cli_options;

typedef enum cli_flag_type { CLI_SWITCH, CLI_TEXT, CLI_TIME, CLI_NUMBER, CLI_SHARE, CLI_RATE } cli_flag_type;

typedef struct cli_flag {
    const char *name; /* "budget", without dashes */
    char letter;      /* 'v'; 0 if none */
    cli_flag_type type;
    size_t offset;    /* in cli_options */
    int64_t min, max; /* of a number; of a time in ms */
    const char *value; /* what the help calls it: "TIME" */
    const char *help;
} cli_flag;

struct cli_command;
typedef struct cli_call {
    const struct cli_command *command;
    cli_options options;
    int count;            /* words after the command, options taken out */
    const char *words[4];
    o3_cancel *cancel;
} cli_call;

typedef struct cli_command {
    const char *name;    /* "preset list" */
    const char *args;    /* "[MODEL]" */
    int args_min, args_max;
    const char *help;    /* one line */
    const char *details; /* paragraphs; NULL if none */
    const char *example; /* a line to copy; NULL if none */
    const cli_flag *flags; /* ends with name NULL */
    bool orderly;          /* Ctrl-C sets the cancel token and waits; else it ends the process at once */
    /* Its status is the exit status; what it says in `err` is printed unless it is empty. */
    o3_status (*run)(const cli_call *call, o3_err *err);
} cli_command;

/* Ends with name NULL. */
extern const cli_command cli_commands[];
/* The longest command that these words begin with ("preset", "list", ...); *ret_used words belong to its name. */
const cli_command *cli_command_find(int count, char *const *words, int *ret_used);
/* O3_E_USAGE: "... is no command (did you mean ...?)". */
o3_status cli_command_unknown(int count, char *const *words, o3_err *err);

/* Options and words of `command` from argv (argv[0] is skipped). */
O3_NODISCARD o3_status cli_parse(const cli_command *command, int argc, char **argv, cli_call *ret_call, o3_err *err);

void cli_help_all(FILE *out);
void cli_help_command(FILE *out, const cli_command *command);

/* One output for all: the JSON (stolen) and a line feed on stdout. */
void cli_print_json(json_t *json);
bool cli_colour(void); /* stdout is a terminal and NO_COLOR is not set */
/* Two columns of spaces between; columns marked in `right` are aligned right. cells[row * columns + column]. */
void cli_print_table(FILE *out, int columns, const bool *right, int rows, char (*cells)[64]);
void cli_time_text(char *dst, size_t dst_size, int64_t unix_ms); /* "2026-08-22 10:11", "-" below 0 */

/* What a command opened; cli_close gives all of it back. */
typedef struct cli_session {
    const cli_call *call;
    o3_config config;
    o3_config_origins *origins;
    o3_engine *engine;
    o3_store *store;
    o3_notes notes;
} cli_session;
cli_session *cli_session_new(const cli_call *call);
void cli_session_free(cli_session *session);
static inline void o3_auto_cli_session(cli_session **session)
{
    if (*session)
        cli_session_free(*session);
}
O3_NODISCARD o3_status cli_open_config(cli_session *session, o3_err *err); /* its notes go to stderr */
O3_NODISCARD o3_status cli_open_engine(cli_session *session, o3_err *err); /* --host, $OLLAMA_HOST, the default */
O3_NODISCARD o3_status cli_open_store(cli_session *session, o3_err *err);
o3_world cli_world(cli_session *session);
const char *cli_host(const cli_call *call); /* never NULL */

/* Ollama's long form of a name without a tag ("smollm2": "smollm2:latest"); false: it has one. */
bool cli_latest(const char *model, char *dst, size_t size);
/* The newest stored result of `model` ("NAME" also finds "NAME:latest"); ret_json (may be NULL) is the whole
 * document. */
O3_NODISCARD o3_status cli_result(cli_session *session, const char *model, o3_result *ret_result, json_t **ret_json,
                                  o3_err *err);
/* Models with a stored result, newest first, each once; returns the count. O3_E_NOT_FOUND if there is none. */
#define CLI_MODELS_MAX 256
typedef struct cli_models {
    int count;
    char names[CLI_MODELS_MAX][O3_NAME_MAX];
} cli_models;
O3_NODISCARD o3_status cli_models_read(cli_session *session, cli_models *ret_models, o3_err *err);
/* The preset of that name, or O3_E_NOT_FOUND with the nearest one. */
O3_NODISCARD o3_status cli_preset(const o3_result *result, const char *name, const o3_preset **ret_preset,
                                  o3_err *err);

/* terminal.c: the talk. A label, then words; on a terminal the last line may live. */
typedef struct cli_terminal cli_terminal;
cli_terminal *cli_terminal_new(FILE *out);
void cli_terminal_free(cli_terminal *terminal); /* takes the live line away */
bool cli_terminal_live(const cli_terminal *terminal);
void cli_terminal_line(cli_terminal *terminal, const char *label, const char *text);
/* frac and left_s NaN where unknown. Not on a terminal: a plain line when the label changes, else one in 5 s. */
void cli_terminal_progress(cli_terminal *terminal, const char *label, const char *text, double frac, double left_s);
void cli_terminal_clear(cli_terminal *terminal);
/* A question with [y/N]; false without a terminal on stdin. */
bool cli_terminal_ask(cli_terminal *terminal, const char *question);

o3_status cmd_optimize(const cli_call *call, o3_err *err);
o3_status cmd_predict(const cli_call *call, o3_err *err);
o3_status cmd_simulate(const cli_call *call, o3_err *err);
o3_status cmd_preset_list(const cli_call *call, o3_err *err);
o3_status cmd_preset_show(const cli_call *call, o3_err *err);
o3_status cmd_apply(const cli_call *call, o3_err *err);
o3_status cmd_export(const cli_call *call, o3_err *err);
o3_status cmd_history(const cli_call *call, o3_err *err);
o3_status cmd_history_show(const cli_call *call, o3_err *err);
o3_status cmd_config_show(const cli_call *call, o3_err *err);
o3_status cmd_config_check(const cli_call *call, o3_err *err);
o3_status cmd_hardware(const cli_call *call, o3_err *err);
o3_status cmd_hardware_capture(const cli_call *call, o3_err *err);
o3_status cmd_monitor(const cli_call *call, o3_err *err);
o3_status cmd_help(const cli_call *call, o3_err *err);

/* What o3 predict works with, whatever it came from. */
typedef struct cli_prediction {
    cli_session *session;
    o3_world world;
    o3_survey *survey;     /* its models are those of the server; none where no server was asked */
    const char *machine;   /* "this machine", or a file */
    bool described;        /* the machine is such a file: nothing learned here is true there */
    char version[32];      /* of the Ollama that is predicted; "" unknown */
    o3_notes notes;
} cli_prediction;
/* The server's setting as the flags change it; num_ctx is set where it was asked for. */
O3_NODISCARD o3_status cli_predict_setting(cli_prediction *p, const o3_model *model, o3_setting *ret_setting,
                                           o3_calibration *ret_calibration, o3_notes *notes, o3_err *err);
/* cmd_predict_table.c */
o3_status cli_predict_all(cli_prediction *p, o3_err *err);
o3_status cli_predict_accuracy(cli_session *session, o3_err *err);

/* docs.c: each writes one document from the tables. NULL name ends the list. */
typedef struct cli_document {
    const char *name; /* "man" */
    const char *file; /* where it is kept, from the top of the tree */
    void (*write)(FILE *out);
} cli_document;
extern const cli_document cli_documents[];

#endif
