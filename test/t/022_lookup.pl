# 022_lookup.pl
#    polyko.prompt_lookup_num_tokens: drafted tokens save steps and change no answer, in a backend and
#    in the engine program, in a batch, alone and streamed.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $TABLE = q{CREATE TABLE reviews AS SELECT i AS id,
	'영화 평: 정말 재미있는 영화였다. 별점 ' || i % 5 || '점. 영화 평: 정말 ' AS body
	FROM generate_series(1, 24) AS i};
my $CALL = q{polyko_generate(body, max_tokens => 80, min_tokens => 80, seed => id,
	temperature => CASE WHEN id % 3 = 0 THEN 0.3 ELSE 0 END)};

my $node = PostgreSQL::Test::Cluster->new('lookup');
$node->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
$node->start;
$node->safe_psql('postgres', "CREATE EXTENSION polyko; $TABLE");
my $want = answers(0, "SELECT string_agg(md5($CALL), ' ' ORDER BY id) FROM reviews");
test_host('in a backend');

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'polyko'");
$node->restart;
test_host('in the engine program');

my ($status, $out, $error) =
  $node->psql('postgres', 'SET polyko.prompt_lookup_num_tokens = 16');
like($error, qr/16 is outside the valid range for parameter .*\(0 \.\. 15\)/, 'at most 15 tokens');
$node->stop;
done_testing();

# In a session of its own: answers are kept within one.
sub answers
{
	my ($n_lookup, $sql) = @_;
	return $node->safe_psql('postgres', "SET polyko.prompt_lookup_num_tokens = $n_lookup; $sql");
}

sub test_host
{
	my ($where) = @_;
	my $batch = "WITH answers AS MATERIALIZED (SELECT id, $CALL AS answer FROM reviews)
		SELECT string_agg(md5(answer), ' ' ORDER BY id) FROM answers";
	my $streamed = q{SELECT string_agg(md5(answer), ' ' ORDER BY id) FROM (
		SELECT id, (SELECT string_agg(piece, '') FROM polyko_generate_stream(body, max_tokens => 80,
			min_tokens => 80, seed => id, temperature => CASE WHEN id % 3 = 0 THEN 0.3 ELSE 0 END))
			AS answer FROM reviews) AS r};

	for my $n_lookup (0, 1, 10, 15)
	{
		is(answers($n_lookup, $batch), $want, "$where: a batch, $n_lookup tokens drafted");
	}
	is(answers(15, "SET polyko.batching = off; $batch"), $want, "$where: row by row");
	is(answers(15, $streamed), $want, "$where: streamed");

	my $plain   = explained(0, 'true');
	my $drafted = explained(10, 'true');
	is($plain->{'Drafted Tokens'}, 0, "$where: none is drafted when that is off");
	cmp_ok($drafted->{'Accepted Drafted Tokens'}, '>', 20, "$where: drafts are right often");
	cmp_ok($drafted->{'Drafted Tokens'}, '>=', $drafted->{'Accepted Drafted Tokens'},
		"$where: not more often than there are any");
	is($drafted->{'Generated Tokens'}, $plain->{'Generated Tokens'}, "$where: as many tokens as without");
	is(explained(0, 'id = 1')->{'Model Steps'}, 80, "$where: a step for each token of a text");
	cmp_ok(explained(10, 'id = 1')->{'Model Steps'}, '<', 80, "$where: fewer with drafts");
	return;
}

sub explained
{
	my ($n_lookup, $where) = @_;
	my $plan =
	  answers($n_lookup, "EXPLAIN (ANALYZE, COSTS OFF) SELECT $CALL FROM reviews WHERE $where");
	my %numbers = $plan =~ /^\s*([A-Z][A-Za-z ]+): (\d+)$/mg;
	return \%numbers;
}
