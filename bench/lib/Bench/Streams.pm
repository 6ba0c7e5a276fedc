# Streams.pm
#    Sessions that each read a stream of tokens through a cursor, row by row, and when each row came.
package Bench::Streams;
use strict;
use warnings;
use Encode ();
use IO::Select;
use IPC::Open3 ();
use Time::HiRes 'time';

# $n sessions that are connected.
sub new
{
	my ($class, $n) = @_;
	my $self = bless { clients => [], select => IO::Select->new }, $class;
	for (1 .. $n)
	{
		my $client = {};
		open my $null, '>', '/dev/null' or die "bench: /dev/null: $!\n";
		$client->{pid} = IPC::Open3::open3($client->{to}, $client->{from}, '>&' . fileno($null),
			$ENV{BENCH_PSQL}, qw(-X -A -t -q -v ON_ERROR_STOP=1));
		$client->{to}->autoflush(1);
		push @{ $self->{clients} }, $client;
		$self->{select}->add($client->{from});
		$self->{by_handle}{ $client->{from} } = $client;
	}
	return $self;
}

# Give session $i calls of polyko_generate_stream, one after the other: pairs of SQL and the rows
# that it gives.
sub give
{
	my ($self, $i, @calls) = @_;
	my $client = $self->{clients}[$i];
	$client->{todo} = [@calls];
	next_call($client);
	return;
}

sub next_call
{
	my ($client) = @_;
	my $call = shift @{ $client->{todo} };
	$client->{now} = undef;
	return unless $call;
	my ($sql, $n_rows) = @$call;
	$client->{now} = { begin => time, rows => [], n => $n_rows };
	push @{ $client->{done} }, $client->{now};
	say_to($client, "BEGIN; DECLARE c CURSOR FOR SELECT ($sql).pos; FETCH 1 FROM c;");
	return;
}

sub say_to
{
	my ($client, $sql) = @_;
	local $SIG{PIPE} = 'IGNORE';
	print { $client->{to} } Encode::encode('UTF-8', "$sql\n");
	return;
}

# Read rows until all calls are done, or $is_over->() is true; it is asked after each wait.
sub run
{
	my ($self, $is_over) = @_;
	while (grep { $_->{now} } @{ $self->{clients} })
	{
		for my $handle ($self->{select}->can_read(0.05))
		{
			take($self->{by_handle}{$handle});
		}
		last if $is_over && $is_over->();
	}
	return;
}

sub take
{
	my ($client) = @_;
	my $now = $client->{now};
	sysread($client->{from}, $client->{text}, 1 << 16, length($client->{text} // ''))
	  or die "bench: a session with a stream has ended\n";
	while ($client->{text} =~ s/^(\d+)\n//)
	{
		push @{ $now->{rows} }, time;
		if (@{ $now->{rows} } < $now->{n})
		{
			say_to($client, 'FETCH 1 FROM c;');
			next;
		}
		say_to($client, 'COMMIT;');
		next_call($client);
	}
	return;
}

# All calls so far: { begin, rows: when each came }, in seconds since the epoch.
sub calls
{
	my ($self) = @_;
	return map { @{ $_->{done} // [] } } @{ $self->{clients} };
}

# Times between rows that came within [$from, $to].
sub gaps
{
	my ($self, $from, $to) = @_;
	my @gaps;
	for my $call ($self->calls)
	{
		my $rows = $call->{rows};
		push @gaps, map { $rows->[$_] - $rows->[ $_ - 1 ] }
		  grep { $rows->[$_] >= $from && $rows->[$_] <= $to } 1 .. $#$rows;
	}
	return @gaps;
}

# Whoever still computes is cancelled by the end of its session.
sub DESTROY
{
	my ($self) = @_;
	local $?;
	for my $client (@{ $self->{clients} })
	{
		kill 'TERM', $client->{pid} if $client->{now};
		close $client->{to};
		waitpid $client->{pid}, 0;
	}
	return;
}

1;
