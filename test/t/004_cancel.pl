# 004_cancel.pl
#    Everything answers a timeout at once, and the session works on.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $TIMEOUT_MS = 100;
my $ANSWER_MS  = 50;     # promised
my $CLIENT_MS  = 50;     # scheduling, the client, a log line
my $SLACK_MS   = 300;    # a busy test machine may stand still once
my $N_REPEATS  = 10;

my $node = PostgreSQL::Test::Cluster->new('cancel');
$node->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION polyko');

foreach my $tier ('auto', 'scalar')
{
	local $ENV{PGOPTIONS} = "-c polyko.kernels=$tier";

	cancels($tier, 'generating', q{SELECT count(polyko_generate('영화 ' || i, max_tokens => 400,
		min_tokens => 400)) FROM generate_series(1, 1000) AS i});
	cancels($tier, 'streaming', q{SELECT count(*) FROM generate_series(1, 1000) AS i,
		polyko_generate_stream('영화 ' || i, max_tokens => 400, min_tokens => 400)});
	cancels($tier, 'embedding',
		q{SELECT count(polyko_embed(repeat('영화 ', 200) || i)) FROM generate_series(1, 1000) AS i});
}
# The arguments are computed in milliseconds: reading one of this length from a table, which nothing
# interrupts, would take longer than the timeout. The word is just below the limit of 8 MB.
cancels('any', 'tokenizing a long text',
	q{SELECT polyko_token_count(repeat('이 영화는 정말 ', 2000000 + i)) FROM generate_series(1, 100) AS i});
cancels('any', 'tokenizing one long word',
	q{SELECT polyko_token_count(repeat('가', 2700000 + i)) FROM generate_series(1, 100) AS i});
cancels('any', 'listing tokens',
	q{SELECT count(*) FROM generate_series(1, 100) AS i, polyko_tokens(repeat('이 영화는 정말 ', 2000000 + i))});
cancels('any', 'detokenizing',
	q{SELECT count(length(polyko_detokenize(array_fill(100 + i % 500, ARRAY[3000000 + i]))))
		FROM generate_series(1, 1000) AS i});

$node->stop;
done_testing();

sub cancels
{
	my ($tier, $what, $query) = @_;
	my $script = "\\set VERBOSITY sqlstate\nSELECT polyko_generate('가', max_tokens => 1) \\g /dev/null\n"
	  . "SET statement_timeout = $TIMEOUT_MS;\n\\timing on\n";

	$query =~ s/\s+/ /g;
	$script .= "$query \\g /dev/null\n" x $N_REPEATS;
	$script .= "\\timing off\nSET statement_timeout = 0;\nSELECT 'answer', polyko_generate('가', max_tokens => 2) IS NOT NULL;\n";

	my ($rc, $out, $err) = $node->psql('postgres', $script, on_error_stop => 0);
	my @codes = $err =~ /ERROR:\s+(\w+)/g;
	my @times = sort { $a <=> $b } $out =~ /Time: ([0-9.]+) ms/g;

	is_deeply([@codes], [ ('57014') x $N_REPEATS ], "$tier, $what: each of $N_REPEATS ends with 57014");
	cmp_ok($times[$#times / 2], '<', $TIMEOUT_MS + $ANSWER_MS + $CLIENT_MS, "$tier, $what: half of them in time")
	  or diag("times in ms: @times");
	cmp_ok($times[-1], '<', $TIMEOUT_MS + $ANSWER_MS + $SLACK_MS, "$tier, $what: all of them nearly so")
	  or diag("times in ms: @times");
	like($out, qr/answer\|t/, "$tier, $what: the session works on");
}
