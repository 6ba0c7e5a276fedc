# 019_engine_server.pl
#    The server around the engine program: shut down, crashed, copied, replicated, promoted.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PolykoTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $SOCKET = 'pgsql_tmp_polyko_engine.sock';
my $LONG = q{SELECT length(polyko_generate('영화 ' || i, max_tokens => 400, min_tokens => 400)) FROM generate_series(1, 1000) i;};
my $QUESTION = q{SELECT polyko_generate('영화', 'polyko_tiny', max_tokens => 10), polyko_embed('영화', 'polyko_tiny')};

my $node = start_engine_node('server', 'restart_after_crash = on');
my $answer = $node->safe_psql('postgres', $QUESTION);
ok(-S $node->data_dir . "/$SOCKET", 'the socket is in the data directory');
is(sprintf('%o', (stat $node->data_dir . "/$SOCKET")[2] & 0777), '700', 'for the server alone');

shutdowns();
backend_crash();
postmaster_killed();
standby();

$node->stop;
done_testing();

sub engine_of
{
	my ($of) = @_;
	return $of->safe_psql('postgres', 'SELECT coalesce(pid, 0) FROM pg_stat_polyko_engine');
}

# Sessions at work, and the engine program they keep busy.
sub under_load
{
	my @load = map { session($node) } 1 .. 3;
	tell_session($_, $LONG) for @load;
	defined until_true(10, sub { $_->{run}->pump_nb for @load;
			$node->safe_psql('postgres', 'SELECT running > 0 FROM pg_stat_polyko_engine') eq 't' })
	  or die 'no load';
	return (engine_of($node), @load);
}

sub ends
{
	my ($pid, $how) = @_;
	ok(defined until_true(3, sub { !is_alive($pid) }), "$how: the engine program has ended");
}

sub serves
{
	my ($of, $how) = @_;
	is($of->safe_psql('postgres', $QUESTION), $answer, "$how: the same answer");
	ok(defined until_true(10, sub { engine_of($of) ne '0' }), "$how: from an engine program");
}

sub shutdowns
{
	foreach my $mode ('fast', 'immediate')
	{
		my ($pid, @load) = under_load();
		my $begin = time;
		$node->stop($mode);
		cmp_ok(time - $begin, '<', 5, "$mode shutdown under load is not delayed");
		ends($pid, "$mode shutdown");
		ok(!-e $node->data_dir . "/$SOCKET", 'the socket is gone') if $mode eq 'fast';
		is(scalar(() = glob $node->data_dir . '/core*'), 0, 'no core file is left');
		$_->{run}->kill_kill(grace => 0) for @load;
		$node->start;
		serves($node, "after a $mode shutdown");
	}
	# smart: who works goes on, with the engine
	my $session = session($node);
	my $pid = engine_of($node);
	tell_session($session, q{SELECT count(polyko_generate('영화 ' || i, max_tokens => 20)) FROM generate_series(1, 60) i;});
	until_true(10, sub { $session->{run}->pump_nb; $node->safe_psql('postgres', 'SELECT running > 0 FROM pg_stat_polyko_engine') eq 't' });
	my ($in, $out, $err) = ('', '', '');
	my $stop = IPC::Run::start([ 'pg_ctl', '-D', $node->data_dir, '-m', 'smart', '-t', '60', 'stop' ], '<', \$in, '>', \$out, '2>', \$err);
	is(answered($session), '60', 'a smart shutdown lets a statement use the engine to its end');
	close_session($session);
	$stop->finish;
	ends($pid, 'smart shutdown');
	$node->{_pid} = undef;
	$node->start;
	serves($node, 'after a smart shutdown');

	my ($again, @load) = under_load();
	$node->restart;
	ends($again, 'restart');
	$_->{run}->kill_kill(grace => 0) for @load;
	serves($node, 'after a restart');
}

# Any other backend's crash makes the server start all processes anew, ours among them.
sub backend_crash
{
	my ($pid, @load) = under_load();
	my $victim = session($node);
	my $backend = ask($victim, 'SELECT pg_backend_pid();');
	kill 'KILL', $backend;
	ends($pid, 'crash of a backend');
	$_->{run}->kill_kill(grace => 0) for (@load, $victim);
	engine_is_ready($node) or die 'not ready';
	serves($node, 'after the crash of a backend');
	is($node->safe_psql('postgres', 'SELECT requests + running + waiting + kv_used_bytes FROM pg_stat_polyko_engine'), '0',
		'nothing is left of before');
}

sub postmaster_killed
{
	my ($pid, @load) = under_load();
	my $supervisor = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'polyko supervisor'");
	$node->kill9;
	ends($pid, 'SIGKILL of the postmaster');
	ends($supervisor, 'SIGKILL of the postmaster (supervisor)');
	$_->{run}->kill_kill(grace => 0) for @load;
	# all of its backends are gone; its own entry may wait for init, and then its lock files are stale
	sleep(1);
	unlink($node->data_dir . '/postmaster.pid', $node->host . '/.s.PGSQL.' . $node->port . '.lock');
	$node->start;
	serves($node, 'after SIGKILL of the postmaster');
}

# pg_basebackup from a serving server; the standby serves while it is one, and after.
sub standby
{
	$node->safe_psql('postgres', 'CREATE TABLE t AS SELECT 1 AS i');
	my ($pid, @load) = under_load();
	$node->backup('copy');
	my $backup = $node->backup_dir . '/copy';
	ok(!-e "$backup/$SOCKET", 'a base backup has no socket');
	$_->{run}->kill_kill(grace => 0) for @load;

	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'copy', has_streaming => 1);
	$standby->start;
	$node->wait_for_catchup($standby);
	ok(engine_is_ready($standby), 'a standby has an engine program');
	is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'while it is one');
	serves($standby, 'a standby');
	isnt(engine_of($standby), engine_of($node), 'its own');
	kill 'KILL', engine_of($standby);
	sleep(0.3);
	serves($standby, 'a standby whose engine was killed');

	my $session = session($standby);
	tell_session($session, q{SELECT count(polyko_generate('영화 ' || i, max_tokens => 20)) FROM generate_series(1, 60) i;});
	until_true(10, sub { $session->{run}->pump_nb; $standby->safe_psql('postgres', 'SELECT running > 0 FROM pg_stat_polyko_engine') eq 't' });
	$pid = engine_of($standby);
	$standby->promote;
	is(answered($session), '60', 'a statement goes on through promotion');
	close_session($session);
	serves($standby, 'a promoted standby');
	is(engine_of($standby), $pid, 'with the program it had');
	$standby->safe_psql('postgres', "INSERT INTO t VALUES (2); CREATE TABLE labels AS SELECT i, polyko_generate('영화 ' || i, max_tokens => 3) FROM t");
	$standby->stop;
}
