# 007_upgrade.pl
#    What users build on the functions survives: DROP is refused with dependents, an extension can be
#    dropped and made again, moved to a schema, and every released version updates to the default one.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PolykoTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('upgrade');
my @functions = (
	"polyko_generate(body, 'polyko_tiny', max_tokens => 2)",
	"(polyko_generate_details(body, 'polyko_tiny', max_tokens => 2)).text",
	"polyko_embed(body, 'polyko_tiny')",
	"polyko_tokenize(body, 'polyko_tiny')",
	"polyko_token_count(body, 'polyko_tiny')",
	"polyko_detokenize(ARRAY[4, 5], 'polyko_tiny') || body");

sub build_on_functions
{
	my ($db) = @_;
	my $sql = "CREATE TABLE t (body text);\nINSERT INTO t VALUES ('좋다'), ('나쁘다');\n";
	my $i = 0;
	foreach my $call (@functions)
	{
		$i++;
		$sql .= "CREATE INDEX i$i ON t (($call));\nCREATE VIEW v$i AS SELECT $call AS x FROM t;\n";
	}
	$sql .= "CREATE VIEW s AS SELECT (polyko_tokens(body, 'polyko_tiny')).token,"
	  . " (polyko_generate_stream(body, 'polyko_tiny', max_tokens => 2)).piece FROM t;\n";
	$node->safe_psql($db, $sql);
}

sub answers
{
	my ($db) = @_;
	return join "\n", map { $node->safe_psql($db, "SELECT x::text FROM v$_ ORDER BY 1") }
	  1 .. scalar @functions;
}

my $versions = $node->safe_psql('postgres',
	"SELECT string_agg(version, ' ' ORDER BY version) FROM pg_available_extension_versions"
	  . " WHERE name = 'polyko'");
my $default = $node->safe_psql('postgres',
	"SELECT default_version FROM pg_available_extensions WHERE name = 'polyko'");
like($versions, qr/\b0\.1\.0\b/, 'the first version can still be installed');

foreach my $version (split ' ', $versions)
{
	(my $db = "from_$version") =~ tr/./_/;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, "CREATE EXTENSION polyko VERSION '$version'");
	build_on_functions($db);
	my $before = answers($db);
	$node->safe_psql($db, 'ALTER EXTENSION polyko UPDATE');
	is($node->safe_psql($db, "SELECT extversion FROM pg_extension WHERE extname = 'polyko'"),
		$default, "$version updates to $default with an index and a view on each function");
	is(answers($db), $before, "$version: answers are the same after the update");
	$node->safe_psql($db, "CREATE INDEX later ON t ((polyko_redact_pii(body)));"
		  . ' CREATE VIEW later_v AS SELECT polyko_redact_pii(body) AS x FROM t');
	is($node->safe_psql($db, 'SELECT count(*) FROM later_v'), 2,
		"$version: what came later is there after the update");
	$node->safe_psql($db, 'ALTER TABLE t ADD id serial PRIMARY KEY, ADD label text');
	$node->safe_psql($db, "CALL polyko_update('t', 'label', 'polyko_redact_pii(body)')");
	is($node->safe_psql($db, 'SELECT count(*) FROM t WHERE label = body'), 2, "$version: procedures, too");
	is(catalog($db), catalog('postgres'), "$version: the updated catalog is that of a fresh install");
}

# Functions as text: names, arguments, and what the planner is told.
sub catalog
{
	my ($db) = @_;
	return $node->safe_psql($db,
		"SELECT string_agg(pg_get_functiondef(p.oid), E'\\n' ORDER BY p.proname) FROM pg_proc p"
		  . " WHERE p.proname LIKE 'polyko%'");
}

my ($state, $message) = failure($node, 'DROP EXTENSION polyko', dbname => 'from_0_1_0');
is($state, '2BP01', 'DROP EXTENSION is refused while something depends on it');
$node->safe_psql('from_0_1_0', 'DROP EXTENSION polyko CASCADE; CREATE EXTENSION polyko');
is($node->safe_psql('from_0_1_0', "SELECT polyko_token_count('좋다') > 0"), 't',
	'dropped and made again, it answers');
$node->safe_psql('from_0_1_0', 'CREATE SCHEMA ai; ALTER EXTENSION polyko SET SCHEMA ai');
is($node->safe_psql('from_0_1_0', "SELECT ai.polyko_token_count('좋다') > 0"), 't',
	'it can be moved to a schema');
is($node->safe_psql('from_0_1_0', "SELECT count(*) FROM ai.polyko_models"), '1', 'with its views');
$node->safe_psql('from_0_1_0', "INSERT INTO ai.polyko_blocklist VALUES ('바보', 'abuse', 'mask')");
is($node->safe_psql('from_0_1_0', "SELECT ai.polyko_apply_blocklist('바보')"), '**',
	'its blocklist');
is($node->safe_psql('from_0_1_0',
		"SELECT ai.polyko_review_approve(ai.polyko_generate_reviewed('좋다', max_tokens => 2)) IS NOT NULL"),
	't', 'and its reviews');
$node->safe_psql('from_0_1_0',
	"CALL ai.polyko_update('t', 'label', '(1 / (id - 1))::text', 'true', on_error => 'record')");
is($node->safe_psql('from_0_1_0', 'SELECT key FROM ai.polyko_update_errors'), '{"id": 1}',
	'and failures of its updates');

$node->stop;
done_testing();
