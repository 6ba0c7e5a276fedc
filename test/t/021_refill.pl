# 021_refill.pl
#    Answers of a batch that come early make place for other rows while a long one is computed.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('refill');
$node->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION polyko;
	CREATE TABLE lines AS SELECT i AS id, '글 ' || i AS body, CASE WHEN i % 64 = 1 THEN 60 ELSE 1 END AS n
		FROM generate_series(1, 640) AS i;});
my $explained = $node->safe_psql('postgres', q{
	EXPLAIN (ANALYZE, COSTS OFF)
	UPDATE lines SET body = polyko_generate(body, max_tokens => n, min_tokens => n);});
my ($n_steps) = $explained =~ /Model Steps: (\d+)/;
cmp_ok($n_steps, '<', 300, 'ten long answers are computed together, beside short ones');

$node->stop;
done_testing();
