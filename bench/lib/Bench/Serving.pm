# Serving.pm
#    What is measured of the engine program: many clients, streams, statements over many rows.
#
# Texts are new in each part of each run, since prompts that were computed may be known the next time.
package Bench::Serving;
use strict;
use warnings;
use Time::HiRes 'time';

use Bench::Command qw(capture number_after);
use Bench::Polyko;
use Bench::Session;
use Bench::Statistics qw(quantile);
use Bench::Streams;
use Bench::Texts;

my $ROUNDS     = 3;      # requests of each client
my $QUIET_S    = 6;      # that streams run undisturbed
my $LONGEST_S  = 40;     # and with a long prompt
my $N_PROMPTS  = 1000;
my $N_REQUESTS = 300;
my $DRAFTS     = '-c polyko.prompt_lookup_num_tokens=10';

sub new
{
	my ($class, $plan) = @_;
	$plan->{decode} = $plan->{n_tokens};
	return bless {
		plan => $plan, format => $plan->{format}, polyko => Bench::Polyko->new($plan, $plan->{format}),
		model => Bench::Polyko::model_name($plan->{format}),
	}, $class;
}

sub prepare
{
	my ($self, $results) = @_;
	my $session = $self->{session} = Bench::Session->new;
	my $local   = $self->{local} = Bench::Session->new($ENV{BENCH_LOCAL_PORT});
	my $tiny    = $self->{format} eq 'q8' ? 'q4' : 'q8';    # one image for each format
	for ($session, $local)
	{
		$_->query('CREATE EXTENSION polyko');
		$_->query("CREATE SERVER tiny FOREIGN DATA WRAPPER polyko OPTIONS "
			  . "(path '$ENV{BENCH_TINY}', quantization '$tiny')");
		$_->query("SELECT polyko_load_model('tiny')");
		$_->query('CREATE TABLE bench_request (id int, body text)');
	}
	$session->query('CREATE TABLE bench_prompt (id int PRIMARY KEY, body text)');
	$session->query('CREATE TABLE bench_row (id int PRIMARY KEY, body text, label text, emb real[])');
	$self->{polyko}->prepare($session, $results);
	$self->{texts} = Bench::Texts->new($session, $self->{model});
	$self->{plan}{prompt}{$Bench::Polyko::SHORT} = $self->{texts}->prompt($Bench::Polyko::SHORT);
	$self->fill_rows($_, 'bench_request', $N_REQUESTS) for $session, $local;
	return;
}

# $n rows of short texts that no row had before, each behind what $prefix->() gives.
sub fill_rows
{
	my ($self, $session, $table, $n, $prefix) = @_;
	$prefix //= sub { '' };
	my @values = map { "($_, '" . $prefix->() . $self->new_text . "')" } 1 .. $n;
	$session->query("TRUNCATE $table; INSERT INTO $table (id, body) VALUES " . join ',', @values);
	$session->query("VACUUM ANALYZE $table");
	return;
}

sub new_text
{
	my ($self) = @_;
	my $text;
	do { $text = $self->{texts}->short_text } while $self->{seen}{$text}++;
	return $text;
}

# One sequence through SQL, and below it in the engine that polyko_cli has.
sub measure_alone
{
	my ($self, $record) = @_;
	my $n = $self->{plan}{prefill};
	$self->{plan}{prompt}{$n} = $self->{texts}->prompt($n);
	$self->{plan}{longest}     = $n;
	$self->{plan}{warm_prompt} = $self->{texts}->prompt($n);
	$self->{polyko}->measure_prompt($record);
	return;
}

sub measure_clients
{
	my ($self, $record) = @_;
	my $n = $self->{plan}{n_clients};
	$self->fill_rows($self->{session}, 'bench_prompt', $N_PROMPTS);
	$self->{plan}{client_prompts} = [ map { $self->new_text } 1 .. $n ];
	for my $drafts ('', ', drafts')
	{
		local $ENV{PGOPTIONS} = $drafts ? $DRAFTS : '';
		$self->pgbench($record, 1, "1 client$drafts");
		$self->pgbench($record, $n, "$n clients$drafts");
	}
	return;
}

# Clients of pgbench, each with some requests for texts of the table.
sub pgbench
{
	my ($self, $record, $n_clients, $what) = @_;
	my $n_tokens = $self->{plan}{n_tokens};
	my $script   = "$ENV{BENCH_WORK}/clients.sql";
	open my $file, '>', $script or die "bench: $script: $!\n";
	print $file "\\set i random(1, $N_PROMPTS)\n",
	  "SELECT polyko_generate(body, '$self->{model}', max_tokens => $n_tokens, "
	  . "min_tokens => $n_tokens) FROM bench_prompt WHERE id = :i;\n";
	close $file or die "bench: $script: $!\n";
	my $out = capture($ENV{BENCH_PSQL} =~ s/psql$/pgbench/r,
		'-n', '-c', $n_clients, '-j', 1, '-t', $ROUNDS, '-f', $script);
	my $rate = number_after(qr/^tps = ([\d.]+)/m, $out, 'pgbench');
	$record->("sql $what", $self->{format}, $rate * $n_tokens, 'tokens/s');
	return;
}

# As many clients, which read streams; the first request of each has another length, so that they do
# not begin together again.
sub measure_streams
{
	my ($self, $record) = @_;
	my ($n, $n_tokens) = @{ $self->{plan} }{qw(n_clients n_tokens)};
	my $streams = Bench::Streams->new($n);
	for my $i (0 .. $n - 1)
	{
		my $first = 1 + int $n_tokens * ($i + 1) / $n;
		$streams->give($i, map { $self->stream($self->new_text, $_) } $first, ($n_tokens) x ($ROUNDS - 1));
	}
	$streams->run;
	my @calls = grep { $_->{n} == $n_tokens } $streams->calls;
	my @first = map { 1000 * ($_->{rows}[0] - $_->{begin}) } @calls;
	$self->quantiles($record, "first token, $n clients", @first);
	$self->quantiles($record, "between tokens, $n clients", map { 1000 * $_ } $streams->gaps(0, 1e12));
	return;
}

sub stream
{
	my ($self, $text, $n_tokens) = @_;
	return [ "polyko_generate_stream('$text', '$self->{model}', max_tokens => $n_tokens, "
		  . "min_tokens => $n_tokens)", $n_tokens ];
}

sub quantiles
{
	my ($self, $record, $what, @ms) = @_;
	if (!@ms)
	{
		print "bench: no figure: $what (a small model has done before there is one)\n";
		return;
	}
	$record->("sql $what: median", $self->{format}, quantile(0.5,  @ms), 'ms');
	$record->("sql $what: p99",    $self->{format}, quantile(0.99, @ms), 'ms');
	return;
}

# Streams, undisturbed for a while, then with a long prompt beside them.
sub measure_prompt
{
	my ($self, $record) = @_;
	my ($n, $n_prompt) = @{ $self->{plan} }{qw(n_streams n_prompt)};
	my $prompt  = $self->{texts}->prompt($n_prompt);
	my $streams = Bench::Streams->new($n + 1);
	$streams->give($_, $self->stream($self->new_text, $self->{plan}{n_stream})) for 0 .. $n - 1;
	$streams->run(sub { !grep { @{ $_->{rows} } < 2 } $streams->calls });
	my $begin = time;
	$streams->run(sub { time - $begin >= $QUIET_S });
	my $enter = time;
	$streams->give($n, $self->stream($prompt, 1));
	my ($call) = reverse $streams->calls;
	$streams->run(sub { @{ $call->{rows} } || time - $enter >= $LONGEST_S });
	print "bench: the prompt of $n_prompt tokens did not come to its end\n" unless @{ $call->{rows} };
	my $end = $call->{rows}[0] // time;
	$record->("sql prompt of $n_prompt beside $n streams", $self->{format}, $n_prompt / ($end - $enter),
		'tokens/s');
	$self->quantiles($record, "between tokens, $n streams",
		map { 1000 * $_ } $streams->gaps($begin, $enter));
	$self->quantiles($record, "between tokens, $n streams and a prompt",
		map { 1000 * $_ } $streams->gaps($enter, $end));
	return;
}

# An UPDATE of all rows, and of some of them with batching off, which must give the same.
sub measure_rows
{
	my ($self, $record) = @_;
	my ($n, $n_alone, $n_tokens) = @{ $self->{plan} }{qw(n_rows alone_rows row_tokens)};
	my $set = "label = polyko_generate(body, '$self->{model}', max_tokens => $n_tokens, "
	  . "min_tokens => $n_tokens)";
	$self->fill_rows($self->{session}, 'bench_row', $n);
	$self->{plan}{row_prompt} = $self->{texts}->n_tokens('bench_row') / $n;
	my ($alone, $all) = $self->update_both($set, 'label', $n_alone);
	$record->('sql rows one by one', $self->{format}, $n_alone * $n_tokens / $alone, 'tokens/s');
	$record->('sql rows', $self->{format}, $n * $n_tokens / $all, 'tokens/s');
	return;
}

# Embeddings of all rows, and the prefill that they are compared with.
sub measure_embed
{
	my ($self, $record) = @_;
	my $n       = $self->{plan}{n_rows};
	my $n_alone = 4 * $self->{plan}{alone_rows};
	$n_alone = $n if $n_alone > $n;
	my $prefill = $self->{plan}{prefill};
	$self->{plan}{prompt}{$prefill} = $self->{texts}->prompt($prefill);
	my $seconds = $self->{polyko}->generate($self->{polyko}->session, $prefill, 1);
	$record->("sql prefill $prefill", $self->{format}, $prefill / $seconds, 'tokens/s');
	$self->fill_rows($self->{session}, 'bench_row', $n);
	my $tokens = $self->{texts}->n_tokens('bench_row');
	my $some   = $self->{texts}->n_tokens("bench_row WHERE id <= $n_alone");
	my ($alone, $all) = $self->update_both("emb = polyko_embed(body, '$self->{model}')", 'emb', $n_alone);
	$record->('sql embed one by one', $self->{format}, $some / $alone, 'tokens/s');
	$record->('sql embed',            $self->{format}, $tokens / $all, 'tokens/s');
	return;
}

# Seconds for the first $n_alone rows with batching off, and for all.
sub update_both
{
	my ($self, $set, $column, $n_alone) = @_;
	my $session = $self->{polyko}->session;
	my $hash = sub { $session->query("SELECT md5(string_agg($column\::text, ',' ORDER BY id)) "
			  . "FROM bench_row WHERE id <= $n_alone") };
	$session->query('SET polyko.batching = off');
	my $alone = $session->seconds("UPDATE bench_row SET $set WHERE id <= $n_alone");
	my $once  = $hash->();
	$session->query('RESET polyko.batching');
	my $all = $session->seconds("UPDATE bench_row SET $set");
	die "bench: with batching, $column has other values than without\n" if $hash->() ne $once;
	return ($alone, $all);
}

# Rows whose prompts begin alike, and as long ones that do not. Left out where nothing is reused.
sub measure_prefix
{
	my ($self, $record) = @_;
	my ($n, $n_alone, $n_prefix, $n_tokens) =
	  @{ $self->{plan} }{qw(n_rows alone_rows n_prefix prefix_tokens)};
	my $session = $self->{polyko}->session;
	my $common  = $self->{texts}->prompt($n_prefix) . ' ';
	my $update  = "UPDATE bench_row SET label = polyko_generate(body, '$self->{model}', "
	  . "max_tokens => $n_tokens, min_tokens => $n_tokens)";
	$self->fill_rows($session, 'bench_row', $n, sub { $common });
	my $explained = $session->query("EXPLAIN (ANALYZE, COSTS OFF) $update WHERE id <= 4");
	return unless $explained =~ /Reused Prompt Tokens: [1-9]/;
	my $all = $session->seconds($update);
	$self->fill_rows($session, 'bench_row', $n_alone, sub { $self->{texts}->prompt($n_prefix) . ' ' });
	my $alone = $session->seconds($update);
	$record->('sql rows with a common prefix', $self->{format}, $n / $all,         'rows/s');
	$record->('sql rows of that length',       $self->{format}, $n_alone / $alone, 'rows/s');
	return;
}

# What a request costs beside its computing: polyko-tiny, in the engine program and in the backend.
sub measure_requests
{
	my ($self, $record) = @_;
	for my $n_tokens (1, 16)
	{
		my $call = "polyko_generate(body, 'tiny', max_tokens => $n_tokens, min_tokens => $n_tokens)";
		for ([ 'engine', Bench::Session->new ], [ 'backend', Bench::Session->new($ENV{BENCH_LOCAL_PORT}) ])
		{
			my ($where, $session) = @$_;
			$session->query('SET polyko.batching = off');
			$session->query("SELECT $call FROM bench_request LIMIT 1");
			my $seconds = $session->seconds("SELECT count($call) FROM bench_request");
			$record->("sql request of $n_tokens in the $where", 'tiny', 1e6 * $seconds / $N_REQUESTS, 'us');
		}
	}
	return;
}

1;
