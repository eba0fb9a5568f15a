/* Options of the command line, errors and exit statuses. */
#include "cli/cli.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_help(const mcl__subcommand *command)
{
    printf("usage: monocle %s\n\n%s\n\n", command->usage, command->summary);
    for (const mcl__option *option = command->options; option->name; option++) {
        int width = printf("  --%s%s%s", option->name, option->value ? " " : "", option->value ? option->value : "");
        printf("%*s%s\n", width < 28 ? 28 - width : 2, "", option->help);
    }
    printf("  --help                    this text\n");
    if (command->help) printf("\n%s", command->help);
}

static void unknown_option(const mcl__subcommand *command, const char *argument, size_t length)
{
    const char *names[32];
    char word[64];
    int count = 0;
    for (; command->options[count].name && count < 32; count++) names[count] = command->options[count].name;
    snprintf(word, sizeof word, "%.*s", (int)length, argument + 2);
    const char *near = mcl__nearest(word, names, count);
    if (near) exit(mcl__usage_error(command, "unknown option --%s; did you mean --%s?", word, near));
    exit(mcl__usage_error(command, "unknown option --%s", word));
}

static void take_value(const mcl__subcommand *command, const mcl__option *option, const char *value)
{
    if (option->list) {
        if (*option->count == option->limit) exit(mcl__usage_error(command, "--%s is given too often", option->name));
        option->list[(*option->count)++] = value;
    } else {
        *option->text = value;
    }
}

/* Handles argv[i], which begins with "--"; returns how many arguments it took. */
static int take_option(const mcl__subcommand *command, int argc, char **argv, int i)
{
    const char *equals = strchr(argv[i], '=');
    size_t length = equals ? (size_t)(equals - argv[i]) - 2 : strlen(argv[i] + 2);
    for (const mcl__option *option = command->options; option->name; option++) {
        if (strlen(option->name) != length || strncmp(option->name, argv[i] + 2, length) != 0) continue;
        if (!option->value) {
            if (equals) exit(mcl__usage_error(command, "--%s takes no value", option->name));
            *option->flag = true;
            return 1;
        }
        if (!equals && i + 1 >= argc)
            exit(mcl__usage_error(command, "--%s needs a value: %s", option->name, option->value));
        take_value(command, option, equals ? equals + 1 : argv[i + 1]);
        return equals ? 1 : 2;
    }
    unknown_option(command, argv[i], length);
    return 1;
}

void mcl__options(const mcl__subcommand *command, int *argc, char **argv)
{
    int operands = 1, i = 1;
    while (i < *argc) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help(command);
            exit(mcl__finish(EXIT_SUCCESS));
        }
        if (strcmp(argv[i], "--") == 0) {
            for (i++; i < *argc; i++) argv[operands++] = argv[i];
            break;
        }
        if (strncmp(argv[i], "--", 2) == 0) i += take_option(command, *argc, argv, i);
        else if (argv[i][0] == '-' && argv[i][1]) exit(mcl__usage_error(command, "unknown option %s", argv[i]));
        else argv[operands++] = argv[i++];
    }
    *argc = operands;
}

int mcl__number(const mcl__subcommand *command, const char *option, const char *text, int low, int high)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (end == text || *end || errno || number < low || number > high)
        exit(mcl__usage_error(command, "--%s is a whole number from %d to %d, not \"%s\"", option, low, high, text));
    return (int)number;
}

int mcl__choice(const mcl__subcommand *command, const char *option, const char *text)
{
    const mcl__option *own = command->options;
    char list[128] = "";
    int choice = 0;
    while (strcmp(own->name, option) != 0) own++;
    for (const char *word = own->words; *word; choice++) {
        size_t length = strcspn(word, " "), used = strlen(list);
        const char *next = word + length + strspn(word + length, " ");
        if (strlen(text) == length && strncmp(word, text, length) == 0) return choice;
        snprintf(list + used, sizeof list - used, "%s%.*s", choice == 0 ? "" : *next ? ", " : " or ", (int)length, word);
        word = next;
    }
    exit(mcl__usage_error(command, "--%s is %s, not \"%s\"", option, list, text));
}

int mcl__usage_error(const mcl__subcommand *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "monocle %s: ", command->name);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\nusage: monocle %s; `monocle %s --help` tells more\n", command->usage, command->name);
    va_end(arguments);
    return EXIT_USAGE;
}

int mcl__report(const mcl_error *error)
{
    const char *prefix = error->status == MCL_ERROR_INTERRUPTED ? "" : "error: ";
    fprintf(stderr, "%s%s%s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", prefix,
            *error->text ? error->text : mcl_status_sentence(error->status));
    bool usage =
        error->status == MCL_ERROR_CONFIG || error->status == MCL_ERROR_INVALID || error->status == MCL_ERROR_SHAPE;
    return usage ? EXIT_USAGE : EXIT_FAILURE;
}

int mcl__finish(int status)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    fprintf(stderr, "error: the output could not be written: %s\n", errno ? strerror(errno) : "input/output error");
    return status == EXIT_SUCCESS ? EXIT_FAILURE : status;
}
