/* What the subcommands share: their table, options, messages, opening a device and a run. Results go to stdout, everything
 * else to stderr. */
#ifndef MCL_CLI_CLI_H
#define MCL_CLI_CLI_H
#include "train/config.h"
#include <monocle/train.h>
#include <stdio.h>

enum { EXIT_USAGE = 2 }; /* usage and configuration errors; EXIT_FAILURE for everything else that fails */

/* One option: "--name VALUE", "--name=VALUE", or "--name" for a flag. Parsing, --help and completion all read these tables. */
typedef struct mcl__option {
    const char *name;      /* "device" */
    const char *value;     /* "D", what the help calls its value; NULL: a flag */
    const char *help;
    const char *words;     /* what a shell offers as its value: words, FILES, FOLDERS or NETWORKS, separated by blanks */
    const char **text;     /* where the value goes; for flags `flag` is set */
    bool *flag;
    const char **list;     /* may be given again and again: values go here ... */
    int *count, limit;     /* ... and are counted */
} mcl__option;

typedef struct mcl__subcommand {
    const char *name, *usage, *summary;
    const mcl__option *options;      /* ends with an option without a name */
    const char *operands;            /* what a shell offers as operands, as mcl__option.words; NULL: there are none */
    const char *help;                /* the text after the options */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns the exit status */
} mcl__subcommand;

extern const mcl__subcommand *const mcl__subcommands[]; /* ends with NULL */

/* Takes options out of argv; what is left are operands, *argc of them from argv[1]. `--help` prints and exits with 0; an unknown
 * option prints the nearest one and exits with 2. "--" ends options. */
void mcl__options(const mcl__subcommand *command, int *argc, char **argv);
/* The number in an option's value; one that is none, or outside [low, high], exits with 2. */
int mcl__number(const mcl__subcommand *command, const char *option, const char *text, int low, int high);
/* Which of its option's words a value is, counted from 0; another one exits with 2. */
int mcl__choice(const mcl__subcommand *command, const char *option, const char *text);
/* "monocle train: text" on stderr, and the hint to --help; returns EXIT_USAGE. */
int mcl__usage_error(const mcl__subcommand *command, const char *format, ...) MCL_PRINTF(2, 3);
/* Prints the error and returns the exit status that goes with it. */
int mcl__report(const mcl_error *error);
/* Writes out stdout; a status of success becomes a failure where not everything could be written. */
int mcl__finish(int status);

/* As this process and those that it starts can name it, even where it was replaced since. */
#define MCL__THIS_PROGRAM "/proc/self/exe"

/* What --device says in every subcommand that has it. */
#define MCL__DEVICE_OPTION(target)                                                                                       \
    {.name = "device", .value = "D", .help = "auto, native, gpu, cpu, PLATFORM:DEVICE, or part of a name",             \
     .words = "auto native gpu cpu", .text = target}

/* Opens the device that --device names (`given`), else MONOCLE_DEVICE, else the configuration (NULL: none), and says on stderr
 * which one it is and why, unless quiet. */
mcl_status mcl__open_device(const char *given, const mcl__config *config, bool quiet, mcl_device **device, mcl_error *error);

/* "native", "CPU", "GPU" or "accelerator" */
const char *mcl__device_type(const mcl_device_info *info);

/* The configuration of an existing run. */
mcl_status mcl__run_config(const char *run, const char *const *sets, int count, mcl__config *config, mcl_error *error);

/* An operand that says which network: a name, or a configuration, a run's folder or a folder of data. */
bool mcl__is_network(const char *name);
bool mcl__is_subject(const char *operand);
/* The usage errors for what is no network's name, and for what is nothing of these, with the nearest name. */
int mcl__no_network(const mcl__subcommand *command, const char *name);
int mcl__no_subject(const mcl__subcommand *command, const char *operand);
/* The configuration of one that is no name, and its network for the shapes of the data, none of which is decoded. After success
 * the caller frees both. */
mcl_status mcl__config_subject(const char *operand, mcl__config *config, mcl_network **network, mcl_error *error);

/* Where decoded pictures are kept: beside the run, so that runs in one folder share them, and eval finds those of train.
 * malloc'ed; NULL: no memory. */
char *mcl__picture_cache_of(const char *run);
#endif
