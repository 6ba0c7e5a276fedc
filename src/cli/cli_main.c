/*
 * cli_main.c
 *    From the words of a command line to its command; apart from main(), so that tests can call it.
 */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"

typedef struct Command
{
	const char *name;
	size_t      n_args;
	int (*run)(const CliOptions *options);
} Command;

static const Command commands[] = {
	{"convert", 1, cli_command_convert}, {"generate", 2, cli_command_generate},
	{"run", 2, cli_command_generate},    {"tokenize", 2, cli_command_tokenize},
	{"embed", 2, cli_command_embed},     {"perplexity", 2, cli_command_perplexity},
	{"info", 1, cli_command_info},       {"bench", 1, cli_command_bench},
};

static int check_output(int code);

int
cli_main(int argc, char **argv)
{
	CliOptions options;

	if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
	{
		cli_usage(argc < 2 ? stderr : stdout);
		return argc < 2 ? CLI_USAGE : CLI_OK;
	}
	for (size_t i = 0; i < PK_LENGTH(commands); i++)
	{
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		if (!cli_options_parse(argc - 1, argv + 1, &options))
			return CLI_USAGE;
		if (options.n_args != commands[i].n_args)
		{
			fprintf(stderr, "polyko_cli: %s takes %zu arguments, %zu were given\n", argv[1],
			        commands[i].n_args, options.n_args);
			return CLI_USAGE;
		}
		return check_output(commands[i].run(&options));
	}
	fprintf(stderr, "polyko_cli: no command \"%s\"; see polyko_cli --help\n", argv[1]);
	return CLI_USAGE;
}

/* A full disk behind a pipe or a file is a failure: what was printed is not all there. */
static int
check_output(int code)
{
	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	fprintf(stderr, "polyko_cli: could not write to standard output%s%s\n", errno != 0 ? ": " : "",
	        errno != 0 ? strerror(errno) : "");
	return code == CLI_OK ? CLI_FAILED : code;
}
