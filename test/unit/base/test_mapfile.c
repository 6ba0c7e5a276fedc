/*
 * test_mapfile.c
 *    Files that are not what they should be.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../tap.h"
#include "core/base/mapfile.h"

static char dir[200];

static const char *
path(const char *name)
{
	static char text[300];

	snprintf(text, sizeof(text), "%s/%s", dir, name);
	return text;
}

static void
write_file(const char *name, const char *text)
{
	FILE *out = fopen(path(name), "wb");

	if (out == NULL || fputs(text, out) < 0 || fclose(out) != 0)
		exit(2);
}

static bool
refused(PkStatus status, const PkError *err, PkStatus want, const char *culprit, const char *name)
{
	bool good = status == want && err->status == want && strstr(err->text, culprit) != NULL;

	if (!ok(good, "%s", name))
		diag("got %s \"%s\", want %s naming \"%s\"", pk_status_name(status), err->text,
		     pk_status_name(want), culprit);
	return good;
}

static PkStatus
identify(const char *name, PkError *err)
{
	PkFileId id;

	memset(err, 0, sizeof(*err));
	return pk_file_identify(dir, name, &id, err);
}

static void
make_socket(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int                fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", path(name));
	if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
		exit(2);
	close(fd);
}

static void
test_kinds(void)
{
	PkError  err;
	PkFileId id;

	write_file("plain", "0123456789");
	ok(identify("plain", &err) == PK_OK, "a regular file is accepted");
	if (symlink("plain", path("link")) != 0)
		exit(2);
	ok(identify("link", &err) == PK_OK, "a symbolic link to one is accepted");
	ok(pk_file_identify(path("plain"), NULL, &id, &err) == PK_OK && id.size == 10,
	   "a path alone is accepted, and the size is known");

	alarm(10); /* opening a FIFO the wrong way waits for a writer */
	if (mkfifo(path("fifo"), 0600) != 0 || mkdir(path("sub"), 0700) != 0)
		exit(2);
	refused(identify("fifo", &err), &err, PK_BAD_FILE, "fifo", "a FIFO is refused without waiting");
	alarm(0);
	refused(identify("sub", &err), &err, PK_BAD_FILE, "sub", "a directory is refused");
	make_socket("socket");
	refused(identify("socket", &err), &err, PK_BAD_FILE, "socket", "a socket is refused");
	refused(pk_file_identify("/dev/zero", NULL, &id, &err), &err, PK_BAD_FILE, "/dev/zero",
	        "a device is refused");
	refused(identify("absent", &err), &err, PK_NO_FILE, "absent", "a missing file is named");
	refused(identify("plain/x", &err), &err, PK_NO_FILE, "plain/x",
	        "a file in place of a directory is a missing file");
	if (symlink("absent", path("dangling")) != 0)
		exit(2);
	refused(identify("dangling", &err), &err, PK_NO_FILE, "dangling", "a dangling link is named");

	static char longest[8000];

	memset(longest, 'x', sizeof(longest) - 1);
	ok(identify(longest, &err) == PK_BAD_ARGUMENT, "a path beyond PATH_MAX is refused");
}

/* Run fn as a user who owns nothing; the child's exit code is its answer. */
static int
as_nobody(int (*fn)(void))
{
	int   status;
	pid_t child = fork();

	if (child == 0)
	{
		if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
			_exit(9);
		_exit(fn());
	}
	return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 8;
}

static int
open_secret(void)
{
	PkError err = {0};

	if (identify("secret", &err) != PK_NO_PERMISSION)
		return 1;
	if (strstr(err.text, "secret") == NULL)
		return 2;
	return strstr(err.hint, "operating system user") != NULL ? 0 : 3;
}

static int
map_foreign(void)
{
	PkMapping map;
	PkError   err = {0};

	if (pk_map_open(path("plain"), &map, &err) != PK_NO_PERMISSION)
		return 1;
	return strstr(err.text, "belongs to") != NULL ? 0 : 2;
}

static void
test_permission(void)
{
	write_file("secret", "x");
	if (chmod(path("secret"), 0000) != 0 || chmod(dir, 0755) != 0)
		exit(2);
	is_int(as_nobody(open_secret), 0, "an unreadable file is PK_NO_PERMISSION, the hint names us");
	if (geteuid() == 0)
		is_int(as_nobody(map_foreign), 0, "somebody else's file is not mapped");
	else
		skip("only root can try a file of somebody else");
}

static void
test_reading(void)
{
	char     buffer[20] = {0};
	char    *bytes;
	size_t   len;
	int      fd;
	PkFileId id;
	PkError  err;

	ok(pk_file_open(dir, "plain", &fd, &id, &err) == PK_OK &&
	       pk_file_read(fd, "plain", buffer, 4, 3, &err) == PK_OK && memcmp(buffer, "3456", 4) == 0,
	   "bytes are read from an offset");
	refused(pk_file_read(fd, "plain", buffer, 8, 5, &err), &err, PK_BAD_FILE, "ends at byte 10",
	        "a file that ends too early is PK_BAD_FILE with the numbers");
	close(fd);
	ok(pk_file_load(dir, "plain", 10, &bytes, &len, &err) == PK_OK && len == 10 &&
	       strcmp(bytes, "0123456789") == 0,
	   "a small file is loaded whole, a NUL after it");
	free(bytes);
	refused(pk_file_load(dir, "plain", 9, &bytes, &len, &err), &err, PK_BAD_FILE, "10 bytes",
	        "a file beyond the limit is refused");
}

static void
test_identity(void)
{
	PkFileId before, after;
	PkError  err;
	int      fd;

	write_file("changing", "aaaa");
	ok(pk_file_open(dir, "changing", &fd, &before, &err) == PK_OK &&
	       pk_file_reidentify(fd, "changing", &after, &err) == PK_OK &&
	       pk_file_id_equal(&before, &after),
	   "an untouched file keeps its identity");

	struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

	if (utimensat(AT_FDCWD, path("changing"), times, 0) != 0)
		exit(2);
	ok(pk_file_reidentify(fd, "changing", &after, &err) == PK_OK &&
	       !pk_file_id_equal(&before, &after),
	   "another mtime is another identity");
	close(fd);
}

/* Of plain, which is as before at the end. */
static void
test_state(const PkMapping *map)
{
	char            kept[300];
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000}};

	ok(pk_map_state(map, path("plain")) == PK_FILE_SAME, "the file is still at its path");
	snprintf(kept, sizeof(kept), "%s", path("kept"));
	if (rename(path("plain"), kept) != 0)
		exit(2);
	ok(pk_map_state(map, path("plain")) == PK_FILE_GONE, "now it is not");
	ok(pk_map_state(map, kept) == PK_FILE_SAME, "a new name does not make it another file");
	write_file("plain", "0123456789");
	ok(pk_map_state(map, path("plain")) == PK_FILE_OTHER, "a copy is another file");
	write_file("kept", "01234");
	ok(pk_map_state(map, kept) == PK_FILE_OTHER, "so is one that was cut");
	write_file("kept", "0123456789");
	if (utimensat(AT_FDCWD, kept, times, 0) != 0)
		exit(2);
	ok(pk_map_state(map, kept) == PK_FILE_OTHER, "or written in place");
	unlink(kept);
}

static void
test_mapping(void)
{
	PkMapping map;
	PkError   err;

	ok(pk_map_open(path("plain"), &map, &err) == PK_OK && map.size == 10 &&
	       memcmp(map.data, "0123456789", 10) == 0,
	   "a file is mapped whole");
	test_state(&map);
	pk_map_close(&map);
	ok(map.data == NULL, "a closed mapping is empty");
	write_file("empty", "");
	refused(pk_map_open(path("empty"), &map, &err), &err, PK_BAD_FILE, "empty",
	        "an empty file is not mapped");
	refused(pk_map_open(path("fifo"), &map, &err), &err, PK_BAD_FILE, "fifo", "nor is a FIFO");
	if (chmod(path("plain"), 0620) != 0)
		exit(2);
	refused(pk_map_open(path("plain"), &map, &err), &err, PK_NO_PERMISSION, "0620",
	        "nor a file that its group may write");
	if (chmod(path("plain"), 0602) != 0)
		exit(2);
	refused(pk_map_open(path("plain"), &map, &err), &err, PK_NO_PERMISSION, "0602",
	        "nor one that everybody may write");
}

static void
test_writing(void)
{
	PkError err;
	int     fd = open(path("out"), O_RDWR | O_CREAT, 0600);
	int     reader = open(path("out"), O_RDONLY);
	char    buffer[6] = {0};

	ok(pk_file_write(fd, "out", "hello", 5, 100, &err) == PK_OK &&
	       pk_file_read(fd, "out", buffer, 5, 100, &err) == PK_OK && strcmp(buffer, "hello") == 0,
	   "bytes are written at an offset");
	refused(pk_file_write(reader, "out", "x", 1, 0, &err), &err, PK_IO, "out",
	        "a failed write is PK_IO and names the file");
	close(reader);
	close(fd);
	fd = open("/dev/full", O_RDWR);
	refused(pk_file_write(fd, "full", "x", 1, 0, &err), &err, PK_NO_DISK, "full",
	        "a full disk is PK_NO_DISK");
	close(fd);
}

int
main(void)
{
	const char *base = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/polyko-test-XXXXXX", base != NULL ? base : "/tmp");
	if (mkdtemp(dir) == NULL)
		return 2;
	test_kinds();
	test_permission();
	test_reading();
	test_identity();
	test_mapping();
	test_writing();

	static const char *const names[] = {"plain",  "link",     "fifo",  "socket", "dangling",
	                                    "secret", "changing", "empty", "out"};

	for (size_t i = 0; i < PK_LENGTH(names); i++)
		unlink(path(names[i]));
	rmdir(path("sub"));
	ok(rmdir(dir) == 0, "nothing is left behind");
	return done_testing();
}
