# 020_image_files.pl
#    Images that are removed, cut or replaced under sessions and an engine program that have them open;
#    and servers that share an image directory.
use strict;
use warnings;

use Fcntl qw(:flock);
use FindBin;
use lib "$FindBin::RealBin/lib";
use PolykoTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $EMBED = q{SELECT polyko_embed('가나다', 'm');};
my $LONG = q{SELECT count(polyko_generate('영화 ' || i, model => 'm', max_tokens => 20, min_tokens => 20))
	FROM generate_series(1, 100000) i;};
my $TOKENS = q{SELECT sum(polyko_token_count('영화 ' || i, 'm')) FROM (SELECT generate_series(1, 5000000) i) s;};
my $STREAM = q{polyko_generate_stream('영화', model => 'm', max_tokens => 100, min_tokens => 100)};

my $node    = start_engine_node('images');
my $images  = $node->data_dir . '/polyko';
my $session = session($node);
my $control = session($node);
my $started = ask($control, 'SELECT pg_postmaster_start_time();');

my $checkpoint = new_checkpoint('m');
model_server($node, 'm', $checkpoint);
my $good = ask($session, $EMBED);
my ($image) = glob "$images/*.img";

removed();
cut();
cut_at_work($node, $session, $LONG, sub { ask($control, 'SELECT running > 0 FROM pg_stat_polyko_engine;') eq 't' });
my $session_pid = ask($session, 'SELECT pg_backend_pid();');
cut_at_work($node, $session, $TOKENS, sub { is_at_work($node, $session_pid) });
damaged_and_removed();
parts();
two_servers();

is(ask($control, 'SELECT pg_postmaster_start_time();'), $started, 'the server was never restarted');
close_session($_) for $session, $control;
$node->stop;
done_testing();

sub engine_dies
{
	my $pid = engine($control);
	kill 'KILL', $pid;
	until_true(10, sub { engine($control) !~ /^(0|$pid)$/ }) // die 'no new engine program';
}

# Removing an image is always safe: also for a session that has it open when the engine has not.
sub removed
{
	unlink $image or die;
	engine_dies();
	is(ask($session, $EMBED), $good, 'a session whose image was removed has it built anew')
	  or diag($session->{err});
	ok(-e $image, 'there it is');
	foreach my $function (qw(polyko_load_model polyko_verify_model))
	{
		unlink $image or die;
		ask($session, "SELECT $function('m');");
		ok(-e $image, "$function builds it, too");
	}
	is($session->{err}, '', 'without an error');
}

# Reading on from the map would be SIGBUS: the server would restart.
sub cut
{
	my $bytes = read_file($image);
	truncate $image, 4096 or die;
	like(ask($session, q{SELECT polyko_token_count('라마바사', 'm');}), qr/^\d+$/,
		'a session whose image was cut has it built anew');
	like($session->{err}, qr/WARNING:.*damaged/, 'with a warning');
	is(read_file($image), $bytes, 'as it was');
	is(ask($session, $EMBED), $good, 'and computes as before');
	$session->{err} = '';
}

# Neither SIGBUS nor an answer.
sub cut_at_work
{
	my ($cluster, $worker, $statement, $is_running) = @_;
	my $other  = session($cluster);
	my $before = $cluster == $node ? engine($control) : '';
	my $same   = q{SELECT polyko_embed('가나다', 'polyko_tiny');};
	my $answer = ask($other, $same);

	like(ask($worker, q{SELECT polyko_token_count('가나다', 'm');}), qr/^\d+$/, 'a session is well');
	tell_session($worker, $statement);
	until_true(30, sub { $worker->{run}->pump_nb; $is_running->() }) // die 'nothing runs';
	truncate $image, 4096 or die;
	is(ask($other, $same), $answer, 'when the image of one model is cut, another one is computed');
	is(answered($worker), '', 'and the statement at work does not answer');
	like($worker->{err},
		qr/ERROR:  (could not read all of ".*img" while it was in use|".*img" has 4096 bytes.*)\nHINT:.*is built anew/,
		'but says why') or diag($worker->{err});
	$worker->{err} = '';
	is(ask($worker, $EMBED), $good, 'the next one has the image built anew')
	  or diag($worker->{err});
	like($worker->{err}, qr/WARNING:.*damaged/, 'with a warning');
	is(engine($control), $before, 'by the same engine program') if $before ne '';
	is($other->{err}, '', 'nobody else noticed');
	$worker->{err} = '';
	close_session($other);
}

# Requests of another model, by the same engine in the same backend, are not its victims.
sub cut_under_cursor
{
	my ($worker, $other_question, $other_answer) = @_;
	ask($worker, "BEGIN; DECLARE c CURSOR FOR SELECT ($STREAM).token_id; FETCH 1 FROM c;");
	truncate $image, 4096 or die;
	is(ask($worker, $other_question), $other_answer, 'another model is computed beside a stream that can not go on');
	is($worker->{err}, '', 'without an error') or diag($worker->{err});
	ask($worker, 'FETCH ALL FROM c;');
	like($worker->{err}, qr/ERROR:  could not read all of/, 'which the stream gets');
	$worker->{err} = '';
	ask($worker, 'ROLLBACK;');
	is(ask($worker, $EMBED), $good, 'then its image is built anew');
	$worker->{err} = '';
}

# For some time already: its statement is past the planner.
sub is_at_work
{
	my ($cluster, $pid) = @_;
	return $cluster->safe_psql('postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND state = 'active' AND query_start < clock_timestamp() - interval '0.3 s';"
	) eq '1';
}

# The engine has the damaged file mapped, and is asked again at once: it must take the new one.
sub damaged_and_removed
{
	my $bytes = read_file($image);
	my $half  = int(length($bytes) / 2);
	substr($bytes, $half, 4096) = "\x11" x 4096;
	write_file($image, $bytes);
	chmod 0600, $image;
	isnt(ask($session, $EMBED), $good, 'damaged weights give something else');
	ask($session, q{SELECT polyko_verify_model('m');});
	like($session->{err}, qr/checksum/, 'polyko_verify_model finds them');
	unlink $image or die;
	$session->{err} = '';
	is(ask($session, $EMBED), $good, 'the damaged image is removed: all is well at once');
	is(ask($control, $EMBED), $good, 'in other sessions, too');
	is($session->{err}, '', 'without an error');
}

# What is locked is being written, perhaps by another server; what is not, a dead builder left.
sub parts
{
	my @parts = ("$images/pgsql_tmp_polyko_" . 'a' x 32 . '-q8.0123456789abcdef.part',
		"$images/pgsql_tmp_polyko_" . 'b' x 32 . '-q8.fedcba9876543210.aside');
	write_file($_, 'begun') for @parts;
	open my $held, '+<', $parts[0] or die;
	flock $held, LOCK_EX or die;

	is(ask($control, 'SELECT polyko_prune_images();'), '1', 'one of two parts is pruned');
	ok(-e $parts[0] && !-e $parts[1], 'the one that nobody writes');
	write_file($parts[1], 'begun');
	unlink $image or die;
	is(ask($session, $EMBED), $good, 'a model is built beside them');
	ok(-e $parts[0] && !-e $parts[1], 'and what was left is swept');
	close $held;
	is(ask($control, 'SELECT polyko_prune_images();'), '1', 'when its builder is gone the other goes, too');
	is($session->{err} . $control->{err}, '', 'without a word');
}

# They build the same image at the same time.
sub two_servers
{
	my $other = start_node('other', "polyko.image_directory = '$images'\n");
	my $question = q{SELECT polyko_embed('영화', 'polyko_tiny');};
	my @sessions = ($session, session($other));
	my %answers;

	foreach my $round (1 .. 10)
	{
		unlink glob "$images/*";
		tell_session($_, $question) for @sessions;
		$answers{ answered($_) } = 1 for @sessions;
	}
	is(scalar(keys %answers), 1, 'two servers with one image directory answer the same');
	is($sessions[0]{err} . $sessions[1]{err}, '', 'without an error');
	is(scalar(() = glob "$images/*.{part,aside}"), 0, 'and leave no part');
	is(scalar(() = glob "$images/*.img"), 1, 'but one image');

	# the one without an engine program computes from its own map
	truncate((glob "$images/*.img")[0], 4096) or die;
	$answers{ ask($sessions[1], $question) } = 1;
	is(scalar(keys %answers), 1, 'a backend that computes itself sees that its image was cut');

	my $began = ask($sessions[1], 'SELECT pg_postmaster_start_time();');
	my $pid   = ask($sessions[1], 'SELECT pg_backend_pid();');
	model_server($other, 'm', $checkpoint);
	cut_at_work($other, $sessions[1], $LONG, sub { is_at_work($other, $pid) });
	my $reader     = session($other); # one that has computed keeps the tables, and would go on
	my $reader_pid = ask($reader, 'SELECT pg_backend_pid();');
	cut_at_work($other, $reader, $TOKENS, sub { is_at_work($other, $reader_pid) });
	close_session($reader);
	cut_under_cursor($sessions[1], $question, (keys %answers)[0]);
	is(ask($sessions[1], 'SELECT pg_postmaster_start_time();'), $began, 'and also while it computes');
	close_session($sessions[1]);
	$other->stop;
}
