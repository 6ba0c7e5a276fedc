# LlamaServer.pm
#    llama-server, asked by many clients at a time; and llama-bench for rows one by one.
#
# LLAMA_SERVER and LLAMA_BENCH are commands, with arguments if need be; LLAMA_MODELS as for make
# bench. The server listens on the loopback address only and ends with the benchmark.
package Bench::LlamaServer;
use strict;
use warnings;
use Encode ();
use HTTP::Tiny;
use JSON::PP ();
use Time::HiRes qw(time sleep);

use Bench::Command qw(capture);
use Bench::Llama;
use Bench::Statistics qw(quantile);

my %FORMAT  = (q8 => 'Q8_0', q4 => 'Q4_0');
my $PORT    = $ENV{LLAMA_PORT} || 18080;
my $URL     = "http://127.0.0.1:$PORT";
my $CONTEXT = 512;                            # tokens of one client
my $START_S = 120;

# The one that is compared, or nothing; says why.
sub find
{
	my ($plan)  = @_;
	my $format  = $FORMAT{ $plan->{format} };
	my ($model) = map { /^\Q$format\E=(.+)$/ ? $1 : () } split ' ', $ENV{LLAMA_MODELS} // '';
	my @server  = Bench::Llama::command('LLAMA_SERVER', 'llama-server');
	my @bench   = Bench::Llama::command('LLAMA_BENCH',  'llama-bench');
	if (!@server || !defined $model)
	{
		print "bench: no llama-server or no model (LLAMA_SERVER, LLAMA_MODELS $format=...): "
		  . "no comparison\n";
		return;
	}
	return bless {
		plan => $plan, format => $format, model => $model, server => \@server, bench => \@bench,
	}, 'Bench::LlamaServer';
}

sub start
{
	my ($self) = @_;
	my $plan    = $self->{plan};
	my @command = (@{ $self->{server} }, '-m', $self->{model}, '-t', $plan->{threads}, '--parallel',
		$plan->{n_clients}, '-c', $plan->{n_clients} * $CONTEXT, '--host', '127.0.0.1', '--port', $PORT);
	$self->{pid} = fork // die "bench: fork: $!\n";
	if ($self->{pid} == 0)
	{
		open STDIN,  '<', '/dev/null';
		open STDOUT, '>', '/dev/null';
		open STDERR, '>', '/dev/null';
		exec @command or exit 127;
	}
	my $http = HTTP::Tiny->new(timeout => 5);
	for (1 .. $START_S)
	{
		return if $http->get("$URL/health")->{success};
		sleep 1;
	}
	die "bench: llama-server did not answer within $START_S s: @command\n";
}

sub stop
{
	my ($self) = @_;
	return unless $self->{pid};
	local $?;
	kill 'TERM', $self->{pid};
	waitpid $self->{pid}, 0;
	delete $self->{pid};
	return;
}

sub DESTROY { $_[0]->stop }

# A request of one client alone, then one of each client at once.
sub measure_clients
{
	my ($self, $record) = @_;
	my ($rate) = $self->clients(1);
	$record->('llama.cpp 1 client', $self->{format}, $rate, 'tokens/s');
	my $n = $self->{plan}{n_clients};
	my @all = $self->clients($n);
	$record->("llama.cpp $n clients", $self->{format}, $all[0], 'tokens/s');
	$record->("llama.cpp first token, $n clients at once", $self->{format}, 1000 * $all[1], 'ms');
	return;
}

# $n clients with a request each: (tokens a second of all, median of seconds to the first token)
sub clients
{
	my ($self, $n) = @_;
	my @pipes;
	my $begin = time;
	for my $i (0 .. $n - 1)
	{
		my $pid = open(my $from, '-|') // die "bench: fork: $!\n";
		if ($pid == 0)
		{
			print join(' ', $self->request($self->{plan}{client_prompts}[$i])), "\n";
			close STDOUT;
			require POSIX;
			POSIX::_exit(0);
		}
		push @pipes, $from;
	}
	my ($tokens, @first) = (0);
	for my $from (@pipes)
	{
		my ($n_tokens, $first) = split ' ', readline($from) // '';
		die "bench: llama-server did not answer a request\n" unless $n_tokens;
		close $from;
		$tokens += $n_tokens;
		push @first, $first;
	}
	return ($tokens / (time - $begin), quantile(0.5, @first));
}

# (tokens, seconds to the first) of one request.
sub request
{
	my ($self, $prompt) = @_;
	my $n = $self->{plan}{n_tokens};
	my $body = JSON::PP::encode_json({
		prompt => $prompt, n_predict => 0 + $n, ignore_eos => JSON::PP::true, temperature => 0,
		stream => JSON::PP::true, cache_prompt => JSON::PP::false });
	my ($begin, $first, $text) = (time, undef, '');
	my $answer = HTTP::Tiny->new(timeout => 300)->post("$URL/completion", {
		headers => { 'Content-Type' => 'application/json' },
		content => $body,
		data_callback => sub { $first //= time; $text .= $_[0] } });
	my ($n_tokens) = $text =~ /"tokens_predicted":(\d+)(?!.*"tokens_predicted")/s;
	return (0, 0) unless $answer->{success} && $n_tokens && $n_tokens == $n;
	return ($n_tokens, $first - $begin);
}

# What a row takes: a prompt and its tokens, one after the other.
sub measure_rows
{
	my ($self, $record) = @_;
	my $plan = $self->{plan};
	return unless @{ $self->{bench} };
	my $n    = $plan->{row_tokens};
	my $p    = int $plan->{row_prompt} + 0.5;
	my $out  = capture(@{ $self->{bench} }, '-m', $self->{model}, '-t', $plan->{threads}, '-p', 0,
		'-n', $n, '-pg', "$p,$n", '-r', 1, '-o', 'csv');
	for my $row (Bench::Llama::csv_rows($out))
	{
		$record->('llama.cpp decode', $self->{format}, $row->{avg_ts}, 'tokens/s')
		  if $row->{n_prompt} == 0;
		$record->('llama.cpp rows one by one', $self->{format}, $row->{avg_ts} * $n / ($p + $n),
			'tokens/s')
		  if $row->{n_prompt} > 0 && $row->{n_gen} > 0;
	}
	return;
}

1;
