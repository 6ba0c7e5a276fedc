# 017_engine_sessions.pl
#    Sessions that end, are cancelled, come in numbers: the engine program keeps nothing of them.
#
# POLYKO_CANCELS (100): how many statements are cancelled at random.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PolykoTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $N_CANCELS = $ENV{POLYKO_CANCELS} // 100;
my $FREE_S    = 1;       # promised
my $CANCEL_S  = 0.05;    # promised
my $SLACK_S   = 0.3;     # a busy test machine
my $N_MANY    = 100;
my $EACH_KB   = 16384;   # promised, of a session beyond the first
my $GROWTH_KB = 65536;   # beginnings of prompts that are kept, malloc's own scatter, stacks

my @LONG = (
	q{SELECT length(polyko_generate('영화 ' || i, max_tokens => 400, min_tokens => 400)) FROM generate_series(1, 1000) i;},
	q{SELECT count(*) FROM generate_series(1, 1000) i, polyko_generate_stream('영화 ' || i, max_tokens => 400, min_tokens => 400);},
	q{SELECT array_length(polyko_embed(repeat('영화 ', 200) || i), 1) FROM generate_series(1, 3000) i;},
	q{DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM polyko_generate('영화 ' || i, max_tokens => 100, min_tokens => 100); END LOOP; END $$;});
my $SHORT = q{SELECT polyko_generate('영화', max_tokens => 3, min_tokens => 3) IS NOT NULL;};

my $node    = start_engine_node('sessions', 'max_connections = 130');
my $control = session($node);
ask($control, $SHORT);

my $pid = engine($control);
ends_of_sessions();
cursors();
cancels();
other_databases();
many();
is(engine($control), $pid, 'one engine program did all that');
close_session($control);
$node->stop;
done_testing();

sub is_busy
{
	return ask($control, 'SELECT running > 0 FROM pg_stat_polyko_engine;') eq 't';
}

# A backend has got its query: the view may be a moment old, and a cancel that comes before is none.
sub has_begun
{
	my ($backend) = @_;
	return ask($control, "SELECT count(*) FROM pg_stat_activity WHERE pid = $backend AND state = 'active';") eq '1';
}

# Nothing is left: requests that backends count, and what the program holds for them.
sub is_free
{
	return ask($control, 'SELECT requests + running + waiting + kv_used_bytes FROM pg_stat_polyko_engine;') eq '0';
}

sub becomes_free
{
	my ($name) = @_;
	my $took = until_true(20, \&is_free);
	ok(defined $took && $took < $FREE_S + $SLACK_S, "$name: all is free within $FREE_S s")
	  or diag(ask($control, 'SELECT requests, running, waiting, kv_used_bytes FROM pg_stat_polyko_engine;'));
}

sub ends_of_sessions
{
	foreach my $i (0 .. $#LONG)
	{
		foreach my $how ('pg_terminate_backend', 'SIGKILL of psql', 'statement_timeout', 'pg_cancel_backend')
		{
			my $session = session($node);
			my $backend = ask($session, "SELECT pg_backend_pid(); SET client_connection_check_interval = '100ms';");
			ask($session, "SET statement_timeout = '400ms';") if $how eq 'statement_timeout';
			tell_session($session, $LONG[$i]);
			my $runs = until_true(10, sub { $session->{run}->pump_nb; (has_begun($backend) && is_busy()) || $session->{err} =~ /57014|timeout/ });
			ok(defined $runs, "query $i runs");
			ask($control, "SELECT $how($backend);") if $how =~ /^pg_/;
			$session->{run}->signal('KILL') if $how =~ /SIGKILL/;
			until_true(5, sub { ask($control, "SELECT count(*) FROM pg_stat_activity WHERE pid = $backend AND state = 'active';") eq '0' });
			becomes_free("query $i, $how");
			eval { answered($session) } if $how !~ /KILL|terminate/;
			is($session->{err} =~ /ERROR/ ? ask($session, $SHORT) : '', 't', 'the session works on')
			  if $how !~ /KILL|terminate/;
			$session->{run}->kill_kill(grace => 0);
		}
	}
}

# A stream that is read by and by, and left.
sub cursors
{
	my $session = session($node);
	ask($session, "BEGIN; DECLARE c CURSOR FOR SELECT polyko_generate_stream('영화', max_tokens => 450, min_tokens => 450);");
	is(ask($session, "FETCH 1 FROM c \\g /dev/null\nSELECT 1;"), 1, 'a cursor gives a row');
	my $paused = until_true(15, sub { ask($control, "SELECT count(*) FROM pg_stat_polyko_activity WHERE phase = 'paused';") eq '1' });
	ok(defined $paused, 'then its stream waits for its reader');
	is(ask($control, $SHORT), 't', 'others are served');
	is(ask($session, "SAVEPOINT s; FETCH 400 FROM c \\g /dev/null\nSELECT 2;"), 2, 'it goes on');
	ask($session, 'CLOSE c;');
	becomes_free('CLOSE');
	ask($session, 'COMMIT;');

	ask($session, "BEGIN; DECLARE c CURSOR FOR SELECT polyko_generate_stream('영화', max_tokens => 450, min_tokens => 450); FETCH 1 FROM c;");
	ask($session, 'ROLLBACK;');
	becomes_free('ROLLBACK');
	is(ask($session, "SELECT count(*) FROM (SELECT polyko_generate_stream('영화', max_tokens => 450, min_tokens => 450) LIMIT 3) t;"), 3, 'LIMIT');
	becomes_free('LIMIT');
	my $whole = ask($session, "SELECT string_agg(piece, '' ORDER BY pos) = polyko_generate('영화', max_tokens => 450, min_tokens => 450) FROM polyko_generate_stream('영화', max_tokens => 450, min_tokens => 450);");
	is($whole, 't', 'a stream longer than what may wait is whole');
	is($session->{err}, '', 'without an error');
	close_session($session);
}

# A backend opens files of the catalog by and by, which is its own affair.
sub n_sockets { my ($p) = @_; return scalar(grep { (readlink($_) // '') =~ /^socket:/ } glob "/proc/$p/fd/*"); }
sub n_fds  { my ($p) = @_; return scalar(() = glob "/proc/$p/fd/*"); }
sub rss_kb { my ($p) = @_; return (read_file("/proc/$p/smaps_rollup") =~ /^Private_Dirty:\s+(\d+)/m)[0]; }

sub cancels
{
	my @sessions = map { session($node) } 1 .. 4;
	my @backends = map { ask($_, "\\set VERBOSITY verbose\n$SHORT SELECT pg_backend_pid();") =~ s/^t\n//r } @sessions;
	my (@late, @before, $n_cancelled);
	my $seed = time ^ $$;
	srand($seed);
	diag("seed $seed");
	foreach my $i (1 .. $N_CANCELS)
	{
		if ($i == int($N_CANCELS / 5) + 1)
		{
			until_true(5, \&is_free);
			@before = (n_fds($pid), rss_kb($pid), map { n_sockets($_) } @backends);
		}
		my $k = int rand @sessions;
		my $session = $sessions[$k];
		tell_session($session, $LONG[ rand @LONG ]);
		$session->{run}->pump_nb;
		sleep(rand 0.08);
		ask($control, "SELECT pg_cancel_backend($backends[$k]);");
		my $begin = time;
		# it may not have begun when the signal came
		until_true(0.5, sub { $session->{run}->pump_nb; $session->{out} =~ /^done $session->{n}$/m })
		  // ask($control, "SELECT pg_cancel_backend($backends[$k]);");
		my $took = time - $begin;
		answered($session);
		push @late, $took if $took > $CANCEL_S + $SLACK_S && $took < 0.5;
	}
	becomes_free("$N_CANCELS random cancels");
	is(join(' ', map { $_->{err} =~ /ERROR:\s+(\w{5})/g } @sessions) =~ s/57014 ?//gr, '', 'each is 57014');
	cmp_ok(scalar(@late), '<=', $N_CANCELS / 10, 'they are answered in time') or diag("seconds: @late");
	my @after = (n_fds($pid), rss_kb($pid), map { n_sockets($_) } @backends);
	cmp_ok($after[1] - $before[1], '<', $GROWTH_KB, "the program's memory does not grow ($before[1] kB, $after[1] kB)");
	is("@after[0, 2 .. 5]", "@before[0, 2 .. 5]", 'no descriptor is left');
	is(ask($_, $SHORT), 't', 'the session works on') for @sessions;
	close_session($_) for @sessions;
	ok(defined until_true(5, sub { n_fds($pid) <= $before[0] - 4 }), 'their connections are closed when they end');
}

sub other_databases
{
	my @load = map { session($node) } 1 .. 2;
	# without it the server sees only at its next answer that a client has gone
	tell_session($_, "SET client_connection_check_interval = '100ms'; $LONG[0]") for @load;
	until_true(10, sub { $_->{run}->pump_nb for @load; is_busy() });
	ask($control, 'CREATE DATABASE other;');
	my $session = session($node, 'other');
	ask($session, "CREATE EXTENSION polyko; $SHORT");
	close_session($session);
	my $begin = time;
	ask($control, 'DROP DATABASE other;');
	cmp_ok(time - $begin, '<', 2, 'DROP DATABASE does not wait for the engine');
	is($control->{err}, '', 'without an error');

	# models that change and go while they are at work
	my $dir = new_checkpoint('changing');
	model_server($node, 'changing', $dir);
	my $expected = ask($control, "SELECT polyko_generate('영화', 'changing', max_tokens => 20, min_tokens => 20);");
	my $user = session($node);
	tell_session($user, q{DO $$ DECLARE a text; BEGIN FOR i IN 1..60 LOOP
		a := polyko_generate('영화', 'changing', max_tokens => 20, min_tokens => 20, options => '{}');
		PERFORM polyko_generate('영화' || i, 'changing', max_tokens => 20, min_tokens => 20); END LOOP; END $$;});
	sleep(0.2);
	ask($control, "ALTER SERVER changing OPTIONS (ADD quantization 'q4');");
	isnt(ask($control, "SELECT polyko_generate('영화', 'changing', max_tokens => 20, min_tokens => 20);"), '', 'ALTER SERVER at work');
	ask($control, "ALTER SERVER changing OPTIONS (SET quantization 'q8');");
	is(ask($control, "SELECT polyko_generate('영화', 'changing', max_tokens => 20, min_tokens => 20);"), $expected, 'and back');
	ask($control, 'DROP SERVER changing;');
	answered($user);
	like($user->{err}, qr/^$|42704|"changing"/, 'DROP SERVER: the session is told, or was done');
	is(ask($user, $SHORT), 't', 'and works on');
	close_session($user);

	my $extension = session($node);
	ask($extension, 'CREATE DATABASE other2;');
	my $there = session($node, 'other2');
	ask($there, 'CREATE EXTENSION polyko;');
	tell_session($there, $LONG[0]);
	until_true(10, sub { $there->{run}->pump_nb;
			ask($control, "SELECT count(*) > 0 FROM pg_stat_polyko_activity WHERE datname = 'other2';") eq 't' });
	my $dropper = session($node, 'other2');
	tell_session($dropper, "SET lock_timeout = '10s'; DROP EXTENSION polyko CASCADE;");
	sleep(0.3);
	ask($control, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = 'other2' AND query LIKE '%400%';");
	answered($dropper);
	eval { answered($there) };
	is($dropper->{err} =~ s/NOTICE.*//sr, '', 'DROP EXTENSION beside a running call');
	close_session($_) for ($there, $dropper, $extension);
	$_->{run}->kill_kill(grace => 0) for @load;
	becomes_free('the load has gone');
	ask($control, 'DROP DATABASE other2;');
	$control->{err} = '';
}

sub private_kb
{
	my ($p) = @_;
	my $rollup = read_file("/proc/$p/smaps_rollup");
	my ($clean) = $rollup =~ /^Private_Clean:\s+(\d+)/m;
	my ($dirty) = $rollup =~ /^Private_Dirty:\s+(\d+)/m;
	return $clean + $dirty;
}

sub many
{
	my @sessions = map { session($node) } 1 .. $N_MANY;
	my $question = q{SELECT md5(string_agg(polyko_generate('영화', 'polyko_tiny', max_tokens => 8, seed => 1, temperature => 1), ''));};
	my $answer = ask($control, $question);
	tell_session($_, "$question SELECT pg_backend_pid();") for @sessions;
	my %answers;
	my @kb;
	foreach my $session (@sessions)
	{
		my ($got, $backend) = split /\n/, answered($session);
		$answers{$got}++;
		push @kb, private_kb($backend);
	}
	is(join(' ', %answers), "$answer $N_MANY", "$N_MANY sessions get the answer");
	@kb = sort { $a <=> $b } @kb;
	cmp_ok($kb[-1], '<', $EACH_KB, "each has less than $EACH_KB kB of its own, the program aside");
	diag("measured: private memory of a session: median $kb[@kb / 2] kB, most $kb[-1] kB; the program: "
		  . private_kb($pid) . ' kB');
	ok(defined until_true(5, sub { ask($control, 'SELECT sessions FROM pg_stat_polyko_engine;') >= $N_MANY }), 'the view counts them');
	close_session($_) for @sessions;
	ok(defined until_true(5, sub { ask($control, 'SELECT sessions FROM pg_stat_polyko_engine;') <= 2 }), 'and sees them leave');
	becomes_free('many sessions');
}
