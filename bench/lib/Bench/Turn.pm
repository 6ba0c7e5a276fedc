# Turn.pm
#    A turn on a machine that others measure on, too: BENCH_TURN is a command that is run around each
#    part of a run. It waits until the machine is free, and then copies its input to its output, as
#    in: BENCH_TURN='flock /tmp/machine.lock cat'.
package Bench::Turn;
use strict;
use warnings;
use IPC::Open2 ();

use Bench::Command 'words';

sub new
{
	my ($class) = @_;
	my @command = words($ENV{BENCH_TURN} || '') or return bless {}, $class;
	my $self = bless {}, $class;
	$self->{pid} = IPC::Open2::open2($self->{from}, $self->{to}, @command);
	$self->{to}->autoflush(1);
	print { $self->{to} } "turn\n";
	my $answer = readline $self->{from};
	die "bench: BENCH_TURN ended without a turn: @command\n" unless defined $answer;
	return $self;
}

sub DESTROY
{
	my ($self) = @_;
	return unless $self->{pid};
	local $?;
	close $self->{to};
	waitpid $self->{pid}, 0;
	return;
}

1;
