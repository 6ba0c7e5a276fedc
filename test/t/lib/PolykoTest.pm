package PolykoTest;

# What the TAP tests share: clusters, checkpoints to break, and the SQLSTATE of a statement.
#
# Checkpoints are made from the small one in test/golden/neox, in a directory of the test.

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Path qw(make_path);
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(start_node new_checkpoint model_server failure fails_with
  read_file write_file edit_json split_safetensors join_safetensors edit_header golden_dir
  start_engine_node engine_is_ready session tell_session answered ask close_session engine until_true is_alive);

# The repository's small checkpoint.
sub golden_dir
{
	return abs_path(dirname(__FILE__) . '/../../golden/neox');
}

sub start_node
{
	my ($name, $conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(allows_streaming => 1);
	$node->append_conf('postgresql.conf', $conf) if $conf;
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION polyko');
	return $node;
}

# A copy of the small checkpoint that may be broken; returns its directory.
sub new_checkpoint
{
	my ($name) = @_;
	my $dir = abs_path(PostgreSQL::Test::Utils::tempdir()) . "/$name";
	make_path($dir);
	foreach my $file (glob golden_dir() . '/*')
	{
		next if $file =~ /golden\.json$/;
		copy($file, $dir) or die "copy $file: $!";
	}
	return $dir;
}

# A server called $name on $dir.
sub model_server
{
	my ($node, $name, $dir, $options) = @_;
	$options = $options ? ", $options" : '';
	$node->safe_psql('postgres',
		"SET client_min_messages = error; DROP SERVER IF EXISTS $name;\n"
		  . "CREATE SERVER $name FOREIGN DATA WRAPPER polyko OPTIONS (path '$dir'$options)");
}

# (SQLSTATE, whole message with hint) of a statement that fails; ('', '') if it does not.
sub failure
{
	my ($node, $sql, %options) = @_;
	my ($rc, $out, $err) =
	  $node->psql($options{dbname} // 'postgres', "\\set VERBOSITY verbose\n$sql", %options);
	return $err =~ /^.*?(?:ERROR|FATAL):\s+(\w{5}): (.*)/s ? ($1, $2) : ('', '');
}

# The statement fails with this SQLSTATE, a message like $pattern, and a hint.
sub fails_with
{
	my ($node, $sql, $state, $pattern, $name) = @_;
	my ($found, $message) = failure($node, $sql);
	is($found, $state, "$name: $state") or diag($message);
	like($message, $pattern, "$name: the message names it");
	like($message, qr/HINT:/, "$name: there is a hint");
}

sub read_file
{
	my ($path) = @_;
	open my $file, '<:raw', $path or die "open $path: $!";
	local $/;
	return scalar <$file>;
}

sub write_file
{
	my ($path, $bytes) = @_;
	unlink $path;
	open my $file, '>:raw', $path or die "create $path: $!";
	print $file $bytes;
	close $file or die "write $path: $!";
}

# Change a JSON file: $change gets the decoded value.
sub edit_json
{
	my ($path, $change) = @_;
	my $json = JSON::PP->new->utf8;
	my $value = $json->decode(read_file($path));
	$change->($value);
	write_file($path, $json->encode($value));
}

# (header as a hash, data bytes) of a safetensors file.
sub split_safetensors
{
	my ($path) = @_;
	my $bytes = read_file($path);
	my $len = unpack('Q<', $bytes);
	return (JSON::PP->new->utf8->decode(substr($bytes, 8, $len)), substr($bytes, 8 + $len));
}

sub join_safetensors
{
	my ($path, $header, $data) = @_;
	$header = JSON::PP->new->utf8->canonical->encode($header) if ref $header;
	write_file($path, pack('Q<', length $header) . $header . $data);
}

# Change the header of a safetensors file; $change gets (header, \data).
sub edit_header
{
	my ($path, $change) = @_;
	my ($header, $data) = split_safetensors($path);
	$change->($header, \$data);
	join_safetensors($path, $header, $data);
}

# A server with the engine program, which is ready.
sub start_engine_node
{
	my ($name, $conf) = @_;
	my $node =
	  start_node($name, "shared_preload_libraries = 'polyko'\n" . ($conf // ''));
	engine_is_ready($node) or die 'the engine program does not start';
	return $node;
}

# Waits for the engine program, also through a start of the server. The query is not fed through a
# pipe, which a psql that can't connect would break.
sub engine_is_ready
{
	my ($node) = @_;
	my @psql = ('psql', '-XAtqc', 'SELECT ready FROM pg_stat_polyko_engine', '-d', $node->connstr('postgres'));
	my $errors;
	return until_true(60, sub {
			my $out = '';
			IPC::Run::run(\@psql, '<', \undef, '>', \$out, '2>', \$errors) && $out eq "t\n" });
}

# A psql that is kept: tell_session() sends it SQL, answered() waits until all of that was done and
# gives what was printed, ask() does both. {err} collects what went wrong.
sub session
{
	my ($node, $dbname, @options) = @_;
	my %session = (in => '', out => '', err => '', n => 0);
	$session{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr($dbname // 'postgres'), @options ],
		'<', \$session{in}, '>', \$session{out}, '2>', \$session{err},
		IPC::Run::timeout(300));
	return \%session;
}

sub tell_session
{
	my ($session, $sql) = @_;
	$session->{n}++;
	$session->{in} .= "$sql\n\\echo done $session->{n}\n";
	$session->{run}->pump_nb;
}

sub answered
{
	my ($session) = @_;
	$session->{run}->pump until $session->{out} =~ /^done $session->{n}$/m;
	my $out = $session->{out} =~ s/^done \d+\n//mgr;
	$session->{out} = '';
	chomp $out;
	return $out;
}

sub ask
{
	my ($session, $sql) = @_;
	tell_session($session, $sql);
	return answered($session);
}

sub close_session
{
	my ($session) = @_;
	$session->{in} .= "\\q\n";
	return eval { $session->{run}->finish; 1 };
}

# The process of the engine program, 0 if there is none.
sub engine
{
	my ($session) = @_;
	return ask($session, 'SELECT coalesce(pid, 0) FROM pg_stat_polyko_engine;');
}

# Call $test until it is true; the seconds it took, or undef after $limit seconds.
sub until_true
{
	my ($limit, $test) = @_;
	my $begin = time;
	until ($test->())
	{
		return undef if time - $begin > $limit;
		sleep(0.02);
	}
	return time - $begin;
}

# Also true for a process that ended and was not waited for, unless it is one of ours.
sub is_alive
{
	my ($pid) = @_;
	return -d "/proc/$pid" && read_file("/proc/$pid/stat") !~ /\) Z /;
}

1;
