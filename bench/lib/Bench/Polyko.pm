# Polyko.pm
#    What is measured of polyko in one format: through SQL, and below it by polyko_cli.
package Bench::Polyko;
use strict;
use warnings;

use Bench::Command qw(capture as_account number_after);
use Bench::Session;

our $SHORT = 8;    # tokens of the prompt before a decode
my $TRIES  = 3;

sub new
{
	my ($class, $plan, $format) = @_;
	return bless { plan => $plan, format => $format, model => model_name($format) }, $class;
}

sub model_name { return "bench_$_[0]" }
sub name       { return $_[0]{format} }

# The server, its image (built by a worker, as for anybody), and what the shares need to know.
sub prepare
{
	my ($self, $session, $results) = @_;
	my ($model, $format) = @$self{qw(model format)};
	my $add = sub { $results->add(0, $_[0], $format, @_[ 1, 2 ]) };

	$session->query("CREATE SERVER $model FOREIGN DATA WRAPPER polyko OPTIONS "
		  . "(path '$ENV{CHECKPOINT}', quantization '$format')");
	$add->('sql convert', $session->seconds("SELECT polyko_load_model('$model')"), 's');
	my $file = $session->query("SELECT file FROM polyko_images WHERE quantization = '$format'");
	$self->{image} = "$ENV{BENCH_DATA}/polyko/$file";
	$self->add_sizes($add);
	my $out = $self->cli('bench', '--prefill', 1, '--decode', 1, '--rows', 1);
	$results->set_tier(number_after(qr/^kernels: (\S+)/m, $out, 'polyko_cli bench'));
}

sub add_sizes
{
	my ($self, $add) = @_;
	my $config = $self->{plan}{config};
	my ($n_layers, $e, $f, $v) =
	  @$config{qw(num_hidden_layers hidden_size intermediate_size vocab_size)};
	my $info = capture(as_account($ENV{BENCH_CLI}, 'info', $self->{image}));
	$add->('model image', number_after(qr/^image_bytes: (\d+)/m, $info, 'info') / 1e6, 'MB');
	$add->('model weights a token',
		number_after(qr/^bytes_per_token: (\d+)/m, $info, 'polyko_cli info') / 1e6, 'MB');
	$add->('model layers a token', 2 * $n_layers * (4 * $e * $e + 2 * $e * $f) / 1e9, 'Gop');
	$add->('model head a token', 2 * $v * $e / 1e9, 'Gop');
}

# The prompt that is compared, through SQL and below.
sub measure_prompt
{
	my ($self, $record) = @_;
	my $n = $self->{plan}{longest};
	$self->prefill_sql($record, $n);
	my $out = $self->cli('bench', '--prefill', $n, '--decode', 1, '--rows', 1);
	$record->("core prefill $n", $self->{format}, rate('prefill', $out), 'tokens/s');
}

# One sequence: prompts of the other lengths.
sub measure_alone
{
	my ($self, $record) = @_;
	my $plan = $self->{plan};
	$self->prefill_sql($record, grep { $_ != $plan->{longest} } @{ $plan->{prompts} });
}

# The session has had a prompt before, as the program below SQL has, so that the memory is there;
# another text, so that nothing of it is reused.
sub prefill_sql
{
	my ($self, $record, @lengths) = @_;
	my $session = $self->session;
	$session->query($self->statement($self->{plan}{warm_prompt}, 1));
	for my $n (@lengths)
	{
		my $seconds = $self->generate($session, $n, 1);
		$record->("sql prefill $n", $self->{format}, $n / $seconds, 'tokens/s');
	}
}

# Through SQL, then below it, between two readings of the bandwidth.
sub measure_decode
{
	my ($self, $record, $machine) = @_;
	my $before = $machine->bandwidth;
	$self->{decoder} //= $self->session;
	$self->decode_sql($self->{decoder}, $record);
	my $out = $self->cli('bench', '--prefill', $SHORT, '--decode', $self->{plan}{decode}, '--rows', 1);
	$record->('core decode', $self->{format}, rate('decode', $out), 'tokens/s');
	$record->('bandwidth', $self->{format}, ($before + $machine->bandwidth) / 2, 'GB/s');
}

# What many tokens take beyond the first. The least of some tries is subtracted, which errs against
# us. Where the clock or the machine makes nonsense of it, there is no figure for this turn.
sub decode_sql
{
	my ($self, $session, $record) = @_;
	my $n       = $self->{plan}{decode};
	my ($first) = sort { $a <=> $b } map { $self->generate($session, $SHORT, 1) } 1 .. $TRIES;
	my $rest    = $self->generate($session, $SHORT, $n + 1) - $first;
	if ($rest <= 0)
	{
		print ' (no figure: many tokens were as fast as one)';
		return;
	}
	$record->('sql decode', $self->{format}, $n / $rest, 'tokens/s');
}

sub measure_rows
{
	my ($self, $record) = @_;
	my $plan = $self->{plan};
	for my $rows (@{ $plan->{rows} })
	{
		my $out =
		  $self->cli('bench', '--prefill', 1, '--decode', $plan->{rows_decode}, '--rows', $rows);
		$record->("core decode of $rows", $self->{format}, rate('decode', $out), 'tokens/s');
	}
}

# Many short texts: embedding in one batch (an argument of an aggregate would go row by row), and the
# tokenizer alone. The longer table makes the tokenizer's statement long against the round trip.
sub measure_texts
{
	my ($self, $record) = @_;
	my ($plan, $format, $model) = @$self{qw(plan format model)};
	my $session = $self->session;
	my $embed =
	  $session->seconds('SELECT sum(cardinality(e)) FROM '
		  . "(SELECT polyko_embed(body, '$model') AS e FROM bench_text OFFSET 0) AS t");
	$record->('sql embed', $format, $plan->{text_tokens} / $embed, 'tokens/s');
	my $count =
	  $session->seconds("SELECT sum(polyko_token_count(body, '$model')) FROM bench_line");
	$record->('sql tokenize', $format, $plan->{line_bytes} / $count / 1e6, 'MB/s');

	my $out = $self->cli('bench', '--texts', "$ENV{BENCH_WORK}/texts");
	$record->('core embed', $format, rate('embed', $out), 'tokens/s');
	$record->('core tokenize', $format,
		number_after(qr{^tokenize: ([\d.]+) MB/s}m, $out, 'polyko_cli bench --texts'), 'MB/s');
}

# A fresh session while another one has the image mapped: its first token, and its memory while
# it computes and afterwards.
sub measure_session
{
	my ($self, $record) = @_;
	my $other = $self->session;
	my $fresh = Bench::Session->new;
	my $first = $fresh->seconds($self->statement($self->{plan}{prompt}{$SHORT}, 1));
	$record->('sql first token', $self->{format}, $first * 1000, 'ms');

	my $most = 0;
	my $look = sub {
		my (undef, $private) = $fresh->memory_mb or return;
		$most = $private if $private > $most;
	};
	$fresh->query($self->statement($self->{plan}{prompt}{$SHORT}, $self->{plan}{decode}), $look);
	$record->('sql private memory at work', $self->{format}, $most, 'MB') if $most > 0;
	my ($resident, $private) = $fresh->memory_mb or return;
	$record->('sql resident memory', $self->{format}, $resident, 'MB');
	$record->('sql private memory', $self->{format}, $private, 'MB');
}

# A session that has loaded the library and mapped the image.
sub session
{
	my ($self)  = @_;
	my $session = Bench::Session->new;
	$self->generate($session, $SHORT, 1);
	return $session;
}

# Seconds for a prompt of $n tokens and $n_new new ones.
sub generate
{
	my ($self, $session, $n, $n_new) = @_;
	return $session->seconds($self->statement($self->{plan}{prompt}{$n}, $n_new));
}

# min_tokens keeps an end token from coming early.
sub statement
{
	my ($self, $prompt, $n_new) = @_;
	return "SELECT polyko_generate('$prompt', '$self->{model}', "
	  . "max_tokens => $n_new, min_tokens => $n_new)";
}

sub cli
{
	my ($self, $command, @options) = @_;
	return capture(as_account($ENV{BENCH_CLI}, $command, $self->{image}, '-t',
			$self->{plan}{threads}, '--kernels', $ENV{BENCH_KERNELS}, @options));
}

# Tokens a second of one line of polyko_cli bench. Its rate and its seconds are rounded: of a slow
# model the seconds say more.
sub rate
{
	my ($what, $out) = @_;
	my ($tokens, $seconds, $rate) = $out =~ m{^$what: .*?(\d+) tokens, ([\d.]+) s, ([\d.]+) tokens/s}m
	  or die "\nbench: polyko_cli bench printed no line \"$what: ... tokens/s\":\n$out";
	return $seconds >= 1 ? $tokens / $seconds : $rate;
}

1;
