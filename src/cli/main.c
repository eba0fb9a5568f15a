/* The program `monocle`: finds the subcommand and hands over. */
#include "cli/cli.h"
#include "device/helper.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUBCOMMAND(name) extern const mcl__subcommand mcl__subcommand_##name;
#include "cli/subcommands.def"
#undef SUBCOMMAND

const mcl__subcommand *const mcl__subcommands[] = {
#define SUBCOMMAND(name) &mcl__subcommand_##name,
#include "cli/subcommands.def"
#undef SUBCOMMAND
    NULL,
};

static void print_usage(FILE *out)
{
    fprintf(out,
            "Monocle %s trains convolutional networks on any OpenCL device, and on a plain CPU.\n\n"
            "usage: monocle COMMAND ...\n\n",
            mcl_version());
    for (int i = 0; mcl__subcommands[i]; i++)
        fprintf(out, "  %-11s %s\n", mcl__subcommands[i]->name, mcl__subcommands[i]->summary);
    fprintf(out, "\n`monocle COMMAND --help` tells more.\n");
}

static void log_to_stderr(mcl_log_level level, const char *message, void *user)
{
    (void)user;
    static const char *const prefix[] = {"error: ", "warning: ", "", "debug: "};
    if (level <= MCL_LOG_INFO)
        fprintf(stderr, "%s%s%s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", prefix[level], message);
}

int main(int argc, char **argv)
{
    mcl_set_log(log_to_stderr, NULL);
    signal(SIGPIPE, SIG_IGN); /* a reader that went away, and a limit on the size of files, are errors of writing: */
    signal(SIGXFSZ, SIG_IGN); /* they are told, and what is on disk stays whole */
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return mcl__finish(EXIT_SUCCESS);
    }
    if (strcmp(argv[1], MCL__HELPER_WORD) == 0) _exit(mcl__helper_run(argc - 1, argv + 1));
    const char *name = strcmp(argv[1], "--version") == 0 ? "version" : argv[1], *names[64];
    int count = 0;
    for (; mcl__subcommands[count]; count++) {
        names[count] = mcl__subcommands[count]->name;
        if (strcmp(names[count], name) == 0) return mcl__finish(mcl__subcommands[count]->run(argc - 1, argv + 1));
    }
    const char *near = mcl__nearest(name, names, count);
    fprintf(stderr, "monocle: there is no command \"%s\"", name);
    if (near) fprintf(stderr, "; did you mean \"%s\"?\n", near);
    else fprintf(stderr, "; `monocle --help` lists those that there are\n");
    return EXIT_USAGE;
}
