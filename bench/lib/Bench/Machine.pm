# Machine.pm
#    The machine and what it could do at best: processor, commit, int8 peak, memory bandwidth.
package Bench::Machine;
use strict;
use warnings;
use JSON::PP ();
use POSIX ();
use Time::HiRes 'sleep';

use Bench::Command qw(capture number_after);

my $LOOK_S = 0.5;

sub new
{
	my ($class, $plan) = @_;
	for my $program (qw(peak bandwidth))
	{
		die "bench: $ENV{BENCH_PROGRAMS}/$program is missing (bench/$program.c)\n"
		  unless -x "$ENV{BENCH_PROGRAMS}/$program";
	}
	return bless { plan => $plan, has_peak => 1 }, $class;
}

# GB/s, now.
sub bandwidth
{
	my ($self) = @_;
	my $out = capture("$ENV{BENCH_PROGRAMS}/bandwidth", $self->{plan}{threads});
	return number_after(qr/^bandwidth: ([\d.]+) GB/m, $out, 'bandwidth');
}

# peak knows one kind of processor; elsewhere the shares of it are left out.
sub measure_peak
{
	my ($self, $record) = @_;
	return unless $self->{has_peak};
	my ($status, $out, $complaint) =
	  Bench::Command::run("$ENV{BENCH_PROGRAMS}/peak", $self->{plan}{threads});
	if ($status ne '0')
	{
		print " (no int8 peak: ", $complaint =~ s/\s+\z//r, ")";
		$self->{has_peak} = 0;
		return;
	}
	$record->('peak', 'int8', number_after(qr/^peak: ([\d.]+) Gop/m, $out, 'peak'), 'Gop/s');
	$record->('sustained peak', 'int8', number_after(qr/, sustained ([\d.]+)$/m, $out, 'peak'), 'Gop/s');
}

# What others use of the processors, in percent, while nothing of ours computes.
sub busy_percent
{
	my ($idle, $all) = cpu_times() or return;
	sleep $LOOK_S;
	my ($idle_then, $all_then) = cpu_times();
	return 0 if $all_then <= $all;
	return 100 * (1 - ($idle_then - $idle) / ($all_then - $all));
}

# Ticks since boot: (idle or waiting for a disk, all). What a hypervisor took away counts as used.
sub cpu_times
{
	open my $file, '<', '/proc/stat' or return;
	my (undef, @ticks) = split ' ', <$file>;
	my $all = 0;
	$all += $_ for @ticks[ 0 .. 7 ];
	return ($ticks[3] + $ticks[4], $all);
}

sub cpu
{
	open my $file, '<', '/proc/cpuinfo' or return 'unknown';
	while (<$file>)
	{
		return $1 =~ s/\s+/ /gr if /^model name\s*:\s*(.+?)\s*$/;
	}
	return (POSIX::uname())[4];
}

# The commit, with + if files were changed since; of a source without git, the version.
sub commit
{
	my ($status, $id) = Bench::Command::run(qw(git rev-parse --short HEAD));
	return 'unknown' if $status ne '0';
	my (undef, $changes) = Bench::Command::run(qw(git status --porcelain --untracked-files=no));
	chomp $id;
	return $id . ($changes ne '' ? '+' : '');
}

sub read_config
{
	my ($dir) = @_;
	open my $file, '<', "$dir/config.json" or die "bench: $dir/config.json: $!\n";
	local $/;
	return JSON::PP::decode_json(<$file>);
}

# Read the checkpoint once, so that no conversion waits for the disk.
sub warm
{
	my ($dir) = @_;
	for my $name (glob "\Q$dir\E/*.safetensors")
	{
		open my $file, '<:raw', $name or die "bench: $name: $!\n";
		1 while sysread $file, my $buffer, 1 << 22;
	}
}

1;
