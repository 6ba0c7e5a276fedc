# large_model.pl
#    What only a model of real size shows: how long a conversion takes and what memory, how fast a
#    second session answers, and that a cancel is answered within 50 ms of work wherever it comes.
#
#    make check-large CHECKPOINT=DIR        (DIR: a Polyglot-Ko checkpoint, or one of the same
#                                            shapes from test/tools/mkcheckpoint.py 1.3b DIR)
#    QUANTIZATION=q4 instead of q8.
#    POLYKO_CANCELS=N runs N cancels for each tier instead of 100.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $checkpoint = $ENV{CHECKPOINT} or plan skip_all => 'set CHECKPOINT to a directory';
my $quantization = $ENV{QUANTIZATION} // 'q8';
my $n_cancels = $ENV{POLYKO_CANCELS} // 100;

my $CONVERSION_MEMORY_MIB = 512;    # anonymous memory of the worker: what is not page cache
my $SESSION_MEMORY_MIB    = 64;     # private memory that a second session adds
my $FIRST_TOKEN_S         = 1.0;    # connect, map and answer one token with a warm page cache
my $CANCEL_S              = 0.3;    # statement_timeout of 200 ms, 50 ms to notice, 50 ms for psql

my $node = PostgreSQL::Test::Cluster->new('large');
$node->init;
$node->append_conf('postgresql.conf', "log_min_messages = warning\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION polyko');
$node->safe_psql('postgres',
	"CREATE SERVER large FOREIGN DATA WRAPPER polyko
	 OPTIONS (path '$checkpoint', quantization '$quantization')");

conversion_goes_on_after_a_timeout();
first_answers();
a_second_session_is_cheap();
cancels_are_answered($_) for ('auto', 'scalar');

$node->stop;
done_testing();

# A short statement_timeout never keeps a model from loading: the worker goes on.
sub conversion_goes_on_after_a_timeout
{
	my $begin = time;
	my ($rc, $out, $err) =
	  $node->psql('postgres', "\\set VERBOSITY sqlstate\nSET statement_timeout = '2s';\n"
		  . "SELECT polyko_generate('안녕', 'large', max_tokens => 1)");

	like($err, qr/57014/, 'the first call ends with 57014 after its timeout of 2 s');
	my ($peak_mib, $seconds) = watch_conversion($begin);
	diag(sprintf 'measured: conversion: %.1f s, peak anonymous memory %.0f MiB', $seconds, $peak_mib);
	cmp_ok($peak_mib, '>', 0, 'the worker was seen');
	cmp_ok($peak_mib, '<', $CONVERSION_MEMORY_MIB, "conversion took less than $CONVERSION_MEMORY_MIB MiB");
}

# Until the worker has gone: (peak of its RssAnon in MiB, seconds since begin).
sub watch_conversion
{
	my ($begin) = @_;
	my $peak = 0;
	while (time - $begin < 600)
	{
		my @workers = grep { $_ } split /\n/, $node->safe_psql('postgres',
			"SELECT pid FROM pg_stat_activity WHERE backend_type LIKE '%polyko%'");
		@workers = polyko_workers() unless @workers;
		last unless @workers;
		foreach my $pid (@workers)
		{
			my $mib = anonymous_mib($pid);
			$peak = $mib if $mib > $peak;
		}
		sleep 0.2;
	}
	return ($peak, time - $begin);
}

# Workers without a database don't show in pg_stat_activity: look at the process titles.
sub polyko_workers
{
	my $postmaster = $node->safe_psql('postgres',
		"SELECT pg_read_file('postmaster.pid', 0, 20)");
	$postmaster =~ s/\D.*//s;
	my @found;
	foreach my $pid (split ' ', slurp("/proc/$postmaster/task/$postmaster/children"))
	{
		push @found, $pid if slurp("/proc/$pid/cmdline") =~ /polyko/;
	}
	return @found;
}

sub slurp
{
	my ($path) = @_;
	open my $file, '<', $path or return '';
	local $/;
	return <$file> // '';
}

sub anonymous_mib
{
	my ($pid) = @_;
	return slurp("/proc/$pid/status") =~ /RssAnon:\s+(\d+) kB/ ? $1 / 1024 : 0;
}

sub first_answers
{
	my $sql = "SELECT length(polyko_generate('이 영화는 정말', 'large', max_tokens => 32)) > 0,
		cardinality(polyko_embed('재미있는 영화', 'large')) > 0";
	is($node->safe_psql('postgres', $sql), 't|t', 'a later call generates 32 tokens and embeds');

	my $tps = $node->safe_psql('postgres', <<~'SQL');
		DO $$
		DECLARE t0 timestamptz; t1 timestamptz; n int;
		BEGIN
			PERFORM polyko_generate('가', 'large', max_tokens => 1);
			t0 := clock_timestamp();
			SELECT completion_tokens INTO n
			  FROM polyko_generate_details('이 영화는 정말', 'large', max_tokens => 64, min_tokens => 64);
			t1 := clock_timestamp();
			PERFORM set_config('test.tps', round(n / extract(epoch FROM t1 - t0), 1)::text, false);
		END $$;
		SELECT current_setting('test.tps');
		SQL
	diag("measured: decode, one sequence, prompt included: $tps tokens/s");
	cmp_ok($tps, '>', 0, 'decode makes tokens');
}

sub a_second_session_is_cheap
{
	my $first = $node->background_psql('postgres');
	$first->query_safe("SELECT polyko_generate('첫째', 'large', max_tokens => 2)");

	my $second = $node->background_psql('postgres');
	my $pid = $second->query_safe('SELECT pg_backend_pid()');
	my $before = anonymous_mib($pid);
	my $called = time;
	$second->query_safe("SELECT polyko_generate('둘째', 'large', max_tokens => 1)");
	my $first_token_s = time - $called;
	my $grown = anonymous_mib($pid) - $before;
	$second->query_safe("SELECT polyko_generate('둘째 질문입니다', 'large', max_tokens => 32)");
	my $after = anonymous_mib($pid) - $before;

	diag(sprintf 'measured: second session: first token %.2f s, private memory +%.1f MiB, '
		  . 'after 32 tokens +%.1f MiB', $first_token_s, $grown, $after);
	cmp_ok($first_token_s, '<', $FIRST_TOKEN_S, "first token of a second session in $FIRST_TOKEN_S s");
	cmp_ok($after, '<', $SESSION_MEMORY_MIB, "a second session adds less than $SESSION_MEMORY_MIB MiB");
	$first->quit;
	$second->quit;
}

# The same session is cancelled again and again and works on.
sub cancels_are_answered
{
	my ($tier) = @_;
	my $psql = $node->background_psql('postgres', on_error_stop => 0);
	$psql->query_safe("SET polyko.kernels = '$tier'");
	$psql->query_safe("SET statement_timeout = '200ms'");

	my ($worst, $n_57014) = (0, 0);
	for my $i (1 .. $n_cancels)
	{
		my $begin = time;
		$psql->query("\\set VERBOSITY sqlstate\n"
			  . "SELECT polyko_generate(repeat('가', 1500), 'large', max_tokens => 500);");
		my $took = time - $begin;
		$worst = $took if $took > $worst;
		$n_57014++ if $psql->{stderr} =~ /57014/;
		$psql->{stderr} = '';
	}
	diag(sprintf 'measured: %s: %d cancels, the slowest after %.0f ms',
		$tier, $n_cancels, 1000 * $worst);
	is($n_57014, $n_cancels, "$tier: every call ended with 57014");
	cmp_ok($worst, '<', $CANCEL_S, "$tier: every call ended within $CANCEL_S s");
	$psql->query_safe("SET statement_timeout = 0");
	like($psql->query_safe("SELECT polyko_token_count('가나다', 'large')"), qr/^\d+$/,
		"$tier: the session works on");
	$psql->quit;
}
