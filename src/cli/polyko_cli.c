/*
 * polyko_cli.c
 *    Run, tokenize, convert and measure a model without a server.
 */
#include "cli/cli.h"

int
main(int argc, char **argv)
{
	return cli_main(argc, argv);
}
