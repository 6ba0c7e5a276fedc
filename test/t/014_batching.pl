# 014_batching.pl
#    Random queries give the same with polyko.batching on and off: rows, their order, errors, and
#    what is in the tables afterwards. And answers that come early make place for other rows. POLYKO_QUERIES and POLYKO_SEED set how many and which.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $n_queries = $ENV{POLYKO_QUERIES} // 300;
my $seed = $ENV{POLYKO_SEED} // 20261124;
srand($seed);
note("seed $seed");

my $node = PostgreSQL::Test::Cluster->new('batching');
$node->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
$node->append_conf('postgresql.conf', "client_min_messages = error\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION polyko;
	CREATE TABLE notes (id int, body text, label text, n int) PARTITION BY RANGE (id);
	CREATE TABLE notes_1 PARTITION OF notes FOR VALUES FROM (0) TO (6);
	CREATE TABLE notes_2 PARTITION OF notes FOR VALUES FROM (6) TO (1000);
	INSERT INTO notes SELECT i, CASE i % 5 WHEN 4 THEN NULL ELSE '이 영화는 ' || i % 7 END,
		CASE i % 3 WHEN 0 THEN '좋음' END, i % 4 FROM generate_series(1, 12) AS i;
	CREATE TABLE books (id int PRIMARY KEY, body text, label text, n int, d int GENERATED ALWAYS AS (id * 2) STORED);
	INSERT INTO books (id, body, n) SELECT i, '책 ' || i, i % 2 FROM generate_series(1, 9) AS i;
	CREATE INDEX ON books (n);
	ANALYZE;});

my (@queries, $script);
for my $i (0 .. $n_queries - 1)
{
	push @queries, query();
	foreach my $setting ('on', 'off')
	{
		$script .= "\\echo == $i $setting\nSET polyko.batching = $setting;\n";
		$script .= "BEGIN;\n$queries[$i];\n\\echo :SQLSTATE\n";
		$script .= "SELECT * FROM books ORDER BY id;\nSELECT * FROM notes ORDER BY id, label;\n"
			if $queries[$i] =~ /INSERT|UPDATE|MERGE/;
		$script .= "ROLLBACK;\n";
	}
	$script .= "\\echo == $i plan\nSET polyko.batching = on;\nEXPLAIN $queries[$i];\n";
}
my ($status, $out, $errors) = $node->psql('postgres', $script, on_error_stop => 0);
my %result = $out =~ /^== (\d+ \w+)\n(.*?)(?=^== |\z)/msg;
my ($n_different, $n_batched, $n_failed, $n_bad) = (0, 0, 0, 0);

for my $i (0 .. $n_queries - 1)
{
	my ($on, $off) = map { $result{"$i $_"} // 'no result' } ('on', 'off');

	$n_batched += ($result{"$i plan"} // '') =~ /PolykoBatch/;
	$n_failed += $on =~ /^(?!00000)[0-9A-Z]{5}$/m;
	$n_bad += $on =~ /^(42|0A|XX|58)[0-9A-Z]{3}$/m || $on eq 'no result';
	diag("wrong query: $queries[$i]") if $on =~ /^(42|XX)[0-9A-Z]{3}$/m;
	next if $on eq $off;
	diag("$queries[$i]\n-- on:\n${on}-- off:\n$off") if $n_different++ < 3;
}
is($n_different, 0, "$n_queries random queries give the same with and without batches");
is($n_bad, 0, 'none of them is wrong or breaks the server');
cmp_ok($n_batched, '>', $n_queries / 4, "$n_batched of them have batches");
cmp_ok($n_failed, '>', 0, "$n_failed raise an error of a row");

# One row in 64 has a long answer. Rows with short ones must not wait for it before others are read.
$node->safe_psql('postgres', q{
	CREATE TABLE lines AS SELECT i AS id, '글 ' || i AS body, CASE WHEN i % 64 = 1 THEN 60 ELSE 1 END AS n
		FROM generate_series(1, 640) AS i;});
my $explained = $node->safe_psql('postgres', q{
	EXPLAIN (ANALYZE, COSTS OFF)
	UPDATE lines SET body = polyko_generate(body, max_tokens => n, min_tokens => n);});
my ($n_steps) = $explained =~ /Model Steps: (\d+)/;
cmp_ok($n_steps, '<', 300, 'ten long answers are computed together, beside short ones');

$node->stop;
done_testing();

sub one_of { return $_[ rand @_ ] }

# A call that depends on the columns of t.
sub call
{
	my ($t, $deep) = @_;
	my $body = one_of("$t.body", "$t.body", "$t.body", "'요약: ' || $t.body", "coalesce($t.label, $t.body)",
		"$t.id::text");
	$body = call($t, 1) if !$deep && rand() < 0.1;
	my $args = one_of('max_tokens => 2', 'max_tokens => 3', "max_tokens => 2, seed => $t.id, temperature => 1",
		"max_tokens => $t.id % 3 + 1", "max_tokens => 2, stop => '{는}'");
	$args = one_of("max_tokens => $t.id - 4", "max_tokens => 6 / ($t.id - 7)") if rand() < 0.04;
	return one_of(("polyko_generate($body, $args)") x 4, "(polyko_generate_details($body, $args)).text",
		"round(((polyko_embed($body))[1])::numeric, 3)::text");
}

# An expression of type text.
sub expr
{
	my ($t) = @_;
	my $call = call($t);
	return one_of(($call) x 5, "upper($call)", "$call || '.' || " . call($t), "nullif($call, '점')",
		"CASE WHEN $t.id % 2 = 0 THEN $call END", "coalesce($t.label, $call)", "greatest($call, $t.body)",
		"($call IS NULL AND " . call($t) . " IS NULL)::text", "(SELECT $call)", "array_to_string(ARRAY[$call, $t.body], '/')",
		"(SELECT max(" . call('c') . " || $t.n) FROM books AS c WHERE c.id < $t.n + 2)", "random()::int * 0 || $call",
		"$t.id::text", "$t.body");
}

sub source
{
	return one_of(('notes AS a') x 3, ('books AS a') x 3, 'notes_1 AS a', 'notes AS a JOIN books AS b USING (n, id)',
		'books AS a LEFT JOIN notes AS b ON b.id = a.id + 2',
		'(SELECT id, ' . expr('books') . ' AS body, label, n FROM books ' . one_of('', 'OFFSET 0', 'LIMIT 4') . ') AS a',
		'books AS b CROSS JOIN LATERAL (SELECT b.id, ' . call('b') . ' AS body, c.label, c.n FROM books AS c WHERE c.id <= b.n + 1 OFFSET 0) AS a');
}

sub where
{
	return one_of('', '', ' WHERE a.id < 8', ' WHERE a.n = 1 OR a.label IS NOT NULL', ' WHERE length(' . call('a') . ') > 1',
		' WHERE EXISTS (SELECT ' . call('books') . ' FROM books WHERE books.id = a.n)');
}

sub select_query
{
	my $list = join(', ', 'a.id', map { expr('a') } 1 .. one_of(1, 1, 2, 3));
	my $order = one_of('', '', ' ORDER BY a.id', ' ORDER BY a.n, a.id', ' ORDER BY 2, a.id', ' ORDER BY ' . call('a') . ', a.id');
	my $limit = one_of('', '', ' LIMIT 3', ' OFFSET 2 LIMIT 2', ' LIMIT 0');
	return "SELECT $list FROM " . source() . where() . $order . $limit;
}

sub query
{
	my $kind = one_of(('select') x 8, qw(group group window distinct union cte update update update_from insert
			insert_returning conflict merge lock cursor));
	my ($x, $y) = (expr('a'), expr('a'));
	return select_query() if $kind eq 'select';
	return "SELECT a.n, count(*), max($x) FROM " . source() . ' GROUP BY a.n ORDER BY 1' if $kind eq 'group' && rand() < 0.5;
	return "SELECT $x, count(*) FROM " . source() . ' GROUP BY 1 ORDER BY 1' if $kind eq 'group';
	return "SELECT a.id, row_number() OVER (ORDER BY a.id), $x FROM books AS a" if $kind eq 'window';
	return "SELECT DISTINCT $x FROM " . source() . ' ORDER BY 1' if $kind eq 'distinct';
	return 'SELECT * FROM (' . "SELECT a.id, $x FROM books AS a UNION ALL SELECT a.id, $y FROM notes AS a) AS u ORDER BY 1, 2"
		if $kind eq 'union';
	return 'WITH w AS ' . one_of('', 'MATERIALIZED ') . "(SELECT a.id, a.n, $x AS body, a.label FROM books AS a) SELECT a.id, a.body FROM w AS a ORDER BY 1 LIMIT 4"
		if $kind eq 'cte';
	return 'UPDATE ' . one_of('books', 'notes') . " AS a SET label = $x, n = a.n + 1" . one_of('', ' WHERE a.id > 3', ' WHERE a.n = 1')
		. one_of('', ' RETURNING a.id, a.label', ' RETURNING ' . call('a')) if $kind eq 'update';
	return "UPDATE notes AS b SET label = $x FROM books AS a WHERE a.id = b.id" if $kind eq 'update_from';
	return "INSERT INTO books (id, body, label) SELECT a.id + 100, $x, $y FROM books AS a" if $kind eq 'insert';
	return "INSERT INTO books (id, label) SELECT a.id + 100, $x FROM books AS a WHERE a.id < 5 RETURNING id, d, " . call('books')
		if $kind eq 'insert_returning';
	return "INSERT INTO books AS c (id, body) SELECT a.id * 2, $x FROM books AS a ON CONFLICT (id) DO UPDATE SET label = "
		. call('excluded') . ' || c.id' if $kind eq 'conflict';
	return "MERGE INTO books AS b USING notes AS a ON a.id = b.id WHEN MATCHED THEN UPDATE SET label = $x WHEN NOT MATCHED THEN INSERT (id, body) VALUES (a.id, "
		. call('a') . ')' if $kind eq 'merge';
	return "SELECT a.id, $x FROM books AS a WHERE a.id < 6 FOR UPDATE" if $kind eq 'lock';
	return 'DECLARE c' . one_of('', ' SCROLL') . ' CURSOR FOR ' . "SELECT a.id, $x FROM books AS a"
		. ";\nFETCH 3 FROM c;\nFETCH 2 FROM c";
}
