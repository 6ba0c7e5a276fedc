/*
 * tap.h
 *    The few calls a unit test needs; prints TAP for prove. Names read as sentences:
 *    ok(n == 3, "three Hangul syllables give three tokens");
 */
#ifndef TAP_H
#define TAP_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int tap_n_run, tap_n_failed;

__attribute__((format(printf, 2, 3), unused)) static bool
ok(bool passed, const char *name, ...)
{
	va_list args;

	tap_n_run++;
	tap_n_failed += !passed;
	printf("%sok %d - ", passed ? "" : "not ", tap_n_run);
	va_start(args, name);
	vprintf(name, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	return passed;
}

/* A line that explains; shown by prove -v and on failure. */
__attribute__((format(printf, 1, 2), unused)) static void
diag(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "# ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
}

__attribute__((unused)) static bool
is_int(long long got, long long want, const char *name)
{
	if (!ok(got == want, "%s", name))
		diag("got %lld, want %lld", got, want);
	return got == want;
}

__attribute__((unused)) static bool
is_str(const char *got, const char *want, const char *name)
{
	bool equal = got != NULL && strcmp(got, want) == 0;

	if (!ok(equal, "%s", name))
		diag("got \"%s\", want \"%s\"", got != NULL ? got : "(null)", want);
	return equal;
}

/* |got - want| <= tolerance; give the tolerance a named constant with its reason. */
__attribute__((unused)) static bool
is_near(double got, double want, double tolerance, const char *name)
{
	bool near = fabs(got - want) <= tolerance;

	if (!ok(near, "%s", name))
		diag("got %.9g, want %.9g within %g", got, want, tolerance);
	return near;
}

/* A test that cannot run here, shown in the count. */
__attribute__((unused)) static void
skip(const char *reason)
{
	printf("ok %d # SKIP %s\n", ++tap_n_run, reason);
}

__attribute__((unused)) static int
done_testing(void)
{
	printf("1..%d\n", tap_n_run);
	return tap_n_failed == 0 ? 0 : 1;
}

#endif
