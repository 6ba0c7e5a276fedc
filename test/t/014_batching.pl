# 014_batching.pl
#    Random queries give the same with polyko.batching on and off, in the backend and in the engine
#    program: rows, their order, errors, and what is in the tables afterwards. POLYKO_QUERIES and
#    POLYKO_SEED set how many and which.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $n_queries = $ENV{POLYKO_QUERIES} // 150;
my $seed = $ENV{POLYKO_SEED} // 20261124;
srand($seed);
note("seed $seed");

my @queries = map { query() } 1 .. $n_queries;
my %result;
run('off', 'backend', 'off');
run('on', 'backend', 'on');
run('engine', 'engine', 'on');
my ($n_different, $n_batched, $n_failed, $n_bad) = (0, 0, 0, 0);

for my $i (0 .. $n_queries - 1)
{
	my ($off, $on, $engine) = map { $result{"$i $_"} // 'no result' } ('off', 'on', 'engine');

	$n_batched += ($result{"$i plan"} // '') =~ /PolykoBatch/;
	$n_failed += fails($on);
	$n_bad += $on =~ /^(42|0A|XX|58)[0-9A-Z]{3}$/m || grep { $_ eq 'no result' } $off, $on, $engine;
	diag("wrong query: $queries[$i]") if $on =~ /^(42|XX)[0-9A-Z]{3}$/m;
	# a user's function fails for a row that is read ahead, before a call of an earlier row does
	next if $queries[$i] =~ /picky/ && 3 == grep { fails($_) } $off, $on, $engine;
	next if $on eq $off && $on eq $engine;
	diag("$queries[$i]\n-- off:\n${off}-- on:\n${on}-- engine:\n$engine") if $n_different++ < 3;
}
is($n_different, 0, "$n_queries random queries give the same with and without batches");
is($n_bad, 0, 'none of them is wrong or breaks the server');
cmp_ok($n_batched, '>', $n_queries / 4, "$n_batched of them have batches");
cmp_ok($n_failed, '>', 0, "$n_failed raise an error of a row");
done_testing();

# All queries on a server of their own: its results go into %result.
sub run
{
	my ($name, $host, $batching) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
	$node->append_conf('postgresql.conf', "client_min_messages = error\npolyko.batching = $batching\n");
	# else each server has its own plans, and with them its own order of rows
	$node->append_conf('postgresql.conf', "autovacuum = off\n");
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'polyko'\n") if $host eq 'engine';
	$node->start;
	$node->safe_psql('postgres', tables());
	my $script = '';
	for my $i (0 .. $n_queries - 1)
	{
		$script .= "\\echo == $i $name\nBEGIN;\n$queries[$i];\n\\echo :SQLSTATE\n";
		$script .= "SELECT * FROM books ORDER BY id;\nSELECT * FROM notes ORDER BY id, label;\n"
			. "SELECT tableoid::regclass, * FROM papers ORDER BY id, label;\n"
			if $queries[$i] =~ /INSERT|UPDATE|MERGE|DELETE/;
		$script .= "ROLLBACK;\nDEALLOCATE ALL;\nCLOSE ALL;\n";
		my ($first) = split /;\n/, $queries[$i];
		$script .= "\\echo == $i plan\nEXPLAIN (VERBOSE, COSTS OFF) $first;\n" if $name eq 'on';
	}
	my ($status, $out, $errors) = $node->psql('postgres', "$script\\echo == $n_queries end\n", on_error_stop => 0);
	my %found = $out =~ /^== (\d+ \w+)\n(.*?)(?=^== |\z)/msg;
	%result = (%result, %found);
	diag("EXPLAIN: $1") if $errors =~ /(ERROR:  (?:bogus|could not find|variable not found).*)/;
	$node->stop;
}

sub fails { return $_[0] =~ /^(?!00000)[0-9A-Z]{5}$/m }

sub tables
{
	return q{
	CREATE EXTENSION polyko;
	CREATE TABLE notes (id int, body text, label text, n int) PARTITION BY RANGE (id);
	CREATE TABLE notes_1 PARTITION OF notes FOR VALUES FROM (0) TO (6);
	CREATE TABLE notes_2 (n int, gone int, label text, body text, id int);
	ALTER TABLE notes_2 DROP COLUMN gone;
	ALTER TABLE notes ATTACH PARTITION notes_2 FOR VALUES FROM (6) TO (1000);
	INSERT INTO notes SELECT i, CASE i % 5 WHEN 4 THEN NULL ELSE '이 영화는 ' || i % 7 END,
		CASE i % 3 WHEN 0 THEN '좋음' END, i % 4 FROM generate_series(1, 12) AS i;
	CREATE TABLE books (id int PRIMARY KEY, body text, label text, n int, d int GENERATED ALWAYS AS (id * 2) STORED);
	INSERT INTO books (id, body, n) SELECT i, '책 ' || i, i % 2 FROM generate_series(1, 9) AS i;
	CREATE INDEX ON books (n);
	CREATE TABLE papers (id int, body text, label text, n int);
	CREATE TABLE papers_more (note text) INHERITS (papers);
	INSERT INTO papers SELECT id, body, label, n FROM books WHERE id < 4;
	INSERT INTO papers_more SELECT id, body, label, n, 'x' FROM books WHERE id > 3;
	CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY, s serial, body text DEFAULT '기본', label varchar(200) DEFAULT 'l');
	CREATE VIEW guarded WITH (security_barrier) AS SELECT id, label, n, polyko_generate(body, max_tokens => 2) AS body FROM books WHERE n < 2;
	CREATE FUNCTION prompt(body text, n int) RETURNS text LANGUAGE sql STABLE AS $$ SELECT body || n $$;
	CREATE FUNCTION written(body text, n int) RETURNS text LANGUAGE plpgsql STABLE AS $$
	BEGIN
		IF n = 3 THEN PERFORM 1 / 0; END IF;
		RETURN polyko_generate(body, max_tokens => 1) || n;
	EXCEPTION WHEN division_by_zero THEN
		RETURN '예외';
	END $$;
	CREATE FUNCTION picky(id int) RETURNS text LANGUAGE plpgsql STABLE AS $$
	BEGIN
		IF id = 5 THEN RAISE data_exception; END IF;
		RETURN '번호 ' || id;
	END $$;
	CREATE FUNCTION relabel() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		NEW.label := coalesce(NEW.label, '') || polyko_generate(NEW.body, max_tokens => 1);
		RETURN NEW;
	END $$;
	CREATE TRIGGER relabel BEFORE UPDATE ON papers FOR EACH ROW EXECUTE FUNCTION relabel();
	CREATE DOMAIN short AS text CHECK (length(value) < 8);
	ANALYZE;};
}

sub one_of { return $_[ rand @_ ] }

# A call that depends on the columns of t.
sub call
{
	my ($t, $deep) = @_;
	my $body = one_of("$t.body", "$t.body", "$t.body", "'요약: ' || $t.body", "coalesce($t.label, $t.body)",
		"$t.id::text", one_of("prompt($t.body, $t.n)", "written($t.body, $t.n)", "picky($t.id)", "($t.body || $t.id)::short",
			"(SELECT k.body FROM notes AS k WHERE k.id = $t.id + 1)", "($t.id, $t.body)::text", "$t.body"));
	$body = call($t, 1) if !$deep && rand() < 0.1;
	my $args = one_of('max_tokens => 2', 'max_tokens => 3', "max_tokens => 2, seed => $t.id, temperature => 1",
		"max_tokens => $t.id % 3 + 1", "max_tokens => 2, stop => '{는}'");
	$args = one_of("max_tokens => $t.id - 4", "max_tokens => 6 / ($t.id - 7)") if rand() < 0.04;
	return one_of(("polyko_generate($body, $args)") x 4, "(polyko_generate_details($body, $args)).text",
		"round(((polyko_embed($body))[1])::numeric, 3)::text",
		"array_length((polyko_embed($body, layer => 1))[$t.n:3], 1)::text");
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

# Its ids are unique: LIMIT behind ORDER BY a.id has one answer.
sub source
{
	return one_of('papers AS a', 'guarded AS a', "(VALUES (1, '가', '나', 2), (2, '다', NULL, 3)) AS a (id, body, label, n)",
		'(SELECT id, body, label, n FROM books UNION ALL SELECT id + 20, body, label, n FROM notes) AS a',
		'(SELECT n AS id, max(body) AS body, min(label) AS label, n FROM notes GROUP BY n) AS a',
		('notes AS a') x 3, ('books AS a') x 3, 'notes_1 AS a', 'notes AS a JOIN books AS b USING (n, id)',
		'books AS a LEFT JOIN notes AS b ON b.id = a.id + 2',
		'(SELECT id, ' . expr('books') . ' AS body, label, n FROM books ' . one_of('', 'OFFSET 0', 'LIMIT 4') . ') AS a',
		'books AS b CROSS JOIN LATERAL (SELECT b.id * 10 + c.id AS id, ' . call('b') . ' AS body, c.label, c.n FROM books AS c WHERE c.id <= b.n + 1 OFFSET 0) AS a');
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
	my $kind = one_of(('select') x 8, qw(group group grouping window windows distinct distinct_on union setop cte recursive
			writing_cte update update update_from update_rows update_parts delete insert insert_returning made create
			conflict merge lock cursor cursor hold current current prepared savepoint));
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
	return "SELECT a.n, a.label, polyko_generate(max(a.body) || count(*), max_tokens => 2) FROM " . source()
		. ' GROUP BY GROUPING SETS ((a.n), (a.label), ()) ORDER BY 1, 2, 3' if $kind eq 'grouping';
	return "SELECT a.id, polyko_generate(coalesce(lag(a.body) OVER (ORDER BY a.id), a.body), max_tokens => 2), $x FROM books AS a"
		. one_of('', ' LIMIT 3') if $kind eq 'windows';
	return "SELECT DISTINCT ON (a.n) a.n, $x FROM " . one_of('books AS a', 'notes AS a', 'papers AS a') . ' ORDER BY a.n, a.id'
		if $kind eq 'distinct_on';
	return "SELECT a.n, $x FROM books AS a " . one_of('INTERSECT', 'EXCEPT', 'EXCEPT ALL', 'UNION')
		. " SELECT a.n, $y FROM notes AS a ORDER BY 1, 2" if $kind eq 'setop';
	return "WITH RECURSIVE r AS (SELECT a.id, a.n, a.body, $x AS label FROM books AS a WHERE a.id < 4 UNION ALL"
		. " SELECT a.id + 10, a.n, a.label, " . call('a') . " FROM r AS a WHERE a.id < 30) SELECT * FROM r ORDER BY 1, 2, 3" . one_of('', ' LIMIT 5')
		if $kind eq 'recursive';
	return "WITH w AS (UPDATE books AS a SET label = $x WHERE a.id > 2 RETURNING a.id, a.body, a.label, a.n)"
		. " SELECT a.id, " . call('a') . ' FROM w AS a ORDER BY 1' if $kind eq 'writing_cte';
	return "UPDATE books AS a SET (label, body) = (SELECT " . call('c') . ", c.body FROM notes AS c WHERE c.id = a.id + 1), n = length($x)"
		if $kind eq 'update_rows';
	return 'UPDATE ' . one_of('notes', 'papers') . " AS b SET label = $x || b.n, n = length(" . call('b') . ')' . one_of('', ', id = b.id + 3')
		. ' FROM ' . one_of('books', 'notes') . ' AS a WHERE a.id = b.id' if $kind eq 'update_parts';
	return 'DELETE FROM ' . one_of('notes', 'papers') . " AS b USING books AS a WHERE a.id = b.id AND a.n = 1 RETURNING $x, b.id"
		if $kind eq 'delete';
	return "INSERT INTO made (" . one_of('body, label', 'label, body') . ") SELECT $x, $y FROM " . source()
		. ";\nSELECT s - min(s) OVER (), body, label FROM made ORDER BY id" if $kind eq 'made';
	return "CREATE TABLE copied AS SELECT a.id, $x AS x, $y AS y FROM " . source() . one_of('', ' ORDER BY a.id LIMIT 5')
		. ";\nSELECT * FROM copied ORDER BY id, x, y" if $kind eq 'create';
	return 'DECLARE c' . one_of('', ' SCROLL') . " CURSOR WITH HOLD FOR SELECT a.id, $x FROM books AS a"
		. ";\nFETCH 2 FROM c;\nCOMMIT;\nFETCH 3 FROM c;\nFETCH ALL FROM c;\nCLOSE c;\nBEGIN" if $kind eq 'hold';
	if ($kind eq 'current')
	{
		my ($table, $n, $m) = (one_of('books', 'notes', 'papers'), 1 + int rand 5, 1 + int rand 6);
		return "DECLARE c CURSOR FOR SELECT a.id, $x FROM $table AS a" . one_of('', ' WHERE a.id > 1') . one_of('', '', ' FOR UPDATE')
			. ";\nFETCH $n FROM c;\nUPDATE $table SET label = '여기' WHERE CURRENT OF c;\nFETCH $m FROM c;\nDELETE FROM $table WHERE CURRENT OF c;\nFETCH 1 FROM c";
	}
	return "PREPARE p (int, text) AS SELECT a.id, polyko_generate(a.body || \$2, max_tokens => \$1), $x FROM books AS a WHERE a.id > \$1"
		. ";\nEXECUTE p(2, '가');\nEXECUTE p(1, '나');\nSET LOCAL plan_cache_mode = force_generic_plan;\nEXECUTE p(3, '다')"
		if $kind eq 'prepared';
	return "DECLARE c CURSOR FOR SELECT a.id, $x FROM books AS a;\nFETCH 1 FROM c;\nSAVEPOINT s;\nFETCH 2 FROM c;\nUPDATE books SET label = 'x', body = 'y';"
		. "\nROLLBACK TO s;\nFETCH 3 FROM c;\nSELECT $y FROM notes AS a;\nFETCH 2 FROM c" if $kind eq 'savepoint';
	return 'UPDATE ' . one_of('books', 'notes', 'papers') . " AS a SET label = $x, n = a.n + 1" . one_of('', ' WHERE a.id > 3', ' WHERE a.n = 1')
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
