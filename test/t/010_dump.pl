# 010_dump.pl
#    Dump and restore keep models, options, grants, comments, and what depends on the functions; base
#    backups leave images out.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PolykoTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('dump');
my $dir = new_checkpoint('dumped');
my $questions = <<'SQL';
SELECT srvname, srvoptions, srvacl FROM pg_foreign_server ORDER BY 1;
SELECT obj_description(oid, 'pg_foreign_server') FROM pg_foreign_server WHERE srvname = 'mine';
SELECT id, body, emb, n FROM reviews ORDER BY id;
SELECT polyko_generate('가', 'mine', max_tokens => 8, temperature => 1, seed => 3);
SET enable_seqscan = off;
SELECT id FROM reviews WHERE polyko_token_count(body, 'mine') = 1 ORDER BY id;
SELECT * FROM summary ORDER BY id;
SELECT * FROM polyko_blocklist ORDER BY pattern;
SELECT * FROM polyko_review ORDER BY id;
SELECT * FROM polyko_update_errors ORDER BY id;
SET ROLE app;
SELECT id, status FROM polyko_review ORDER BY id;
SQL

$node->safe_psql('postgres', <<"SQL");
CREATE ROLE app;
CREATE SERVER mine FOREIGN DATA WRAPPER polyko OPTIONS (path '$dir', quantization 'q4', redact_output 'on');
COMMENT ON SERVER mine IS 'our model';
GRANT USAGE ON FOREIGN SERVER mine TO app;
CREATE TABLE reviews (
	id   int PRIMARY KEY,
	body text,
	emb  real[] GENERATED ALWAYS AS (polyko_embed(body, 'mine')) STORED,
	n    int GENERATED ALWAYS AS (polyko_token_count(body, 'mine')) STORED);
CREATE INDEX ON reviews (polyko_token_count(body, 'mine'));
INSERT INTO reviews VALUES (1, '가'), (2, '정말 재미있다'), (3, ''), (4, NULL);
CREATE VIEW summary AS SELECT id, polyko_generate(body, 'mine', max_tokens => 4) AS words FROM reviews;
INSERT INTO polyko_blocklist VALUES ('바보', 'abuse', 'mask'), ('정말', 'emphasis', 'flag');
SELECT polyko_generate_reviewed('나', 'mine', max_tokens => 4);
SET ROLE app;
SELECT polyko_generate_reviewed('가', 'mine', max_tokens => 4) FROM generate_series(1, 3);
RESET ROLE;
SELECT polyko_review_approve(2);
SELECT polyko_review_reject(3, '말이 되지 않는다');
CALL polyko_update('reviews', 'body', 'body || 1 / (id - 2)', 'id = 2', on_error => 'record');
SQL
my $before = $node->safe_psql('postgres', $questions);

my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump works');
like(read_file($dump), qr/CREATE SERVER mine FOREIGN DATA WRAPPER polyko OPTIONS/,
	'the dump has the model as DDL');
unlike(read_file($dump), qr/CREATE SERVER polyko_tiny/, 'polyko_tiny comes with the extension');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d',
		$node->connstr('restored') ], 'the dump restores');
is($node->safe_psql('restored', $questions), $before, 'models, grants, answers and reviews are the same');
is($node->safe_psql('restored', "SELECT polyko_generate_reviewed('가', 'mine', max_tokens => 2)"), '5',
	'the next answer to review has the next number');

is($node->safe_psql('restored', q{CALL polyko_update('reviews', 'body', 'body || 1 / (id - 2)', 'id = 2', on_error => 'record');
	SELECT max(id) FROM polyko_update_errors}), '2', 'and so has the next failure of an update');

# The owner of a database is no superuser: row-level security keeps the rows of two tables from the dump.
$node->safe_psql('postgres', 'CREATE ROLE keeper LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE kept OWNER keeper');
$node->safe_psql('kept', 'CREATE EXTENSION polyko');
for my $options ([ '--schema-only' ],
	[ map { "--exclude-table-data=*.$_" } qw(polyko_review polyko_update_errors) ])
{
	$node->command_ok([ 'pg_dump', '-U', 'keeper', @$options, '-f', "$dump.kept", '-d', $node->connstr('kept') ],
		"the owner of a database dumps it with $options->[0]");
}

my $moved = $dir . '-away';
rename $dir, $moved or die;
$node->safe_psql('postgres', 'CREATE DATABASE early');
my $schema = $node->basedir . '/schema.sql';
$node->command_ok([ 'pg_dump', '--schema-only', '-f', $schema, '-d', $node->connstr('postgres') ],
	'pg_dump of the schema works while the files are away');
my ($out, $err);
IPC::Run::run([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $schema, '-d', $node->connstr('early') ],
	'>', \$out, '2>', \$err);
is($?, 0, 'a restore before the files are there succeeds');
like($err, qr/WARNING:.*could not find the model directory/, 'with a warning');
rename $moved, $dir or die;
is($node->safe_psql('early', "SELECT polyko_token_count('가', 'mine')"), '1',
	'and the model answers once they are');

$node->backup('base');
my @copied = glob $node->backup_dir . '/base/polyko/*';
is(scalar(@copied), 0, 'pg_basebackup leaves images out');
ok(scalar(() = glob $node->data_dir . '/polyko/*.img') > 0, 'which are there');

# A standby has no image yet and builds its own.
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'the standby is one');
is($standby->safe_psql('postgres', $questions), $before, 'a hot standby answers the same');
is($standby->safe_psql('postgres', 'SELECT count(*) > 0 FROM polyko_images'), 't',
	'from an image of its own');
my ($state) = failure($standby, q{CALL polyko_update('reviews', 'body', 'body', 'true')});
is($state, '25006', 'which writes nothing');
$standby->stop;
$node->stop;
done_testing();
