# Llama.pm
#    llama.cpp in one format: prefill and decode by llama-bench, many rows by llama-batched-bench.
#
# LLAMA_BENCH and LLAMA_BATCHED_BENCH are commands, with arguments if need be; without them the
# programs are looked for in PATH. LLAMA_MODELS is a list FORMAT=PATH, paths as the commands see them.
package Bench::Llama;
use strict;
use warnings;
use Text::ParseWords 'parse_line';

use Bench::Command qw(capture words found);

my $CONTEXT = 4096;
my $PROMPT  = 16;    # tokens before a decode of many rows

# One contender for each model, or none; says why none.
sub find
{
	my ($plan)  = @_;
	my @bench   = command('LLAMA_BENCH', 'llama-bench');
	my @batched = command('LLAMA_BATCHED_BENCH', 'llama-batched-bench');
	my @models  = split ' ', $ENV{LLAMA_MODELS} // '';

	if (!@bench && !@batched)
	{
		print "bench: llama.cpp is not here (LLAMA_BENCH, LLAMA_BATCHED_BENCH): no comparison\n";
		return;
	}
	print "bench: LLAMA_MODELS names no model: no comparison with llama.cpp\n" unless @models;
	return map { new('Bench::Llama', $plan, $_, \@bench, \@batched) } @models;
}

sub new
{
	my ($class, $plan, $model, $bench, $batched) = @_;
	my ($format, $path) = $model =~ /^(\w+)=(.+)$/
	  or die "bench: LLAMA_MODELS has \"$model\", which is not FORMAT=PATH\n";
	return bless {
		plan => $plan, format => $format, path => $path, bench => $bench, batched => $batched,
	}, $class;
}

# A command named by a variable must work; one that is only found in PATH is used.
sub command
{
	my ($variable, $program) = @_;
	my @command = words($ENV{$variable} || '');
	return found($program) ? ($program) : () unless @command;
	my ($status, $out, $complaints) = Bench::Command::run(@command, '--help');
	die "bench: $variable does not run: @command --help\n$complaints" unless $out =~ /-m\b|--model/;
	return @command;
}

sub name { return "llama.cpp $_[0]{format}" }

# Its models are looked at by its own programs, in the first run.
sub prepare { return }

# The prompt that is compared, as polyko reads it.
sub measure_prompt
{
	my ($self, $record) = @_;
	$self->record_bench($record, '-p', $self->{plan}{longest}, '-n', 0);
}

# As many new tokens as polyko.
sub measure_decode
{
	my ($self, $record) = @_;
	$self->record_bench($record, '-p', 0, '-n', $self->{plan}{decode});
}

sub record_bench
{
	my ($self, $record, @options) = @_;
	return unless @{ $self->{bench} };
	my $out = capture(@{ $self->{bench} }, '-m', $self->{path}, '-t', $self->{plan}{threads},
		@options, '-r', 1, '-o', 'csv');
	my @rows = csv_rows($out) or die "\nbench: llama-bench printed no rows:\n$out";
	for my $row (@rows)
	{
		my $what = $row->{n_prompt} > 0 ? "prefill $row->{n_prompt}" : 'decode';
		$record->("llama.cpp $what", $self->{format}, $row->{avg_ts}, 'tokens/s');
	}
}

sub measure_rows
{
	my ($self, $record) = @_;
	my $plan = $self->{plan};
	return unless @{ $self->{batched} };
	my $out = capture(@{ $self->{batched} }, '-m', $self->{path}, '-t', $plan->{threads},
		'-c', $CONTEXT, '-npp', $PROMPT, '-ntg', $plan->{rows_decode},
		'-npl', join ',', 1, @{ $plan->{rows} });
	my @rows = table_rows($out) or die "\nbench: llama-batched-bench printed no table:\n$out";
	for my $row (grep { $_->{B} > 1 } @rows)
	{
		$record->("llama.cpp decode of $row->{B}", $self->{format}, $row->{'S_TG t/s'}, 'tokens/s');
	}
}

# Rows of a CSV with a heading, which other lines may come before.
sub csv_rows
{
	my ($out) = @_;
	my (@names, @rows);
	for my $line (split /\r?\n/, $out)
	{
		my @fields = parse_line(',', 0, $line);
		if (!@names)
		{
			@names = @fields if $line =~ /\bavg_ts\b/;
			next;
		}
		my %row;
		@row{@names} = @fields;
		push @rows, \%row if defined $row{avg_ts} && $row{avg_ts} =~ /^[\d.]+$/;
	}
	return @rows;
}

# Rows of the table | PP | TG | B | ... |.
sub table_rows
{
	my ($out) = @_;
	my (@names, @rows);
	for my $line (grep { /^\|.*\|\s*$/ } split /\r?\n/, $out)
	{
		my @fields = map { s/^\s+|\s+$//gr } split /\|/, $line =~ s/^\||\|\s*$//gr;
		if (!@names)
		{
			@names = @fields if grep { $_ eq 'S_TG t/s' } @fields;
			next;
		}
		my %row;
		@row{@names} = @fields;
		push @rows, \%row if $row{B} =~ /^\d+$/;
	}
	return @rows;
}

1;
