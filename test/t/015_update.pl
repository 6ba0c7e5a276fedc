# 015_update.pl
#    polyko_update over many rows: batched, each key once, stopped in the middle and gone on with.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run;
use PolykoTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = start_node('update');
$node->safe_psql('postgres', q{
	CREATE TABLE notes (id int PRIMARY KEY, body text, label text);
	CREATE TABLE tries (id int);
	CREATE FUNCTION count_try() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO tries VALUES (OLD.id); RETURN NEW; END $$;
	CREATE TRIGGER count_try BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION count_try();});
my $tried = q{SELECT count(DISTINCT id) || ' ' || count(*) FROM tries};
my $slowly = q{'label', 'body || pg_sleep(0.001)'};

is_batched();
walks_all();
stops('cancel', 'pg_cancel_backend', '57014', "batch_rows => 50");
stops('cancel, failures recorded', 'pg_cancel_backend', '57014', "batch_rows => 50, on_error => 'record'");
stops('terminate', 'pg_terminate_backend', '57P01', "batch_rows => 50, on_error => 'record'");
is($node->safe_psql('postgres', 'SELECT count(*) FROM polyko_update_errors'), '0',
	'who is stopped has no failures');
survives_a_crash();
records_errors();
shares_with_another();
bears_moves();
follows_the_table();
notices_a_drop();

$node->stop;
done_testing();

sub fill
{
	my ($n) = @_;
	$node->safe_psql('postgres',
		"TRUNCATE notes, tries; INSERT INTO notes SELECT i, '문장 ' || i FROM generate_series(1, $n) AS i; ANALYZE notes");
}

sub value { return $node->safe_psql('postgres', $_[0]) }

# The NOTICE of a call: [done, locked, failed].
sub call
{
	my ($arguments) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "CALL polyko_update($arguments)");
	return $err =~ /NOTICE:  polyko_update: (\d+) done, (\d+) locked, (\d+) failed/ ? "$1 $2 $3" : "no notice: $err";
}

# A call in a session of its own; finish it with finish().
sub start_call
{
	my ($arguments) = @_;
	my %session = (out => '', err => '');
	$session{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'), '-c',
			"CALL polyko_update($arguments)" ], '<', '/dev/null', '>', \$session{out}, '2>', \$session{err});
	return \%session;
}

sub finish
{
	my ($session) = @_;
	eval { IPC::Run::finish($session->{run}) };
	return $session->{err};
}

# Until the call is in the middle: it has done more than $n rows.
sub wait_for
{
	my ($n) = @_;
	for (1 .. 600)
	{
		return if value('SELECT count(label) FROM notes') > $n;
		usleep(50_000);
	}
	die 'the call does not get on';
}

sub is_batched
{
  SKIP: {
		my $library = $node->config_data('--pkglibdir') . '/auto_explain.so';
		skip 'auto_explain is not installed', 4 unless -e $library;
		fill(40);
		$node->safe_psql('postgres', q{
			CREATE TABLE parts (id int PRIMARY KEY, body text, label text) PARTITION BY RANGE (id);
			CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (20);
			CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (20) TO (100);
			INSERT INTO parts SELECT id, body FROM notes;});
		foreach my $table ('notes', 'parts')
		{
			my ($rc, $out, $err) = $node->psql('postgres', qq{
				LOAD 'auto_explain';
				SET auto_explain.log_min_duration = 0;
				SET auto_explain.log_nested_statements = on;
				SET auto_explain.log_analyze = on;
				SET client_min_messages = log;
				CALL polyko_update('$table', 'label', 'polyko_generate(body, max_tokens => 3)');});
			my ($plan) = $err =~ /(Update on $table .*actual.*?Model Requests: \d+)/s;
			like($plan // $err, qr/Custom Scan \(PolykoBatch\).*Model Requests: 40/s,
				"the UPDATE of $table asks the model in batches");
			unlike($err, qr/->  (Incremental )?Sort /, "rows of $table are found along the key, not sorted");
		}
		$node->safe_psql('postgres', 'DROP TABLE parts');
	}
}

sub walks_all
{
	fill(10_000);
	is(call("'notes', 'label', 'body', 'id % 3 <> 0', batch_rows => 97"), '6667 0 0', '10,000 rows: all that are due');
	is(value($tried), '6667 6667', 'once each');
	value('TRUNCATE tries');
	is(call("'notes', 'label', 'NULL', 'true', batch_rows => 1000"), '10000 0 0',
		'rows that stay due are not done again');
	is(value($tried), '10000 10000', 'once each, too');
}

# Stopped while it runs: whole batches stay, a second call does the rest and nothing else.
sub stops
{
	my ($name, $function, $state, $options) = @_;
	fill(2000);
	my $session = start_call("'notes', $slowly, $options");
	wait_for(200);
	value("SELECT $function(pid) FROM pg_stat_activity WHERE query LIKE 'CALL polyko_update%'");
	like(finish($session), qr/(ERROR|FATAL):\s+$state/, "$name: it ends with $state");
	my $done = value('SELECT count(label) FROM notes');
	ok($done >= 200 && $done < 2000 && $done % 50 == 0, "$name: whole batches stay ($done rows)");
	is(value("SELECT max(id) FROM notes WHERE label IS NOT NULL"), $done, "$name: they are the first ones");
	is(call("'notes', 'label', 'body'"), (2000 - $done) . ' 0 0', "$name: the next call does the others");
	is(value($tried), '2000 2000', "$name: no row twice");
}

sub survives_a_crash
{
	fill(2000);
	my $session = start_call("'notes', $slowly, batch_rows => 50");
	wait_for(200);
	$node->stop('immediate');
	finish($session);
	$node->start;
	my $done = value('SELECT count(label) FROM notes');
	ok($done >= 200 && $done < 2000 && $done % 50 == 0, "a crash leaves whole batches ($done rows)");
	is(call("'notes', 'label', 'body'"), (2000 - $done) . ' 0 0', 'and the next call does the others');
}

# One row in 100 fails, in each place of a batch.
sub records_errors
{
	fill(1000);
	value(q{UPDATE notes SET body = '' WHERE id IN (1, 256, 257, 500, 501, 502, 1000)});
	value('TRUNCATE tries');
	is(call(q{'notes', 'label', 'polyko_generate(body, max_tokens => 2 * least(length(body), 1))', on_error => 'record'}),
		'993 0 7', 'rows that fail are left out, the others of their batches done');
	is(value('SELECT string_agg(DISTINCT sqlstate || \' \' || message, \';\') FROM polyko_update_errors'),
		'22023 max_tokens is 0, it must be 1 or more', 'with what the error says');
	is(value('SELECT string_agg(key::text, \' \' ORDER BY id) FROM polyko_update_errors'),
		'{"id": 1} {"id": 256} {"id": 257} {"id": 500} {"id": 501} {"id": 502} {"id": 1000}', 'and their keys');
	is(value(q{SELECT count(*) FROM notes WHERE label = polyko_generate(body, max_tokens => 2) AND body <> ''}),
		'993', 'the answers are those of single calls');
	my ($state) = failure($node, q{CALL polyko_update('notes', 'label', 'polyko_generate(body, ''nosuch'')', on_error => 'record')});
	is($state, '42704', 'a model that is not there is not the failure of a row');
	is(value('SELECT count(*) FROM polyko_update_errors'), '7', 'and not recorded');
}

# Two calls on one table share the rows; what one of them has is locked for the other.
sub shares_with_another
{
	fill(2000);
	my @sessions = map { start_call("'notes', $slowly, batch_rows => 20") } 1 .. 2;
	my @counts = map { finish($_) =~ /(\d+) done, (\d+) locked, 0 failed/ ? [ $1, $2 ] : [ 0, 0 ] } @sessions;
	my $done = $counts[0][0] + $counts[1][0];
	is($done, 2000, "two calls at once do all rows ($counts[0][0] and $counts[1][0])");
	is(value($tried), '2000 2000', 'none of them twice');
}

# Rows that another session moves between partitions at the moment they are looked for are no failure.
sub bears_moves
{
	value(q{CREATE TABLE places (id int, part int, body text, label text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
		CREATE TABLE places1 PARTITION OF places FOR VALUES IN (1);
		CREATE TABLE places2 PARTITION OF places FOR VALUES IN (2);
		INSERT INTO places SELECT i, 1 + i % 2, '장소 ' || i FROM generate_series(1, 300) AS i});
	my %mover = (out => '', err => '');
	$mover{run} = IPC::Run::start([ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-c',
		q{DO $$ BEGIN FOR i IN 1 .. 100000 LOOP
			UPDATE places SET part = 3 - part WHERE id = 1 + floor(random() * 300)::int; COMMIT; END LOOP; END $$} ],
		'<', '/dev/null', '>', \$mover{out}, '2>', \$mover{err});
	my $err = finish(start_call(q{'places', 'label', 'body || id', 'label IS NULL AND pg_sleep(0.002) IS NOT NULL', batch_rows => 60, on_error => 'record'}));
	like($err, qr/polyko_update: \d+ done, \d+ locked, 0 failed/, 'rows that move between partitions end no call');
	value(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DO %'});
	finish(\%mover);
	value('DROP TABLE places');
}

# Between two batches others may change the table.
sub follows_the_table
{
	fill(2000);
	my $session = start_call("'notes', $slowly, batch_rows => 20");
	wait_for(40);
	value('ALTER TABLE notes RENAME TO renamed');
	value('ALTER TABLE renamed ADD more int');
	value('REINDEX TABLE CONCURRENTLY renamed');
	like(finish($session), qr/2000 done/, 'a table that is renamed, altered and reindexed is followed');
	value('ALTER TABLE renamed RENAME TO notes');
	fill(2000);
	$session = start_call("'notes', $slowly, batch_rows => 20");
	wait_for(40);
	value('ALTER TABLE notes DROP CONSTRAINT notes_pkey, ADD UNIQUE (body, id), ALTER body SET NOT NULL');
	like(finish($session), qr/55000.*the key of public.notes is another one now/s,
		'a key that is replaced ends the call');
	$session = start_call("'notes', $slowly, batch_rows => 20");
	my $before = value('SELECT count(label) FROM notes');
	wait_for($before);
	value('DROP TABLE notes');
	like(finish($session), qr/42P01.*there is no relation/s, 'a table that is dropped, too');
}

# Nothing keeps another session from dropping polyko while a call runs.
sub notices_a_drop
{
	$node->safe_psql('postgres', 'CREATE TABLE notes (id int PRIMARY KEY, body text, label text)');
	fill(1000);
	my $session = start_call(q{'notes', 'label', 'CASE id WHEN 1000 THEN (1 / (id - 1000))::text ELSE body || pg_sleep(0.001) END', }
			. q{batch_rows => 20, on_error => 'record'});
	wait_for(40);
	value('DROP EXTENSION polyko CASCADE');
	like(finish($session), qr/42883.*polyko was dropped meanwhile/s, 'a failure that cannot be recorded ends the call');
}
