/* monocle completion: scripts for shells, made from the tables of subcommands and options. */
#include "cli/cli.h"
#include <stdlib.h>
#include <string.h>

static int run_completion(int argc, char **argv);

static const mcl__option options[] = {{0}};

const mcl__subcommand mcl__subcommand_completion = {
    .name = "completion",
    .usage = "completion bash|zsh|fish",
    .summary = "Prints a completion script for a shell.",
    .options = options,
    .operands = "bash zsh fish",
    .help = "For one session, or from the shell's start-up file (in zsh after compinit):\n"
            "  source <(monocle completion bash)\n"
            "  source <(monocle completion zsh)\n"
            "  monocle completion fish | source\n",
    .run = run_completion,
};

/* What mcl__option.words stands for. */
typedef struct offer { bool files, folders; char words[512]; } offer;

static void add_word(offer *o, const char *word, size_t length)
{
    size_t used = strlen(o->words);
    snprintf(o->words + used, sizeof o->words - used, "%s%.*s", used ? " " : "", (int)length, word);
}

static offer offer_of(const char *words)
{
    offer o = {0};
    for (const char *at = words ? words : ""; *(at += strspn(at, " ")); at += strcspn(at, " ")) {
        size_t length = strcspn(at, " ");
        if (strncmp(at, "FILES", length) == 0) o.files = true;
        else if (strncmp(at, "FOLDERS", length) == 0) o.folders = true;
        else if (strncmp(at, "NETWORKS", length) != 0) add_word(&o, at, length);
        else for (const char *const *name = mcl_network_names(); *name; name++) add_word(&o, *name, strlen(*name));
    }
    return o;
}

/* Inside single quotes; `escaped` characters get a backslash. */
static void print_quoted(const char *text, const char *escaped)
{
    for (; *text; text++) {
        if (*text == '\'') fputs("'\\''", stdout);
        else printf("%s%c", strchr(escaped, *text) ? "\\" : "", *text);
    }
}

static void print_bash_offer(const char *words)
{
    offer o = offer_of(words);
    printf("words='%s' kind=%s ;;\n", o.words, o.files ? "-f" : o.folders ? "-d" : "");
}

static void print_bash(void)
{
    puts("_monocle() {\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD-1]} words= kind=\n"
         "    [ \"$COMP_CWORD\" -eq 1 ] && last=monocle || last=\"${COMP_WORDS[1]} $last\"\n"
         "    case \"$last $word\" in");
    fputs("    'monocle '*) words='", stdout);
    for (int i = 0; mcl__subcommands[i]; i++) printf("%s ", mcl__subcommands[i]->name);
    puts("--help --version' ;;");
    for (int i = 0; mcl__subcommands[i]; i++) {
        const mcl__subcommand *command = mcl__subcommands[i];
        for (const mcl__option *option = command->options; option->name; option++) {
            if (!option->value) continue;
            printf("    '%s --%s '*) ", command->name, option->name);
            print_bash_offer(option->words);
        }
        printf("    '%s '*' -'*) words='", command->name);
        for (const mcl__option *option = command->options; option->name; option++) printf("--%s ", option->name);
        printf("--help' ;;\n    '%s '*) ", command->name);
        print_bash_offer(command->operands);
    }
    puts("    esac\n"
         "    mapfile -t COMPREPLY < <(compgen $kind -W \"$words\" -- \"$word\")\n"
         "}\n"
         "complete -o filenames -F _monocle monocle");
}

/* "(words)" or a function that completes files. */
static void print_zsh_offer(const char *words)
{
    offer o = offer_of(words);
    if (o.files && *o.words) printf(" _alternative \"name:name:(%s)\" \"file:file:_files\"", o.words);
    else if (o.files || o.folders) printf("_files%s", o.folders ? " -/" : "");
    else printf("(%s)", o.words);
}

static void print_zsh(void)
{
    puts("#compdef monocle\n_monocle() {\n    local -a commands=(");
    for (int i = 0; mcl__subcommands[i]; i++) {
        printf("        '%s:", mcl__subcommands[i]->name);
        print_quoted(mcl__subcommands[i]->summary, ":");
        puts("'");
    }
    puts("    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n    fi\n"
         "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $command in");
    for (int i = 0; mcl__subcommands[i]; i++) {
        const mcl__subcommand *command = mcl__subcommands[i];
        printf("    %s)\n        _arguments '--help[this text]'", command->name);
        for (const mcl__option *option = command->options; option->name; option++) {
            printf(" \\\n            '%s--%s%s[", option->list ? "*" : "", option->name, option->value ? "=" : "");
            print_quoted(option->help, "[]:");
            fputs("]", stdout);
            if (option->value) printf(":%s:", option->value);
            if (option->value) print_zsh_offer(option->words);
            fputs("'", stdout);
        }
        if (command->operands) {
            fputs(" \\\n            '*: :", stdout);
            print_zsh_offer(command->operands);
            fputs("'", stdout);
        }
        puts(" ;;");
    }
    puts("    esac\n}\ncompdef _monocle monocle");
}

static void print_fish(void)
{
    puts("complete -c monocle -f");
    for (int i = 0; mcl__subcommands[i]; i++) {
        const mcl__subcommand *command = mcl__subcommands[i];
        printf("complete -c monocle -n __fish_use_subcommand -a %s -d '", command->name);
        print_quoted(command->summary, "");
        puts("'");
        for (const mcl__option *option = command->options; option->name; option++) {
            offer o = offer_of(option->words);
            printf("complete -c monocle -n '__fish_seen_subcommand_from %s' -l %s", command->name, option->name);
            if (option->value)
                printf(" %s -a '%s%s'", o.files ? "-r -F" : "-x", o.words,
                       o.folders ? "(__fish_complete_directories)" : "");
            fputs(" -d '", stdout);
            print_quoted(option->help, "");
            puts("'");
        }
        offer o = offer_of(command->operands);
        if (o.files || o.folders || *o.words)
            printf("complete -c monocle -n '__fish_seen_subcommand_from %s'%s -a '%s%s'\n", command->name,
                   o.files ? " -F" : "", o.words, o.folders ? "(__fish_complete_directories)" : "");
    }
    puts("complete -c monocle -l help -d 'this text'");
}

static int run_completion(int argc, char **argv)
{
    static const struct {
        const char *shell;
        void (*print)(void);
    } scripts[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    mcl__options(&mcl__subcommand_completion, &argc, argv);
    for (size_t i = 0; argc == 2 && i < sizeof scripts / sizeof *scripts; i++) {
        if (strcmp(scripts[i].shell, argv[1]) != 0) continue;
        scripts[i].print();
        return EXIT_SUCCESS;
    }
    return mcl__usage_error(&mcl__subcommand_completion, "bash, zsh or fish, please");
}
