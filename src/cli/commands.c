/* SPDX-License-Identifier: Apache-2.0 */
/* The command table: what --help, the manual page, the completion and the dispatcher read. */
#include "cli.h"

#define AT(member, type)                                                                                    \
    (offsetof(cli_options, member) * sizeof(char[_Generic(&((cli_options *)0)->member, type *: 1)]))
#define SWITCH(flag_name, member, words)                                                                    \
    {.name = (flag_name), .type = CLI_SWITCH, .offset = AT(member, bool), .help = (words)}
#define TEXT(flag_name, member, what, words)                                                                \
    {.name = (flag_name), .type = CLI_TEXT, .offset = AT(member, const char *), .value = (what), .help = (words)}
#define NUMBER(flag_name, member, low, high, words)                                                         \
    {.name = (flag_name), .type = CLI_NUMBER, .offset = AT(member, int64_t), .min = (low), .max = (high),   \
     .value = "N", .help = (words)}
#define SHARE(flag_name, member, words)                                                                     \
    {.name = (flag_name), .type = CLI_SHARE, .offset = AT(member, double), .value = "SHARE", .help = (words)}
#define SPAN(flag_name, member, low_ms, high_ms, words)                                                     \
    {.name = (flag_name), .type = CLI_TIME, .offset = AT(member, double), .min = (low_ms), .max = (high_ms), \
     .value = "TIME", .help = (words)}
#define MIN_DECODE(words)                                                                                   \
    {.name = "min-decode", .type = CLI_RATE, .offset = AT(min_decode_per_s, double), .max = 1000000, \
     .value = "TOK_PER_S", .help = (words)}
#define HELP {.name = "help", .letter = 'h', .type = CLI_SWITCH, .offset = AT(help, bool), .help = "this text"}
#define JSON SWITCH("json", json, "the answer as JSON (docs/schema) on stdout")
#define VERBOSE(words)                                                                                      \
    {.name = "verbose", .letter = 'v', .type = CLI_SWITCH, .offset = AT(verbose, bool), .help = (words)}
#define HOST TEXT("host", host, "URL", "the server; default: $OLLAMA_HOST, else 127.0.0.1:11434")
#define CONFIG TEXT("config", config, "FILE", "default: ./o3_ai_config.yaml, $XDG_CONFIG_HOME/o3/, else built in")
#define LEGACY TEXT("legacy", legacy, "FILE", "an old o3_config.py, read before the YAML")
#define END {.name = NULL}

static const cli_flag optimize_flags[] = {
    SPAN("budget", budget_s, 1000, INT64_MAX, "time for the whole run, such as 15m; default: 10m, 15m or 20m by model size"),
    SWITCH("quick", quick, "at most a minute: one load, a partial fill, nothing proven"),
    NUMBER("samples", samples, 1, 50, "samples a rate; default: the configuration's (5)"),
    TEXT("preset", preset, "NAME", "only this preset; default: all"),
    TEXT("use-case", use_case, "NAME", "coding, rag, chat, tools or a row of yours: tilts the weights"),
    MIN_DECODE("speed floor: a window that decodes slower when it is full is not stable"),
    SPAN("max-ttft", max_ttft_s, 1, 1000000000,
         "speed floor: nor is one whose whole prompt takes longer to evaluate; seconds, or 2m"),
    CONFIG,
    LEGACY,
    HOST,
    NUMBER("seed", seed, 1, INT64_MAX, "of the prompt texts; default: 1"),
    SWITCH("no-proof", no_proof, "leave out the second full fill; said in the result"),
    SWITCH("keep-knobs", keep_knobs, "do not race num_thread, num_batch, num_gpu, use_mmap against the defaults"),
    SWITCH("own-server", own_server, "also try KV type, flash attention, slots ... on a private `ollama serve`"),
    TEXT("gate", gate, "WHAT", "exit 5 unless the answer is `proven`, the knobs are `decided`, the `floor` is kept; several: proven,floor"),
    SWITCH("unload-others", unload_others, "unload other models first; they are loaded again at the end"),
    SWITCH("force", force, "measure again what is known"),
    SWITCH("pull", pull, "pull the model without asking if it is not there"),
    JSON,
    VERBOSE("every trial as it ends; in the summary n, spread, outliers, score by part"),
    HELP,
    END,
};
static const cli_flag predict_flags[] = {
    NUMBER("num-ctx", num_ctx, 1, INT32_MAX, "context; default: what the server takes when none is named"),
    NUMBER("num-batch", num_batch, 1, 1 << 20, "default: what the server would choose"),
    NUMBER("num-gpu", num_gpu, -1, 1024, "layers on the GPU; default, -1: as many as fit"),
    NUMBER("num-thread", num_thread, 1, 4096, "default: what the server would choose"),
    NUMBER("parallel", parallel, 1, 256, "slots; default: the server's OLLAMA_NUM_PARALLEL"),
    TEXT("kv-type", kv_type, "TYPE", "f16, q8_0, q4_0 ...; default: the server's OLLAMA_KV_CACHE_TYPE"),
    TEXT("flash-attention", flash_attention, "on|off", "default: the server's OLLAMA_FLASH_ATTENTION"),
    TEXT("ollama", ollama, "VERSION", "predict for this release; default: the server's"),
    TEXT("machine", machine, "FILE", "for another machine (docs/machine.md, o3 hardware --json)"),
    TEXT("show", show, "FILE", "the model from a saved /api/show answer"),
    TEXT("gguf", gguf, "FILE", "the model from a GGUF file (of a split one the first part)"),
    MIN_DECODE("says which windows are predicted to decode so fast when they are full"),
    SPAN("max-ttft", max_ttft_s, 1, 1000000000, "and to evaluate a prompt that fills them in that time; seconds, or 2m"),
    SWITCH("accuracy", accuracy, "how far earlier predictions were off from what was measured"),
    HOST,
    CONFIG,
    LEGACY,
    JSON,
    HELP,
    END,
};
static const cli_flag preset_flags[] = {JSON, HELP, END};
static const cli_flag show_flags[] = {JSON, VERBOSE("every preset with n, spread and score by part"), HELP, END};
static const cli_flag apply_flags[] = {HOST, CONFIG, LEGACY, JSON, HELP, END};
static const cli_flag export_flags[] = {
    TEXT("preset", preset, "NAME", "only this preset; default: all, for a Modelfile the first"),
    TEXT("output", output, "FILE", "write there; default: stdout"),
    SWITCH("force", force, "overwrite FILE"),
    JSON,
    HELP,
    END,
};
static const cli_flag history_flags[] = {JSON, HELP, END};
static const cli_flag history_show_flags[] = {JSON, VERBOSE("each sample of each trial"), HELP, END};
static const cli_flag config_show_flags[] = {
    SWITCH("all", all, "also keys that a later release serves or that something replaced"),
    CONFIG,
    LEGACY,
    JSON,
    HELP,
    END,
};
static const cli_flag config_check_flags[] = {LEGACY, JSON, HELP, END};
static const cli_flag hardware_flags[] = {
    SWITCH("measure", measure, "measure how fast memory is read, in a second or two, and keep it"),
    TEXT("root", root, "PATH", "of a capture (o3 hardware capture) or a directory with proc/ and sys/ instead"),
    HOST,
    CONFIG,
    LEGACY,
    JSON,
    HELP,
    END,
};
static const cli_flag capture_flags[] = {
    SWITCH("force", force, "overwrite FILE"),
    HOST,
    CONFIG,
    LEGACY,
    JSON,
    HELP,
    END,
};
static const cli_flag monitor_flags[] = {
    SPAN("interval", interval_s, 10, 10000, "between two looks, 10ms to 10s; default: 100ms, of plain lines 1s"),
    SPAN("duration", duration_s, 10, INT64_MAX, "stop after it; default: until Ctrl-C"),
    SWITCH("csv", csv, "one line a look, with a head; bytes, shares, an empty cell where unknown"),
    HOST,
    CONFIG,
    LEGACY,
    SWITCH("json", json, "one JSON object a look (docs/schema) on stdout"),
    HELP,
    END,
};
static const cli_flag simulate_flags[] = {
    NUMBER("pairs", pairs, 1, 10000000, "machines x models x seeds; default: 1000"),
    NUMBER("seed", seed, 1, INT64_MAX, "what all of it follows from; default: 1"),
    SHARE("lying", lying, "memory predictions are wrong by up to this; default: 0, only inside what they state"),
    SHARE("noise", noise, "spread of a sample's time; default: 0.03"),
    TEXT("strategy", strategy, "NAME", "only this one; default: all"),
    TEXT("machines", machines, "NAME", "only those whose names begin so: cpu, cgroup, gpu, apu; default: all"),
    NUMBER("jobs", jobs, 1, 64, "threads; default: one a CPU"),
    SWITCH("markdown", markdown, "the table as docs/simulation.md has it"),
    JSON,
    HELP,
    END,
};
static const cli_flag help_flags[] = {HELP, END};

const cli_command cli_commands[] = {
    {.name = "optimize",
     .args = "MODEL",
     .args_min = 0,
     .args_max = 1,
     .flags = optimize_flags,
     .run = cmd_optimize,
     .orderly = true,
     .help = "prove the largest safe context and measure presets",
     .details = "Loads MODEL with growing prompts until its largest context on this machine is proven: a prompt\n"
                "that fills the window is evaluated whole, twice, below every memory limit. Then measures the\n"
                "presets against Ollama's defaults. Every sample is kept at once: after Ctrl-C the same command\n"
                "goes on from there, and a known model on a known machine is answered from the store without a\n"
                "load.\n"
                "With --min-decode or --max-ttft a window counts only if it is that fast when it is full: decode\n"
                "there, and the time to the first token of a prompt that fills it, sent to a loaded model.",
     .example = "o3 optimize smollm2:135m --budget 15m"},
    {.name = "predict",
     .args = "[MODEL]",
     .args_max = 1,
     .flags = predict_flags,
     .run = cmd_predict,
     .help = "memory, largest safe context and speed; no load",
     .details = "Says where the bytes of MODEL lie at a setting, up to which context it is safe now and once\n"
                "other models are gone, and about how fast each context is. Without MODEL: all models of the\n"
                "server in one table. Ranges are 90 % intervals. With --show or --gguf no server is needed.",
     .example = "o3 predict smollm2:135m --num-ctx 8192"},
    {.name = "preset list",
     .args = "[MODEL]",
     .args_max = 1,
     .flags = preset_flags,
     .run = cmd_preset_list,
     .help = "stored presets of one model or of all",
     .example = "o3 preset list"},
    {.name = "preset show",
     .args = "MODEL [NAME]",
     .args_min = 1,
     .args_max = 2,
     .flags = show_flags,
     .run = cmd_preset_show,
     .help = "one preset in full, or the model's summary",
     .example = "o3 preset show smollm2:135m max_context"},
    {.name = "apply",
     .args = "[MODEL] PRESET",
     .args_min = 1,
     .args_max = 2,
     .flags = apply_flags,
     .run = cmd_apply,
     .orderly = true,
     .help = "make a model on the server with a preset's settings",
     .details = "Makes MODEL-o3-PRESET (no copy of the weights), loads it and reads back from its runner that\n"
                "each setting is in force. MODEL may be left out where only one model has results.",
     .example = "o3 apply smollm2:135m max_context"},
    {.name = "export",
     .args = "MODEL yaml|json|modelfile",
     .args_min = 2,
     .args_max = 2,
     .flags = export_flags,
     .run = cmd_export,
     .help = "presets as a file that a server or a client reads",
     .details = "Only settings that Ollama really reads are written, with the run and the evidence beside them.",
     .example = "o3 export smollm2:135m modelfile --preset balanced --output Modelfile"},
    {.name = "history",
     .args = "[MODEL]",
     .args_max = 1,
     .flags = history_flags,
     .run = cmd_history,
     .help = "runs so far, newest first",
     .example = "o3 history smollm2:135m"},
    {.name = "history show",
     .args = "RUN",
     .args_min = 1,
     .args_max = 1,
     .flags = history_show_flags,
     .run = cmd_history_show,
     .help = "the trials of one run; the start of its id will do",
     .example = "o3 history show 7d1f --verbose"},
    {.name = "config show",
     .args = "[KEY]",
     .args_max = 1,
     .flags = config_show_flags,
     .run = cmd_config_show,
     .help = "each option with its value and where it came from",
     .details = "KEY is one option or the beginning of some (objectives). Without --all only options that this\n"
                "release serves, or that you set, are shown.",
     .example = "o3 config show objectives"},
    {.name = "config check",
     .args = "[FILE]",
     .args_max = 1,
     .flags = config_check_flags,
     .run = cmd_config_check,
     .help = "read a configuration and say what is wrong with it",
     .example = "o3 config check o3_ai_config.yaml"},
    {.name = "hardware",
     .args = "",
     .flags = hardware_flags,
     .run = cmd_hardware,
     .orderly = true,
     .help = "what O3 sees of this machine and may use of it",
     .details = "With --measure also how fast the cores that Ollama may use read memory and multiply: predictions\n"
                "of speed start from it. All these cores are busy meanwhile.",
     .example = "o3 hardware --json"},
    {.name = "hardware capture",
     .args = "[FILE]",
     .args_max = 1,
     .flags = capture_flags,
     .run = cmd_hardware_capture,
     .orderly = true,
     .help = "what O3 reads of this machine, for a bug report",
     .details = "Writes a .tar.gz (o3-hardware.tar.gz) of each file below / that was read for the profile, and the\n"
                "profile. Host and user names, serial numbers, UUIDs, network addresses and container ids are\n"
                "masked. o3 hardware --root FILE reads it on another machine.",
     .example = "o3 hardware capture"},
    {.name = "monitor",
     .args = "",
     .flags = monitor_flags,
     .run = cmd_monitor,
     .orderly = true,
     .help = "watch memory, CPU, GPUs and the loaded model",
     .details = "The same sensors that watch over o3 optimize, ten times a second: what is used of each memory and\n"
                "where O3 would stop, how busy the CPUs are and what waits for them, the model that is loaded and\n"
                "the memory of its runner. Nothing is stopped and no model is loaded. Works without a server.",
     .example = "o3 monitor --json --interval 100ms --duration 30s"},
    {.name = "simulate",
     .args = "",
     .flags = simulate_flags,
     .run = cmd_simulate,
     .orderly = true,
     .help = "try optimize on thousands of simulated machines",
     .details = "The same code as optimize, against machines, models and an engine that are formulas with errors,\n"
                "noise and cliffs that it does not know, in simulated time: what a search costs, how often it finds\n"
                "the ceiling, and that no limit is broken. Nothing is loaded and no server is asked. Ctrl-C prints\n"
                "what was finished.",
     .example = "o3 simulate --pairs 5000 --lying 0.3 --strategy predictive"},
    {.name = "help",
     .args = "[COMMAND]",
     .args_max = 2,
     .flags = help_flags,
     .run = cmd_help,
     .help = "this list, or the options of one command",
     .example = "o3 help optimize"},
    {.name = NULL},
};

/* Words of `name` that the given words match from the start; -1 if one differs. */
static int matches(const char *name, int count, char *const *words)
{
    int used = 0;
    while (*name) {
        size_t len = strcspn(name, " ");
        if (used == count || strlen(words[used]) != len || strncmp(words[used], name, len))
            return -1;
        used++;
        name += len + strspn(name + len, " ");
    }
    return used;
}

const cli_command *cli_command_find(int count, char *const *words, int *ret_used)
{
    const cli_command *found = NULL;
    *ret_used = 0;
    for (const cli_command *command = cli_commands; command->name; command++) {
        int used = matches(command->name, count, words);
        if (used > *ret_used) {
            found = command;
            *ret_used = used;
        }
    }
    return found;
}

o3_status cli_command_unknown(int count, char *const *words, o3_err *err)
{
    const char *names[64];
    char firsts[64][32], seconds[160] = "";
    int name_count = 0;
    for (const cli_command *command = cli_commands; command->name && name_count < O3_COUNT(names); command++) {
        size_t len = strcspn(command->name, " ");
        o3_format(firsts[name_count], sizeof(firsts[0]), "%.*s", (int)len, command->name);
        names[name_count] = firsts[name_count];
        if (!strcmp(firsts[name_count], words[0]))
            o3_format(seconds + strlen(seconds), sizeof(seconds) - strlen(seconds), "%so3 %s", *seconds ? ", " : "",
                      command->name);
        name_count++;
    }
    if (*seconds && count > 1)
        return o3_fail(err, O3_E_USAGE, "%s %s is no command; there is %s", words[0], words[1], seconds);
    if (*seconds)
        return o3_fail(err, O3_E_USAGE, "o3 %s needs one more word: %s", words[0], seconds);
    const char *near = o3_nearest(words[0], names, name_count);
    if (near)
        return o3_fail(err, O3_E_USAGE, "%s is no command (did you mean %s?)", words[0], near);
    return o3_fail(err, O3_E_USAGE, "%s is no command; o3 help lists them", words[0]);
}
