# 016_engine.pl
#    The engine program dies in every way, under load: sessions get an error, nobody else notices.
#
# POLYKO_KILLS (20): how often it dies.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PolykoTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $N_KILLS  = $ENV{POLYKO_KILLS} // 20;
my $N_LOAD   = 4;
my $READY_S  = 2;      # promised
my $CANCEL_S = 0.05;   # promised
my $SLACK_S  = 0.3;    # a busy test machine

my $LONG = q{SELECT length(polyko_generate('영화 ' || i, max_tokens => 400, min_tokens => 400))
	FROM generate_series(1, 1000) AS i;};
my $SHORT = q{SELECT polyko_generate('영화', max_tokens => 3, min_tokens => 3) IS NOT NULL;};

my $node    = start_engine_node('engine', 'max_connections = 30');
my $control = session($node);
my $started = ask($control, 'SELECT pg_postmaster_start_time();');

dies_under_load();
dies_at_rest();
starves();
stands_still();
crowded();
supervisor_ends();
program_is_missing();

is(ask($control, 'SELECT pg_postmaster_start_time();'), $started, 'the postmaster is the same');
is(ask($control, $SHORT), 't', 'the first session still works');
close_session($control);
my $log = read_file($node->logfile);
unlike($log, qr/terminating any other active server processes|reinitializing/,
	'the server was never restarted');
unlike($log, qr/PANIC|FATAL:(?!  (terminating|connection to client lost))/,
	'nothing fatal is in the log');
$node->stop;
done_testing();

# A statement with its process and number, and after an error the next one.
sub load_session
{
	my $session = session($node);
	tell_session($session, "\\set VERBOSITY verbose\n" . "$LONG\n" x ($N_KILLS * 2));
	return $session;
}

sub dies_under_load
{
	my @signals = qw(KILL SEGV ABRT);
	my @load = map { load_session() } 1 .. $N_LOAD;
	my $bystander = session($node);
	my $bystander_pid = ask($bystander, 'SELECT pg_backend_pid();');
	my (@ready_s, @wrong);

	tell_session($bystander, q{DO $$ BEGIN FOR i IN 1..300 LOOP
		PERFORM count(*) FROM pg_class; PERFORM polyko_token_count('영화 ' || i);
		PERFORM pg_sleep(0.01); END LOOP; END $$;});
	foreach my $i (0 .. $N_KILLS - 1)
	{
		until_true(5, sub { ask($control, 'SELECT running > 0 FROM pg_stat_polyko_engine;') eq 't' })
		  // push @wrong, "$i: no load";
		sleep(rand 0.1);
		my $pid = engine($control);
		my $begin = time;
		kill $signals[ $i % @signals ], $pid;
		until_true(10, sub { ask($control, "SELECT ready AND pid <> $pid FROM pg_stat_polyko_engine;") eq 't' })
		  // push @wrong, "$i: not ready again";
		push @ready_s, time - $begin;
		push @wrong, "$i: no answer" if ask($control, $SHORT) ne 't';
	}
	is("@wrong", '', "$N_KILLS deaths under load, each followed by a new start");
	@ready_s = sort { $a <=> $b } @ready_s;
	cmp_ok($ready_s[-1], '<', $READY_S, "ready again within $READY_S s");
	diag(sprintf 'measured: ready after %.3f s in the median, %.3f s at most',
		$ready_s[ @ready_s / 2 ], $ready_s[-1]);

	is(ask($control, "SELECT count(*) FROM pg_stat_activity WHERE pid = $bystander_pid;"), 1,
		'a session that does other things is there') if $N_KILLS <= 20;
	is(answered($bystander) . $bystander->{err}, '', 'and did not notice');
	foreach my $session (@load)
	{
		$session->{run}->pump_nb for 1 .. 20;    # what its pipes still hold
		$session->{run}->kill_kill(grace => 0);
		my @states = $session->{err} =~ /ERROR:\s+(\w{5})/g;
		my @hints  = $session->{err} =~ /HINT:  (It is started again)/g;
		my $n_lost = grep { $_ eq '58000' } @states;
		is(join(' ', grep { $_ !~ /58000|57014/ } @states), '', 'a waiting session gets 58000, nothing else')
		  or diag($session->{err});
		cmp_ok($n_lost, '>=', $N_KILLS / 2, "most of the deaths reached it ($n_lost)");
		is(scalar(@hints), $n_lost, 'always with a hint');
	}
}

# The next request of a session that was connected before is answered, without an error.
sub dies_at_rest
{
	my $pid = engine($control);
	ask($control, $SHORT);
	kill 'KILL', $pid;
	# its threads close the connections a little after it counts as dead; the supervisor waits for all
	until_true(5, sub { engine($control) != $pid }) // die 'the supervisor did not see it';
	is(ask($control, $SHORT), 't', 'a session whose connection was lost at rest is served');
	is($control->{err}, '', 'without an error');
}

sub starves
{
	my $prlimit = `sh -c 'command -v prlimit'`;
  SKIP:
	{
		skip 'no prlimit', 3 if $prlimit eq '';
		my (@states, $n_answers);
		foreach my $extra_mb (0, 1, 4, 16, 48)
		{
			my $pid = engine($control);
			my ($kb) = read_file("/proc/$pid/status") =~ /VmSize:\s+(\d+)/;
			my $session = session($node);
			PostgreSQL::Test::Utils::run_log([ 'prlimit', "--pid=$pid", '--as=' . ($kb * 1024 + ($extra_mb << 20)) . ':' ]);
			ask($session, "\\set VERBOSITY verbose\nSET statement_timeout = '60s';"
				. q{SELECT count(polyko_embed(repeat('영화 ', 150) || i)) FROM generate_series(1, 40) AS i;}
				. q{SELECT length(polyko_generate('영화 ' || i, max_tokens => 200, min_tokens => 200)) FROM generate_series(1, 40) AS i;});
			push @states, $session->{err} =~ /ERROR:\s+(\w{5})/g;
			close_session($session);
			kill 'KILL', $pid;
			until_true(5, sub { engine($control) !~ /^(0|$pid)$/ });
		}
		cmp_ok(scalar(@states), '>', 0, "memory runs out (@states)");
		is(join(' ', grep { !/53200|58000/ } @states), '', 'which is 53200, or 58000');
		is(ask($control, $SHORT), 't', 'a new program works');
	}
}

# An engine that does not answer: whoever waits can still be cancelled.
sub stands_still
{
	my $pid = engine($control);
	my $session = session($node);
	ask($session, $SHORT);
	kill 'STOP', $pid;
	my $begin = time;
	ask($session, "\\set VERBOSITY verbose\nSET statement_timeout = '200ms'; $LONG");
	cmp_ok(time - $begin, '<', 0.2 + $CANCEL_S + $SLACK_S, 'statement_timeout ends a wait for an engine that stands still');
	like($session->{err}, qr/57014/, 'with 57014');

	# also where so much waits to be sent that the socket is full
	$session->{err} = '';
	$begin = time;
	ask($session, q{SELECT count(polyko_embed(repeat('영화 ', 250) || i)) FROM generate_series(1, 3000) AS i;});
	cmp_ok(time - $begin, '<', 2.5, 'and when the socket is full');
	like($session->{err}, qr/57014/, 'with 57014');

	$session->{err} = '';
	tell_session($session, "SET statement_timeout = 0; $LONG");
	my $waiting = ask($control, 'SELECT pg_sleep(0.2);'
		. " SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%400%' AND pid <> pg_backend_pid();");
	$waiting =~ s/\s//g;
	$begin = time;
	ask($control, "SELECT pg_cancel_backend($waiting);");
	answered($session);
	cmp_ok(time - $begin, '<', $CANCEL_S + $SLACK_S, 'pg_cancel_backend() too');
	like($session->{err}, qr/57014/, 'with 57014');
	kill 'CONT', $pid;
	is(ask($session, $SHORT), 't', 'when it goes on the session is served');
	is(engine($control), $pid, 'by the same program');
	close_session($session);
}

# How many descriptors the program has, once those of sessions that ended just now are closed.
sub settled_descriptors
{
	my ($pid) = @_;
	my ($n, $before) = (0, -1);
	until_true(10, sub {
		ask($control, $SHORT);
		$before = $n;
		$n = () = glob "/proc/$pid/fd/*";
		sleep(0.3);
		return $n == $before;
	});
	return $n;
}

# More sessions than the program has descriptors for: idle ones give way unnoticed.
sub crowded
{
	my $prlimit = `sh -c 'command -v prlimit'`;
  SKIP:
	{
		skip 'no prlimit', 5 if $prlimit eq '';
		my $pid = engine($control);
		my $n = settled_descriptors($pid);
		my $log = -s $node->logfile;
		PostgreSQL::Test::Utils::run_log([ 'prlimit', "--pid=$pid", '--nofile=' . ($n + 2) . ':' ]);
		my @sessions = map { session($node) } 1 .. 6;
		my @answers = map { ask($_, "\\set VERBOSITY verbose\nSET statement_timeout = '60s'; $SHORT") } @sessions, @sessions;
		is("@answers", 't ' x 11 . 't', 'six sessions are served where there is room for two');
		is(join('', map { $_->{err} } @sessions), '', 'without an error');

		tell_session($_, $LONG) for @sessions[ 0 .. 3 ];
		until_true(10, sub { $_->{run}->pump_nb for @sessions[ 0 .. 3 ]; $sessions[3]{err} ne '' || $sessions[2]{err} ne '' });
		my $errors = join '', map { $_->{err} } @sessions;
		like($errors, qr/ERROR:  53200: .*no file descriptor.*HINT/s, 'who finds all at work is told');
		unlike($errors, qr/58000/, 'and nobody is lost');
		my @noted = substr(read_file($node->logfile), $log) =~ /LOG:  polyko engine \(PID $pid\): no file descriptor is left/g;
		is(scalar(@noted), 1, 'the log says so once');
		$_->{run}->kill_kill(grace => 0) for @sessions;
		kill 'KILL', $pid;
		until_true(5, sub { engine($control) !~ /^(0|$pid)$/ });
	}
}

sub supervisor_ends
{
	my $of_supervisor = "FROM pg_stat_activity WHERE backend_type = 'polyko supervisor';";
	my $supervisor = ask($control, "SELECT pid $of_supervisor");
	my $pid = engine($control);

	ask($control, "SELECT pg_cancel_backend(pid) $of_supervisor");
	sleep(0.3);
	is(engine($control) . ' ' . ask($control, "SELECT pid $of_supervisor"), "$pid $supervisor",
		'pg_cancel_backend() does nothing to the supervisor');

	my $begin = time;
	ask($control, "SELECT pg_terminate_backend(pid) $of_supervisor");
	until_true(5, sub { engine($control) != $pid }) // die 'the supervisor did not end';
	ok(!is_alive($pid), 'the engine ends with its supervisor');
	is(ask($control, $SHORT), 't', 'a request that comes meanwhile waits for the next');
	cmp_ok(time - $begin, '<', 3, 'which is there soon');
	isnt(ask($control, "SELECT pid $of_supervisor"), $supervisor, 'the supervisor came back');
	is($control->{err}, '', 'without an error');

	# The postmaster signals both; here the supervisor wakes when the engine has ended.
	$supervisor = ask($control, "SELECT pid $of_supervisor");
	$pid = engine($control);
	my $log = -s $node->logfile;
	kill 'STOP', $supervisor;
	kill 'TERM', $supervisor, $pid;
	until_true(5, sub { !is_alive($pid) }) // die 'the engine did not end';
	sleep(0.5);    # its threads close the connections a little after it counts as dead
	kill 'CONT', $supervisor;
	until_true(10, sub { engine($control) !~ /^(0|$pid)$/ }) // die 'no new engine program';
	my $told = substr(read_file($node->logfile), $log);
	like($told, qr/polyko engine \(PID $pid\) stopped/, 'an engine that was told to end with it has stopped');
	unlike($told, qr/polyko engine \(PID $pid\) was ended/, 'and did not crash');
}

# A copy of the installation whose program can be taken away.
sub program_is_missing
{
	my $bin  = PostgreSQL::Test::Utils::tempdir() . '/copy';
	my $root = "$bin/root";
	my %dir  = map { my $d = `pg_config --$_`; chomp $d; ($_ => $d) } qw(bindir sharedir pkglibdir);
	foreach my $what (qw(sharedir pkglibdir))
	{
		system('mkdir', '-p', $root . ($dir{$what} =~ s{/[^/]*$}{}r));
		symlink($dir{$what}, "$root$dir{$what}");
	}
	system('mkdir', '-p', "$root$dir{bindir}");
	system('cp', $_, "$root$dir{bindir}/") for map { "$dir{bindir}/$_" } qw(postgres polyko_engine);

	my $other = PostgreSQL::Test::Cluster->new('other');
	$other->init;
	$other->append_conf('postgresql.conf', "shared_preload_libraries = 'polyko'");
	my $program = "$root$dir{bindir}/polyko_engine";
	rename $program, "$program.away";
	PostgreSQL::Test::Utils::system_or_bail('pg_ctl', '-w', '-p', "$root$dir{bindir}/postgres",
		'-D', $other->data_dir, '-l', $other->logfile, 'start');
	$other->_update_pid(1);
	my $session = session($other);
	ask($session, "\\set VERBOSITY verbose\nCREATE EXTENSION polyko;");

	my $begin = time;
	ask($session, $SHORT);
	like($session->{err}, qr/ERROR:  57P03: .*could not be executed.*HINT/s, 'a missing program is 57P03 with a hint')
	  or diag($session->{err});
	cmp_ok(time - $begin, '<', 5, 'soon');
	like(ask($session, 'SELECT problem FROM pg_stat_polyko_engine;'), qr/could not be executed/, 'the view says so');

	$session->{err} = '';
	is(ask($session, q{SET client_min_messages = error;
		CREATE TABLE t AS SELECT i AS id, NULL::text AS label FROM generate_series(1, 5) i;
		ALTER TABLE t ADD PRIMARY KEY (id);
		CALL polyko_update('t', 'label', 'polyko_generate(id::text, max_tokens => 1)', on_error => 'record');
		SELECT count(*) FROM polyko_update_errors;}), '0', 'it is the failure of no row');
	like($session->{err}, qr/ERROR:  57P03/, 'but ends polyko_update()');
	$session->{err} = '';
	is(ask($session, q{SELECT id FROM (SELECT id, polyko_generate(CASE WHEN id > 1 THEN 'a' || id END, max_tokens => 1) FROM t ORDER BY id LIMIT 1) s;}),
		'1', 'a row that asks nothing is returned') or diag($session->{err});

	# READY of another version
	write_file($program, "#!$^X\n" . q{open my $c, '>&=', 3; syswrite $c, pack('LLL', 9, 20, 99) . "\0" x 16; sleep 100;} . "\n");
	chmod 0755, $program;
	$session->{err} = '';
	ask($session, $SHORT);
	like($session->{err}, qr/ERROR:  57P03: .*HINT/s, 'a program of another version too') or diag($session->{err});
	sleep(1.5);
	like(read_file($other->logfile), qr/polyko_engine is of another version than the library/, 'the log names the reason');

	rename "$program.away", $program;
	$session->{err} = '';
	ok(defined until_true(5, sub { ask($session, $SHORT) eq 't' }), 'with the right program all is well, without a restart');
	close_session($session);
	$other->stop;
}
