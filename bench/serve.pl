#!/usr/bin/env perl
# serve.pl
#    Measures what many clients, and statements over many rows, get from the engine program, and
#    llama-server beside it where it is found. Called by run.sh serve, which has built everything
#    and started two clusters: one with polyko preloaded, one without.
#
# Each run takes every part once. A measurement goes to build/bench-serve/results.csv at once.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";

use Bench::LlamaServer;
use Bench::Machine;
use Bench::Results;
use Bench::ServeReport;
use Bench::Serving;
use Bench::Session;
use Bench::Texts;
use Bench::Turn;

my $RESULTS = 'build/bench-serve';
my @PARTS   = qw(alone clients streams prompt rows embed prefix requests);

$| = 1;
my $plan    = read_plan();
my $results = Bench::Results->create("$RESULTS/results.csv", facts());
my $serving = Bench::Serving->new($plan);
my ($llama) = Bench::LlamaServer::find($plan);

prepare();
for my $run (1 .. $plan->{runs})
{
	one_part($run, $_) for @{ $plan->{parts} };
}
$llama->stop if $llama;
print "\n", Bench::ServeReport::write($RESULTS);

sub read_plan
{
	my $is_quick = $ENV{BENCH_QUICK} ? 1 : 0;
	my %plan     = (
		threads  => number('BENCH_THREADS', 1),
		runs     => number('BENCH_RUNS', $is_quick ? 1 : 3),
		format   => $ENV{BENCH_QUANTS} || 'q8',
		parts    => [ split ' ', $ENV{BENCH_PARTS} || "@PARTS" ],
		n_clients => 16,                      # sessions at a time
		n_tokens => $is_quick ? 16 : 64,      # that each of their requests generates
		n_streams => 8,                       # that run while a long prompt enters
		n_prompt => $is_quick ? 500 : 2000,   # tokens of that prompt
		n_stream => 1000,                     # tokens that each of them has at most
		prefill  => 512,                      # tokens of the prompt that embeddings are compared with
		n_rows   => $is_quick ? 64 : 256,     # of a statement
		row_tokens => $is_quick ? 8 : 32,     # that are generated for a row
		alone_rows => $is_quick ? 8 : 16,     # with polyko.batching off
		n_prefix => $is_quick ? 100 : 500,    # tokens that the prompts of all rows begin with
		prefix_tokens => 8,);

	die "bench: BENCH_QUANTS is $plan{format}; it must be q8 or q4\n"
	  unless $plan{format} =~ /^q[48]$/;
	for my $part (@{ $plan{parts} })
	{
		die "bench: BENCH_PARTS has $part; there are @PARTS\n" unless grep { $_ eq $part } @PARTS;
	}
	$plan{config} = Bench::Machine::read_config($ENV{CHECKPOINT});
	clip(\%plan, $plan{config}{max_position_embeddings});
	return \%plan;
}

# What a short context has room for, beside short texts.
sub clip
{
	my ($plan, $most) = @_;
	my %room = (n_prompt => 1, prefill => 1, n_stream => 100, n_prefix => 100);
	for (keys %room)
	{
		$plan->{$_} = $most - $room{$_} if $plan->{$_} > $most - $room{$_};
	}
	return;
}

sub number
{
	my ($name, $default) = @_;
	my $value = $ENV{$name} || $default;
	die "bench: $name is $value; it must be a number above 0\n" unless $value =~ /^[1-9][0-9]*$/;
	return $value;
}

sub facts
{
	return {
		commit  => Bench::Machine::commit(),
		cpu     => Bench::Machine::cpu(),
		threads => $plan->{threads},
		model   => $ENV{BENCH_MODEL}, };
}

sub prepare
{
	print "bench: preparing\n";
	$serving->prepare($results);
	$llama->start if $llama;
}

# One part of a run. What others compute before it is noted.
sub one_part
{
	my ($run, $part) = @_;
	my $record = sub { $results->add($run, @_) };
	my $turn   = Bench::Turn->new;

	print "bench: run $run of $plan->{runs}: $part\n";
	$record->('busy with others', '', Bench::Machine::busy_percent() // 0, '%');
	for my $contender ($run % 2 ? ($serving, $llama) : ($llama, $serving))
	{
		my $method = $contender && $contender->can("measure_$part") or next;
		$contender->$method($record);
	}
	return;
}
