# Command.pm
#    Runs a program and gives what it printed, or dies with what it complained of.
package Bench::Command;
use strict;
use warnings;
use Exporter 'import';
use Text::ParseWords ();

our @EXPORT_OK = qw(capture words as_account found number_after);

# Standard output of a command; standard error is shown when it fails.
sub capture
{
	my (@command) = @_;
	my ($status, $out, $complaints) = run(@command);
	return $out if $status == 0;
	die "\nbench: this failed ($status): @command\n$complaints";
}

# (exit code, standard output, the end of standard error)
sub run
{
	my (@command) = @_;
	open my $errors, '+>', undef or die "bench: no temporary file: $!\n";
	my $pid = open(my $from, '-|') // die "bench: fork: $!\n";
	if ($pid == 0)
	{
		open STDIN,  '<',  '/dev/null';
		open STDERR, '>&', $errors;
		no warnings 'exec';
		exec { $command[0] } @command or print STDERR "$command[0]: $!\n";
		exit 127;
	}
	my $out = do { local $/; <$from> } // '';
	close $from;
	my $status = $? & 127 ? "signal " . ($? & 127) : $? >> 8;
	seek $errors, 0, 0;
	my @lines = <$errors>;
	splice @lines, 0, -10 if @lines > 10;
	return ($status eq '0' ? 0 : $status, $out, join '', @lines);
}

# A command line as a shell would divide it: quotes and backslashes, nothing else.
sub words
{
	my ($line) = @_;
	return Text::ParseWords::shellwords($line);
}

# As root, polyko's own programs run as the account of the server, whose images they read.
sub as_account
{
	my (@command) = @_;
	return @command unless $ENV{BENCH_ACCOUNT};
	return ('runuser', '-u', $ENV{BENCH_ACCOUNT}, '--', @command);
}

# Is there such a program? A name without a slash is looked for in PATH.
sub found
{
	my ($program) = @_;
	return -x $program if $program =~ m{/};
	return grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

# The number that pattern (with one group) finds in the output of a command.
sub number_after
{
	my ($pattern, $out, $who) = @_;
	return $1 if $out =~ $pattern;
	die "\nbench: $who printed no line like $pattern:\n$out";
}

1;
