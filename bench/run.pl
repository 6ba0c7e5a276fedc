#!/usr/bin/env perl
# run.pl
#    Measures polyko through SQL and below it, and llama.cpp where it is found, in interleaved runs.
#    Called by run.sh, which has built everything and started the cluster.
#
# Each run takes every contender once, so that whatever else the machine does meets all of them; the
# order turns from run to run. Each measurement goes to build/bench/results.csv at once, so that a
# broken run leaves what it has.
#
# What is compared most closely is measured in short turns, three a run, numbered 1, 1.1, 1.2, as
# other guests of the machine change its speed from one moment to the next: decode of one sequence,
# each contender beside a reading of the bandwidth, and the prompt that is compared, with a reading
# of the int8 peak in each turn.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";

use Bench::Llama;
use Bench::Machine;
use Bench::Polyko;
use Bench::Report;
use Bench::Results;
use Bench::Session;
use Bench::Texts;

my $DECODE_ROWS = [ 4, 8, 16 ];
my $N_TURNS     = 3;
my $RESULTS     = 'build/bench';

$| = 1;
my $plan       = read_plan();
my $machine    = Bench::Machine->new($plan);
my @contenders = contenders();
my $results    = Bench::Results->create("$RESULTS/results.csv", facts());

prepare();
one_run($_) for 1 .. $plan->{runs};
print "\n", Bench::Report::write($RESULTS);

sub read_plan
{
	my $is_quick = $ENV{BENCH_QUICK} ? 1 : 0;
	my %plan     = (
		threads => number('BENCH_THREADS', 1),
		runs    => number('BENCH_RUNS', $is_quick ? 2 : 5),
		texts   => number('BENCH_TEXTS', $is_quick ? 100 : 1000),
		decode  => $is_quick ? 16 : 64,
		rows    => $DECODE_ROWS,
		rows_decode => $is_quick ? 8 : 32,
		prompts => $is_quick ? [ 128, 512 ] : [ 128, 512, 2000 ],
		quants  => [ split ' ', $ENV{BENCH_QUANTS} // 'q8 q4 f16' ],);

	for (@{ $plan{quants} })
	{
		die "bench: BENCH_QUANTS has $_; it can be f32, f16, q8, q4\n" unless /^(f32|f16|q8|q4)$/;
	}
	clip_prompts(\%plan);
	return \%plan;
}

sub number
{
	my ($name, $default) = @_;
	my $value = $ENV{$name} || $default;
	die "bench: $name is $value; it must be a number above 0\n" unless $value =~ /^[1-9][0-9]*$/;
	return $value;
}

# A prompt leaves room for one token; a short context makes several lengths the same. The longest of
# at most 512 tokens is compared with the core.
sub clip_prompts
{
	my ($plan) = @_;
	my $config = Bench::Machine::read_config($ENV{CHECKPOINT});
	my $most   = $config->{max_position_embeddings} - 1;
	my %seen;
	$plan->{config}  = $config;
	$plan->{prompts} = [ grep { !$seen{$_}++ } map { $_ < $most ? $_ : $most } @{ $plan->{prompts} } ];
	($plan->{longest}) = sort { $b <=> $a } grep { $_ <= 512 } @{ $plan->{prompts} };
}

# polyko and llama.cpp by turns: q8, Q8_0, q4, Q4_0, ...
sub contenders
{
	my @polyko = map { Bench::Polyko->new($plan, $_) } @{ $plan->{quants} };
	my @llama  = Bench::Llama::find($plan);
	my @mixed;
	while (@polyko || @llama)
	{
		push @mixed, shift @polyko if @polyko;
		push @mixed, shift @llama  if @llama;
	}
	return @mixed;
}

sub facts
{
	return {
		commit  => Bench::Machine::commit(),
		cpu     => Bench::Machine::cpu(),
		threads => $plan->{threads},
		model   => $ENV{BENCH_MODEL}, };
}

# Servers, images, texts; what is the same in all runs is run 0.
sub prepare
{
	my $session = Bench::Session->new;
	$session->query('CREATE EXTENSION polyko');
	$session->query('CREATE TABLE bench_text (body text)');
	$session->query('CREATE TABLE bench_line (body text)');
	Bench::Machine::warm($ENV{CHECKPOINT});
	for my $contender (@contenders)
	{
		print 'bench: preparing ', $contender->name, "\n";
		$contender->prepare($session, $results);
	}
	my $texts = Bench::Texts->new($session, Bench::Polyko::model_name($plan->{quants}[0]));
	$plan->{prompt}{$_} = $texts->prompt($_) for (@{ $plan->{prompts} }, $Bench::Polyko::SHORT);
	$plan->{warm_prompt} = $texts->prompt($plan->{longest});
	$texts->fill_table('bench_text', "$ENV{BENCH_WORK}/texts", $plan->{texts});
	$texts->fill_table('bench_line', "$ENV{BENCH_WORK}/lines", 20 * $plan->{texts});
	$plan->{text_tokens} = $texts->n_tokens('bench_text');
	$plan->{line_bytes}  = $texts->n_bytes('bench_line');
	printf "bench: %d texts, %.1f tokens on average\n", $plan->{texts},
	  $plan->{text_tokens} / $plan->{texts};
}

sub one_run
{
	my ($run)  = @_;
	my $turn   = ($run - 1) % @contenders;
	my @order  = (@contenders[ $turn .. $#contenders ], @contenders[ 0 .. $turn - 1 ]);
	my $record = sub { $results->add($run, @_) };

	print "bench: run $run of $plan->{runs}";
	$record->('bandwidth', '', $machine->bandwidth, 'GB/s');
	decode_turns($run, @order);
	prompt_turns($run, @order);
	my $busy = 0;
	for my $part (qw(alone rows texts session))
	{
		my $now = Bench::Machine::busy_percent() // 0;
		$busy = $now if $now > $busy;
		for my $contender (@order)
		{
			my $method = $contender->can("measure_$part") or next;
			print ', ', $contender->name, " $part";
			$contender->$method($record);
		}
	}
	$record->('busy with others', '', $busy, '%');
	print "\n";
}

sub decode_turns
{
	my ($run, @order) = @_;
	in_turns($run, 'decode', sub { my ($record) = @_; $_->measure_decode($record, $machine) for @order });
}

sub prompt_turns
{
	my ($run, @order) = @_;
	in_turns($run, 'prompt', sub {
		my ($record) = @_;
		$machine->measure_peak($record);
		$_->measure_prompt($record) for @order;
	});
}

sub in_turns
{
	my ($run, $name, $measure) = @_;
	for my $turn (0 .. $N_TURNS - 1)
	{
		print ", $name";
		$measure->(sub { $results->add($turn ? "$run.$turn" : $run, @_) });
	}
}
