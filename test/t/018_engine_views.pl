# 018_engine_views.pl
#    With the engine program: the same answers, limits that hold, views that tell the truth.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PolykoTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $SHORT = q{SELECT polyko_generate('영화', max_tokens => 3, min_tokens => 3) IS NOT NULL;};
my $LONG  = q{SELECT length(polyko_generate('비밀문장 ' || i, max_tokens => 400, min_tokens => 400)) FROM generate_series(1, 200) i;};

my $node    = start_engine_node('views', "log_statement = none\nlog_min_error_statement = panic");
my $plain   = start_node('plain', "log_statement = none\nlog_min_error_statement = panic");
my $control = session($node);

foreach my $each ($node, $plain)
{
	model_server($each, 'small', golden_dir());
	model_server($each, 'small4', golden_dir(), "quantization 'q4'");
	model_server($each, 'lost', '$sharedir/extension/polyko-tiny');
	model_server($each, 'tiny4', '$sharedir/extension/polyko-tiny', "quantization 'q4'");
	$each->safe_psql('postgres', 'CREATE TABLE t AS SELECT i FROM generate_series(1, 40) i; ANALYZE t;'
		. ' CREATE ROLE app LOGIN; GRANT CREATE ON SCHEMA public TO app; GRANT USAGE ON FOREIGN SERVER small TO app');
}

same_answers();
without_preloading();
counters();
many_roles();
activity();
log_lines();
limits();
kv_cache();
model_memory();
settings();

close_session($control);
$plain->stop;
$node->stop;
done_testing();

sub same_answers
{
	foreach my $model ('polyko_tiny', 'tiny4', 'small', 'small4')
	{
		my $args = "'$model', max_tokens => 12, temperature => 0.8, seed => i";
		my %queries = (
			generate => "SELECT i, polyko_generate('영화 ' || i, $args) FROM t ORDER BY i",
			details  => "SELECT i, polyko_generate_details('영화 ' || i, $args, stop => '{다}') FROM t ORDER BY i",
			embed    => "SELECT i, polyko_embed('문서 ' || i, '$model') FROM t ORDER BY i",
			"last"   => "SELECT i, polyko_embed('문서 ' || i, '$model', pooling => 'last', layer => 1, \"normalize\" => false) FROM t ORDER BY i",
			stream   => "SELECT i, s.* FROM t, polyko_generate_stream('영화 ' || i, $args) s ORDER BY i, pos",
			one      => "SELECT string_agg(polyko_generate('영화 ' || i, $args), '|' ORDER BY i) FROM t",
			whole    => "SELECT polyko_generate('영화', '$model', max_tokens => 2000, min_tokens => 2000)",
			empty    => "SELECT polyko_generate('', '$model', max_tokens => 5), polyko_embed('', '$model')");
		foreach my $what (sort keys %queries)
		{
			my $with = $node->safe_psql('postgres', $queries{$what});
			ok($with ne '' && $with eq $plain->safe_psql('postgres', $queries{$what}),
				"$model, $what: the engine program gives the bytes of the backend");
		}
	}
	foreach my $bad ("polyko_generate(repeat('영화 ', 5000))", "polyko_embed(repeat('영화 ', 5000))",
		"polyko_generate('영화', max_tokens => 0)", "polyko_generate('영화', top_p => 0)",
		"polyko_embed('영화', layer => 99)", "polyko_generate('영화', temperature => -1)")
	{
		my @with = failure($node, "SELECT $bad");
		my @without = failure($plain, "SELECT $bad");
		is($with[0], $without[0], "$bad: the same SQLSTATE ($with[0])");
		s/\n(LOCATION|CONTEXT):.*//s, s/^psql:.*?: // for $with[1], $without[1];
		is($with[1], $without[1], 'the same message and hint');
	}
}

sub without_preloading
{
	foreach my $view (qw(pg_stat_polyko pg_stat_polyko_engine pg_stat_polyko_activity pg_stat_progress_polyko))
	{
		is($plain->safe_psql('postgres', "SELECT count(*) FROM $view"), '0', "$view is empty without preloading");
		is($node->safe_psql('postgres', "SET ROLE app; SELECT count(*) >= 0 FROM $view"), 't', 'anybody may read it');
	}
	is($plain->safe_psql('postgres', 'SELECT polyko_stat_reset()'), '', 'and resetting does nothing');
}

sub counters
{
	is((failure($node, 'SET ROLE app; SELECT polyko_stat_reset()'))[0], '42501', 'not everybody may reset');
	ask($control, 'SELECT polyko_stat_reset();');
	is(ask($control, 'SELECT count(*) FROM pg_stat_polyko;'), '0', 'after a reset nothing is counted');
	$node->safe_psql('postgres', "SET ROLE app; SELECT polyko_generate('영화', 'small', max_tokens => 7, min_tokens => 7) FROM generate_series(1, 3) i WHERE random() >= 0");
	$node->safe_psql('postgres', "SELECT polyko_embed('문서 ' || i, 'small') FROM generate_series(1, 5) i");
	my ($tokens) = $node->safe_psql('postgres', "SELECT sum(polyko_token_count('문서 ' || i, 'small')) FROM generate_series(1, 5) i");
	is(ask($control, "SELECT rolname, datname, model, requests > 0, cancels, errors, generated_tokens / requests FROM pg_stat_polyko WHERE rolname = 'app';"),
		'app|postgres|small|t|0|0|7', 'requests are counted for role, database and model');
	is(ask($control, "SELECT requests, cancels, errors, prompt_tokens, generated_tokens, stats_reset > now() - interval '1 minute' FROM pg_stat_polyko WHERE rolname <> 'app';"),
		"5|0|0|$tokens|0|t", 'embeddings with the tokens of their texts');
	is(ask($control, "SELECT tokens_per_second > 0, queue_time >= 0, run_time > 0, batch_fill >= 1, weight_bytes > 0 FROM pg_stat_polyko WHERE rolname <> 'app';"),
		't|t|t|t|t', 'with times, fill and memory');

	my $session = session($node);
	ask($session, "SET statement_timeout = '300ms'; SELECT polyko_generate('영화 ' || i, 'tiny4', max_tokens => 400, min_tokens => 400) FROM generate_series(1, 50) i;");
	is(ask($control, "SELECT cancels > 0, errors FROM pg_stat_polyko WHERE model = 'tiny4';"), 't|0', 'cancelled requests are counted so');
	ask($session, "SET statement_timeout = 0; BEGIN; DECLARE c CURSOR FOR SELECT polyko_generate_stream('영화', 'lost', max_tokens => 450, min_tokens => 450);");
	ask($session, "FETCH 1 FROM c;");
	kill 'KILL', engine($control);
	sleep(0.3);
	ask($session, "FETCH 400 FROM c;");
	like($session->{err}, qr/was lost/, 'a stream whose program is lost says so');
	ask($session, 'ROLLBACK;');
	is(ask($control, "SELECT requests + cancels + errors FROM pg_stat_polyko WHERE model = 'lost';"), '1', 'and is counted once');
	close_session($session);

	# the same call again, for the row that is returned: while the first row of a hundred is long at
	# work, more rows get their answers than are kept
	$node->safe_psql('postgres', q{CREATE TABLE twice AS SELECT '두 번 ' || i AS body, CASE i % 100 WHEN 1 THEN 60 ELSE 1 END AS n,
		NULL::text AS label FROM generate_series(1, 300) i});
	model_server($node, 'asked', golden_dir());
	is($node->safe_psql('postgres', q{UPDATE twice SET label = polyko_generate(body, 'asked', max_tokens => n, min_tokens => n)
		RETURNING label = polyko_generate(body, 'asked', max_tokens => n, min_tokens => n)}), join("\n", ('t') x 300),
		'RETURNING makes the same calls');
	is(ask($control, "SELECT requests FROM pg_stat_polyko WHERE model = 'asked';"), '300', 'and finds their answers');

	# two models of one name are one row each of the counters
	model_server($node, 'small4', golden_dir(), "quantization 'f16'");
	ask($control, "SELECT polyko_generate('영화', 'small4', max_tokens => 3);");
	ask($control, "ALTER SERVER small4 OPTIONS (SET quantization 'q4'); SELECT polyko_generate('영화', 'small4', max_tokens => 3);");
	until_true(3, sub { ask($control, "SELECT count(*) FROM polyko_stat_models() WHERE model = 'small4';") eq '2' });
	is(ask($control, "SELECT count(*), max(requests) FROM pg_stat_polyko WHERE model = 'small4' AND rolname <> 'app';"), '1|2',
		'two images of one name are one row');
}

# More roles than rows: the one that asked nothing for the longest time gives its row away.
sub many_roles
{
	my $n = 520;    # of 512

	ask($control, "SELECT polyko_stat_reset();");
	ask($control, qq{DO \$\$ BEGIN FOR i IN 1..$n LOOP
		EXECUTE format('CREATE ROLE many_%s', i);
		EXECUTE format('GRANT USAGE ON FOREIGN SERVER small TO many_%s', i);
		END LOOP; END \$\$;});
	ask($control, qq{DO \$\$ BEGIN FOR i IN 1..$n LOOP
		EXECUTE format('SET LOCAL ROLE many_%s', i);
		PERFORM polyko_embed('가' || i, 'small');
		IF i = 300 THEN SET LOCAL ROLE many_1; PERFORM polyko_embed('나', 'small'); END IF;
		END LOOP; END \$\$;});
	is(ask($control, "SELECT count(*), sum(requests) FROM pg_stat_polyko WHERE rolname LIKE 'many_%';"),
		'512|513', 'of 520 roles 512 have a row');
	is(ask($control, "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_stat_polyko WHERE rolname IN ('many_1', 'many_2', 'many_9', 'many_10', 'many_$n');"),
		"many_1 many_10 many_$n", 'those that asked last');
	is(ask($control, 'SELECT uncounted_requests FROM pg_stat_polyko_engine;'), '8', 'what the others had is told in one number');
	ask($control, "DO \$\$ BEGIN FOR i IN 1..$n LOOP EXECUTE format('DROP OWNED BY many_%s', i); EXECUTE format('DROP ROLE many_%s', i); END LOOP; END \$\$;");
	ask($control, 'SELECT polyko_stat_reset();');
}

sub activity
{
	my $session = session($node);
	my $backend = ask($session, 'SELECT pg_backend_pid();');
	tell_session($session, $LONG);
	ok(defined until_true(10, sub { $session->{run}->pump_nb;
				ask($control, "SELECT count(*) > 0 FROM pg_stat_polyko_activity WHERE generated_tokens > 0;") eq 't' }), 'running requests are shown');
	is(ask($control, "SELECT DISTINCT pid = $backend, datname, model, kind, max_tokens, prompt_tokens > 0, age > 0 FROM pg_stat_polyko_activity WHERE phase = 'decode';"),
		't|postgres|polyko_tiny|generate|400|t|t', 'with who, what and how far');
	unlike(ask($control, 'SELECT row_to_json(a) FROM pg_stat_polyko_activity a;'), qr/비밀|문장/, 'never with text');
	like(ask($control, 'SELECT pid, ready, starts > 0, kernels, sessions > 0, requests > 0, running > 0, weight_bytes > 0, kv_max_bytes, kv_used_bytes > 0, problem IS NULL FROM pg_stat_polyko_engine;'),
		qr/^\d+\|t\|t\|\w+\|t\|t\|t\|t\|2147483648\|t\|t$/, 'the engine has a row');
	is(ask($control, "SELECT backend_type, datname IS NULL FROM pg_stat_activity WHERE backend_type = 'polyko supervisor';"), 'polyko supervisor|t', 'the supervisor is seen');
	ask($control, "SELECT pg_cancel_backend($backend);");
	answered($session);
	close_session($session);
}

sub log_lines
{
	my $log = read_file($node->logfile);
	like($log, qr/polyko engine started \(PID \d+\), kernels \w+/, 'the log has a line for the start');
	like($log, qr/polyko engine loaded model "polyko_tiny": \d+ MB in \d+ ms/, 'for a model');
	like($log, qr/polyko engine \(PID \d+\) was ended by signal 9/, 'for an end');
	unlike($log, qr/비밀|문장|영화/, 'and no text');
}

# Calls of a role that is over its limit are refused; a batch reads ahead only as many as fit.
sub limits
{
	my $app = $node->connstr('postgres') . ' user=app';
	$node->safe_psql('postgres', 'ALTER ROLE app SET polyko.max_concurrent_requests = 2');
	$node->safe_psql('postgres', 'CREATE TABLE mine AS SELECT i, NULL::text AS label FROM generate_series(1, 30) i; ALTER TABLE mine OWNER TO app');
	my @of_app = ('-d', $app);
	my @holders = map { session($node, undef, @of_app) } 1 .. 2;
	is(ask($holders[0], "BEGIN; DECLARE a CURSOR FOR SELECT polyko_generate_stream('영화', max_tokens => 400, min_tokens => 400); FETCH 1 FROM a \\g /dev/null\nSELECT 1;"), 1, 'one request of two');
	my $second = session($node, undef, @of_app);
	ask($second, "UPDATE mine SET label = polyko_generate('영화 ' || i, max_tokens => 3);");
	is($second->{err}, '', 'an UPDATE finishes with the place that is left');
	is(ask($second, 'SELECT count(*) FROM mine WHERE label IS NOT NULL;'), 30, 'every row');
	is(ask($holders[1], "BEGIN; DECLARE a CURSOR FOR SELECT polyko_generate_stream('영화', max_tokens => 400, min_tokens => 400); FETCH 1 FROM a \\g /dev/null\nSELECT 1;"), 1, 'two of two');
	ask($second, "\\set VERBOSITY verbose\n$SHORT");
	like($second->{err}, qr/ERROR:  53400: role "app" has 2 requests at work, polyko\.max_concurrent_requests allows 2.*HINT/s, 'the third is 53400 with a hint');
	is(ask($control, $SHORT), 't', 'other roles are not concerned');
	is((failure($node, 'SET polyko.max_concurrent_requests = 0', connstr => $app))[0], '42501', 'the role cannot raise it');

	# what a definer's function asks is on the account of the session that has requests open
	ask($control, "CREATE FUNCTION as_owner() RETURNS text LANGUAGE sql SECURITY DEFINER AS \$\$SELECT polyko_generate('영화', max_tokens => 2)\$\$;");
	$holders[0]{err} = '';
	ask($holders[0], "\\set VERBOSITY verbose\nSAVEPOINT s; SELECT as_owner();");
	like($holders[0]{err}, qr/53400/, 'a SECURITY DEFINER function is no way around');
	is(ask($control, 'SELECT as_owner() IS NOT NULL;'), 't', 'and does not use up its owner\'s');
	close_session($holders[0]);
	$second->{err} = '';
	ok(defined until_true(5, sub { ask($second, $SHORT) eq 't' }), 'when one has ended there is room');
	close_session($_) for ($holders[1], $second);
	ok(defined until_true(5, sub { ask($control, 'SELECT requests FROM pg_stat_polyko_engine;') eq '0' }), 'all places are given back');

	my ($state, $message) = failure($node, "SET polyko.max_tokens_limit = 10; SELECT polyko_generate('영화', max_tokens => 11)");
	like("$state $message", qr/^(53400|22023).*HINT/s, "max_tokens_limit ($state)");
}

sub kv_cache
{
	$node->safe_psql('postgres', "ALTER SYSTEM SET polyko.kv_cache_size = '1MB'");
	$node->reload;
	ok(defined until_true(10, sub { ask($control, $SHORT); ask($control, 'SELECT kv_max_bytes FROM pg_stat_polyko_engine;') eq '1048576' }), 'kv_cache_size changes without a restart');
	fails_with($node, "SELECT polyko_generate(repeat('영화 ', 200), max_tokens => 100)", '53200', qr/./, 'keys and values that can never fit');
	is(ask($control, $SHORT), 't', 'what fits is computed');
	is($node->safe_psql('postgres', "SELECT count(DISTINCT polyko_generate('영화', max_tokens => 20, temperature => 1, seed => i)) > 1 FROM t"), 't', 'many wait for their turn');
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET polyko.kv_cache_size');
	$node->reload;
	ok(defined until_true(10, sub { ask($control, $SHORT); ask($control, 'SELECT kv_max_bytes FROM pg_stat_polyko_engine;') eq '2147483648' }), 'and back');
}

# 10 MB: polyko_tiny in q4 fits, in q8 (11 MB) it does not; both alternate at 15 MB.
sub model_memory
{
	ask($control, "SELECT polyko_generate('영화', 'tiny4', max_tokens => 2), polyko_generate('영화', 'polyko_tiny', max_tokens => 2);");
	$node->safe_psql('postgres', "ALTER SYSTEM SET polyko.model_memory = '15MB'");
	$node->reload;
	my @sessions = map { session($node) } 1 .. 4;
	foreach my $k (0 .. 3)
	{
		my $model = $k % 2 ? 'tiny4' : 'polyko_tiny';
		tell_session($sessions[$k], "SELECT count(polyko_generate('영화 ' || i, '$model', max_tokens => 5)) FROM generate_series(1, 20) i;");
	}
	is(join(' ', map { answered($_) } @sessions), '20 20 20 20', 'two models alternate where one has room');
	is(join('', map { $_->{err} } @sessions), '', 'without an error');
	close_session($_) for @sessions;
	like(read_file($node->logfile), qr/polyko engine unloaded model/, 'the log says so');
	ask($control, 'SELECT pg_sleep(0.3);');
	cmp_ok(ask($control, 'SELECT weight_bytes FROM pg_stat_polyko_engine;'), '<=', 15 << 20, 'the limit is kept');

	ask($control, "SELECT polyko_generate('영화', 'tiny4', max_tokens => 2);");
	$node->safe_psql('postgres', "ALTER SYSTEM SET polyko.model_memory = '8MB'");
	$node->reload;
	sleep(0.3);
	fails_with($node, "SELECT polyko_generate('영화', 'polyko_tiny', max_tokens => 2)", '53200', qr/the model has \d+ MB, all models together may have 8 MB/, 'a model that is larger than the limit');
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET polyko.model_memory');
	$node->reload;
	ok(defined until_true(5, sub { ask($control, $SHORT) eq 't' }), 'and without a limit again');
}

sub nices
{
	my ($pid) = @_;
	my %nice = map { (split ' ', read_file($_) =~ s/^.*\) //sr)[16] => 1 } glob "/proc/$pid/task/*/stat";
	return join(' ', sort keys %nice);
}

sub n_threads { return scalar(() = glob "/proc/$_[0]/task/*"); }

sub settings
{
	my $pid = engine($control);
	is(nices($pid), '5', 'the program is nice');
	my $session = session($node);
	tell_session($session, $LONG);
	until_true(10, sub { $session->{run}->pump_nb; n_threads($pid) > 1 || !1 }) if `nproc` > 1;
	$node->safe_psql('postgres', 'ALTER SYSTEM SET polyko.engine_nice = 9');
	$node->reload;
	ok(defined until_true(10, sub { nices($pid) eq '9' }), 'engine_nice reaches all its threads, while they compute')
	  or diag(nices($pid));
	ask($control, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%비밀%' AND pid <> pg_backend_pid();");
	answered($session);

	$node->safe_psql('postgres', 'ALTER SYSTEM SET polyko.threads = 3');
	$node->reload;
	sleep(0.3);
	tell_session($session, $LONG);
	ok(defined until_true(10, sub { $session->{run}->pump_nb; n_threads($pid) == 3 }), 'threads counts from the next request on')
	  or diag(n_threads($pid));
	close_session($control);
	$control = session($node);
	ask($control, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%비밀%' AND pid <> pg_backend_pid();");
	answered($session);
	close_session($session);
	is(engine($control), $pid, 'all that without a new program');
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
	$node->reload;
}
