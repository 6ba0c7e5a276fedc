# 003_concurrency.pl
#    Sessions that ask at the same time, from the first use on: one image, one answer.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $N_SESSIONS = 12;

my $node = PostgreSQL::Test::Cluster->new('concurrency');
$node->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION polyko');

my $question = q{SELECT md5(string_agg(polyko_generate('영화 ' || i, 'polyko_tiny', max_tokens => 10,
	temperature => 1, seed => i) || polyko_embed('문서 ' || i)::text, '' ORDER BY i))
	FROM generate_series(1, 10) AS i};
my @sessions;

foreach my $i (1 .. $N_SESSIONS)
{
	my ($in, $out, $err) = ($question, '', '');
	my %session = (out => \$out, err => \$err);
	$session{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', '-' ], \$in, \$out, \$err);
	push @sessions, \%session;
}
IPC::Run::finish($_->{run}) for @sessions;

my %answers = map { (${ $_->{out} } => 1) } @sessions;
is(scalar(keys %answers), 1, "$N_SESSIONS sessions have one answer");
like((keys %answers)[0], qr/^[0-9a-f]{32}$/, 'and it is an answer');
is(join('', map { ${ $_->{err} } } @sessions), '', 'without an error');
is($node->safe_psql('postgres', $question) . "\n", (keys %answers)[0], 'alone it is the same');
is($node->safe_psql('postgres', 'SELECT count(*) FROM polyko_images'), '1', 'one image was built');

$node->stop;
done_testing();
