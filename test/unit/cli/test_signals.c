/*
 * test_signals.c
 *    Interrupted or without room, polyko_cli leaves no image behind.
 */
#include "program.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>

#define MANY_ROWS 200000 /* an image of 80 MB: some time to interrupt it in */
#define TRIES 20

static Maker large;

/* Interrupts a conversion as soon as its file is in `folder`; again if it was quicker than we. */
static Run
interrupt(int number, const char *folder, const char *const *words)
{
	Run run = {0};

	for (int i = 0; i < TRIES && run.signal == 0; i++)
	{
		pid_t child;

		remove_tree(folder);
		mkdir(folder, 0700);
		child = start(path_in(scratch_root(), "out"), words);
		for (int k = 0; k < 100000 && n_names(folder) == 0; k++)
			usleep(100);
		kill(child, number);
		run = finish(child);
	}
	return run;
}

static void
test_interrupts(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	char             folder[600], image[640];

	scratch_path(folder, "folder");
	snprintf(image, sizeof(image), "%s/image", folder);
	setenv("TMPDIR", folder, 1);
	for (size_t i = 0; i < PK_LENGTH(numbers); i++)
	{
		Run run = interrupt(numbers[i], folder,
		                    (const char *const[]){"generate", large.dir, "a", "-q", "f32", NULL});

		is_int(run.signal, numbers[i], "generate ends by the signal that came");
		is_int(n_names(folder), 0, "and leaves nothing in TMPDIR");
		run =
			interrupt(numbers[i], folder,
		              (const char *const[]){"convert", large.dir, "-o", image, "-q", "f32", NULL});
		is_int(run.signal, numbers[i], "convert ends by the signal that came");
		is_int(n_names(folder), 0, "and leaves nothing beside its output");
	}
}

/* With nohup: the conversion goes on. */
static void
test_ignored(void)
{
	char  folder[600];
	pid_t child;

	scratch_path(folder, "folder");
	signal(SIGHUP, SIG_IGN);
	child = start(path_in(scratch_root(), "out"),
	              (const char *const[]){"info", large.dir, "-q", "f32", NULL});
	for (int k = 0; k < 100000 && n_names(folder) == 0; k++)
		usleep(100);
	kill(child, SIGHUP);

	Run run = finish(child);

	signal(SIGHUP, SIG_DFL);
	says(&run, CLI_OK, "", "a signal that is ignored stays so");
}

/* In a child: a small file system of its own, which only root can make. */
static int
try_small_disk(void)
{
	char small[600], image[640];
	Run  run;

	scratch_path(small, "small");
	snprintf(image, sizeof(image), "%s/image", small);
	if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mkdir(small, 0700) != 0 ||
	    mount("tmpfs", small, "tmpfs", 0, "size=256k") != 0)
		return 77;
	setenv("TMPDIR", small, 1);
	run = RUN("info", TINY);
	if (run.code != CLI_FAILED || strstr(run.err, "let TMPDIR name") == NULL)
		return 1;
	run = RUN("convert", TINY, "-o", image);
	if (run.code != CLI_FAILED || strstr(run.err, "give -o a name") == NULL)
		return 2;
	return n_names(small) == 0 ? 0 : 3;
}

static void
test_small_disk(void)
{
	int   status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0)
		_exit(try_small_disk());
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		exit(2);
	if (WEXITSTATUS(status) == 77)
		skip("no privilege to mount a small file system");
	else
		is_int(WEXITSTATUS(status), 0,
		       "on a full disk the hint names TMPDIR or -o; nothing is left");
}

int
main(void)
{
	/* jobs in the background ignore them */
	signal(SIGINT, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	maker_init(&large, "large");
	maker_find(&large, "embed_out.weight")->shape[0] = MANY_ROWS;
	maker_find(&large, "gpt_neox.embed_in.weight")->shape[0] = MANY_ROWS;
	maker_write(&large);
	test_interrupts();
	test_ignored();
	test_small_disk();
	scratch_remove();
	return done_testing();
}
