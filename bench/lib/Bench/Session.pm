# Session.pm
#    A session of the throw-away cluster: psql at the other end of two pipes.
package Bench::Session;
use strict;
use warnings;
use Encode ();
use IO::Select;
use IPC::Open3 ();
use Time::HiRes 'time';

my $MARK   = 'bench-answer-ends-here';
my $POLL_S = 0.02;

# $port: another cluster than that of PGPORT
sub new
{
	my ($class, $port) = @_;
	local $ENV{PGPORT} = $port // $ENV{PGPORT};
	open my $errors, '+>', undef or die "bench: no temporary file: $!\n";
	my $self = bless { errors => $errors }, $class;
	$self->{pid} = IPC::Open3::open3(
		$self->{to}, $self->{from}, '>&' . fileno($errors),
		$ENV{BENCH_PSQL}, qw(-X -A -t -q -v ON_ERROR_STOP=1));
	$self->{to}->autoflush(1);
	$self->{backend} = $self->query('SELECT pg_backend_pid()');
	return $self;
}

# The rows of a statement, without the last line feed. While the answer is awaited,
# $while_waiting (if given) is called again and again.
sub query
{
	my ($self, $sql, $while_waiting) = @_;
	my $select = IO::Select->new($self->{from});
	my $answer = '';
	local $SIG{PIPE} = 'IGNORE';
	print { $self->{to} } Encode::encode('UTF-8', "$sql;\n\\echo $MARK\n");
	until ($answer =~ s/(?:^|\n)\Q$MARK\E\n\z//)
	{
		if ($while_waiting && !$select->can_read($POLL_S))
		{
			$while_waiting->();
			next;
		}
		sysread($self->{from}, $answer, 1 << 16, length $answer) or $self->fail($sql);
	}
	return Encode::decode('UTF-8', $answer);
}

# Seconds that a statement takes, seen from the client.
sub seconds
{
	my ($self, $sql, $while_waiting) = @_;
	my $begin = time;
	$self->query($sql, $while_waiting);
	return time - $begin;
}

sub fail
{
	my ($self, $sql) = @_;
	seek $self->{errors}, 0, 0;
	my $complaints = do { local $/; readline $self->{errors} } // '';
	die "\nbench: this statement failed: " . substr($sql, 0, 200) . "\n$complaints";
}

# (resident, private) memory of the backend in MB, or nothing where the kernel doesn't tell.
sub memory_mb
{
	my ($self) = @_;
	open my $file, '<', "/proc/$self->{backend}/smaps_rollup" or return;
	my %kb;
	while (<$file>)
	{
		$kb{$1} += $2 if /^(Rss|Private)(?:_Clean|_Dirty)?:\s+(\d+) kB/;
	}
	return unless defined $kb{Rss};
	return map { $kb{$_} * 1024 / 1e6 } qw(Rss Private);
}

sub DESTROY
{
	my ($self) = @_;
	local $?;
	close $self->{to} if $self->{to};
	waitpid $self->{pid}, 0 if $self->{pid};
}

1;
