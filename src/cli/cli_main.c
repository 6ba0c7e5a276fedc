/*
 * cli_main.c
 *    From the words of a command line to its command; apart from main(), so that tests can call it.
 */
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
		return commands[i].run(&options);
	}
	fprintf(stderr, "polyko_cli: no command \"%s\"; see polyko_cli --help\n", argv[1]);
	return CLI_USAGE;
}
