# 009_once.pl
#    One run per question, in each way a client can ask. Runs are counted in the server's log.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('once');
$node->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
$node->append_conf('postgresql.conf', "log_min_messages = debug1\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION polyko;
	CREATE FUNCTION distance(a real[], b real[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS
		'SELECT sqrt(sum((x - y)::float8 * (x - y))) FROM unnest(a, b) AS t(x, y)';
	CREATE TABLE docs AS SELECT i AS id, polyko_embed('문서 ' || (i % 5)) AS v FROM generate_series(1, 1000) AS i;
	ANALYZE docs;});

my $nearest = "SELECT id FROM docs ORDER BY distance(v, polyko_embed(%s)) LIMIT 5";

is(runs_of(sub { $node->safe_psql('postgres', sprintf($nearest, "'가까운 문서'")) }),
	1, 'a nearest-neighbour query over 1,000 rows runs the model once');
is(runs_of(sub { $node->safe_psql('postgres', sprintf($nearest, "'가까운 문서', 'polyko_tiny'")) }),
	1, 'also when the model is named and the planner may compute the call');
is(runs_of(sub { $node->safe_psql('postgres', 'EXPLAIN ' . sprintf($nearest, "'가', 'polyko_tiny'") . ';'
			. sprintf($nearest, "'가', 'polyko_tiny'")) }),
	2, 'two transactions, two runs');
is(runs_of(sub { $node->safe_psql('postgres', 'PREPARE q(text) AS ' . sprintf($nearest, '$1')
			. "; EXECUTE q('준비된 문서')") }),
	1, 'a prepared statement with a plan of its own');
is(runs_of(sub { $node->safe_psql('postgres', 'SET plan_cache_mode = force_generic_plan; PREPARE q(text) AS '
			. sprintf($nearest, '$1') . "; EXECUTE q('준비된 문서')") }),
	1, 'and with a generic plan');
foreach my $protocol ('simple', 'extended', 'prepared')
{
	is(runs_of(sub { pgbench($protocol, "\\set q 5\n" . sprintf($nearest, ':q::text') . ";\n") }),
		1, "the $protocol protocol");
}
is(runs_of(sub { $node->safe_psql('postgres',
			"SELECT polyko_generate('가', max_tokens => 2) FROM generate_series(1, 100)") }),
	1, 'a hundred rows with one question');
is(runs_of(sub { $node->safe_psql('postgres',
			"SELECT count(polyko_embed(i::text)) FROM generate_series(1, 7) AS i") }),
	7, 'seven questions are seven runs');

$node->stop;
done_testing();

sub runs_of
{
	my ($ask) = @_;
	my $begin = -s $node->logfile;

	$ask->();
	my $log = substr(slurp_file($node->logfile), $begin);
	return scalar(() = $log =~ /polyko: model run/g);
}

sub pgbench
{
	my ($protocol, $script) = @_;
	my $file = $node->basedir . '/script.sql';

	append_to_file($file . $protocol, $script);
	$node->command_ok([ 'pgbench', '-n', '-t', '1', '-M', $protocol, '-f', $file . $protocol, 'postgres' ],
		"pgbench, $protocol");
}
