# 005_stream_wire.pl
#    Row k of the stream is on the wire before token k+2 exists.
#
# No clocks: a lock that somebody else holds stops the server after it has computed token 4 and
# before it may compute token 5. What a client that speaks the protocol itself has received by then
# was sent before token 5 existed.
use strict;
use warnings;

use IO::Select;
use IO::Socket::UNIX;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $SECONDS = $PostgreSQL::Test::Utils::timeout_default // 180;
my $LOCK = 4711;

my $node = PostgreSQL::Test::Cluster->new('wire');
$node->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION polyko');

my $holder = Client->new($node);
$holder->query("SELECT pg_advisory_lock($LOCK)");
$holder->read_until('Z');

my $reader = Client->new($node);
my $stream = "SELECT polyko_generate_stream('이 영화는', 'polyko_tiny', max_tokens => 8, min_tokens => 8) AS s";
$reader->query("SELECT (s).pos, (s).piece, CASE (s).pos WHEN 4 THEN pg_advisory_lock($LOCK)::text END "
	  . "FROM ($stream) AS t");

my @rows = map { [ $reader->read_row ] } 1 .. 3;
is(join(',', map { $_->[0] } @rows), '1,2,3', 'rows 1 to 3 are here while token 5 does not exist');
$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = $LOCK AND NOT granted")
  or die 'the stream never came to row 4';
ok(!$reader->has_data, 'row 4 is not: the server waits for the lock');

$holder->query("SELECT pg_advisory_unlock($LOCK)");
$holder->read_until('Z');
push @rows, [ $reader->read_row ] for 4 .. 8;
is(join('', map { $_->[1] } @rows),
	$node->safe_psql('postgres',
		"SELECT polyko_generate('이 영화는', 'polyko_tiny', max_tokens => 8, min_tokens => 8)"),
	'the pieces are the whole answer');
is($reader->read_until('Z'), 'CZ', 'and the statement ends well');

$node->stop;
done_testing();

# The protocol, as far as this test needs it.
package Client;

sub new
{
	my ($class, $server) = @_;
	my $socket = IO::Socket::UNIX->new(Peer => $server->host . '/.s.PGSQL.' . $server->port)
	  or die "cannot connect: $!";
	my $self = bless { socket => $socket, buffer => '' }, $class;
	my $startup = pack('N', 196608) . join("\0", 'user', scalar(getpwuid($<)), 'database', 'postgres', '', '');

	$self->send_bytes(pack('N', 4 + length $startup) . $startup);
	$self->read_until('Z');
	return $self;
}

sub query
{
	my ($self, $sql) = @_;
	$self->send_bytes('Q' . pack('N', 5 + length $sql) . "$sql\0");
}

sub send_bytes
{
	my ($self, $bytes) = @_;
	syswrite($self->{socket}, $bytes) == length $bytes or die "cannot write: $!";
}

# (type, body) of the next message.
sub read_message
{
	my ($self) = @_;

	while (length $self->{buffer} < 5 || length $self->{buffer} < 1 + unpack('x N', $self->{buffer}))
	{
		IO::Select->new($self->{socket})->can_read($SECONDS) or die 'the server sends nothing';
		sysread($self->{socket}, $self->{buffer}, 65536, length $self->{buffer}) or die 'connection lost';
	}
	my ($type, $length) = unpack('a N', $self->{buffer});
	my $body = substr($self->{buffer}, 5, $length - 4);
	substr($self->{buffer}, 0, 1 + $length) = '';
	die "error: $body" if $type eq 'E';
	return ($type, $body);
}

# Types of messages up to the wanted one.
sub read_until
{
	my ($self, $wanted) = @_;
	my $types = '';

	while (1)
	{
		my ($type) = $self->read_message;
		$types .= $type;
		return $types if $type eq $wanted;
	}
}

# Values of the next row; NULL is undef.
sub read_row
{
	my ($self) = @_;
	my ($type, $body) = $self->read_message;

	($type, $body) = $self->read_message while $type ne 'D';
	my ($n, $at, @values) = (unpack('n', $body), 2);
	foreach (1 .. $n)
	{
		my $length = unpack('l>', substr($body, $at, 4));
		$at += 4;
		push @values, $length < 0 ? undef : substr($body, $at, $length);
		$at += $length if $length > 0;
	}
	return @values;
}

sub has_data
{
	my ($self) = @_;
	return length $self->{buffer} > 0 || IO::Select->new($self->{socket})->can_read(0.2);
}
