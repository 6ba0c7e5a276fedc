# 019_pii_log.pl
#    No message and no log line holds personal data that polyko found, even where everything is logged
#    but the text of statements. The data come from a table, so no statement holds them either.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PolykoTest;
use Test::More;

my $node = start_node('pii_log', <<'CONF');
log_min_messages = debug5
log_min_error_statement = panic
log_statement = none
log_error_verbosity = verbose
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
CONF

# parts of numbers, so that no statement holds one; invented
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE post (id int, body text, memo varchar(12), note text);
CREATE TRIGGER redact BEFORE INSERT OR UPDATE ON post
	FOR EACH ROW EXECUTE FUNCTION polyko_redact_trigger('body', 'memo');
CREATE TABLE raw AS SELECT '전화 010-' || 7391 || '-' || 4826 || ', 주민번호 880312-' || 1739148
	|| ', 신한 110-739-' || 148260 || ', 여권 M' || 73914826 || ', a@' || 'mail7391.kr' AS body;
INSERT INTO polyko_blocklist SELECT '010-' || 7391, 'number', 'mask';
SQL
my $hidden = qr/7391|4826|mail\d/;

my $log_start = -s $node->logfile;
my $messages = '';

# Everything that it says; returns what it gives.
sub run_quietly
{
	my ($sql) = @_;
	my ($rc, $out, $err) = $node->psql('postgres',
		"SET client_min_messages = debug5; \\set VERBOSITY verbose\n$sql", on_error_stop => 0);
	$messages .= $err;
	return $out;
}

my $kinds = "'{acc,rrn,tell,frn,brn,crn,card,passport,driver,email}'";
is(run_quietly("SELECT count(*) FROM raw, polyko_find_pii(body, $kinds)"), 5, 'the data are found');
unlike(run_quietly("SELECT polyko_redact_pii(body, $kinds) FROM raw"), $hidden, 'and replaced');
run_quietly('SELECT length(polyko_apply_blocklist(body)) FROM raw, polyko_find_blocklist(body)');
run_quietly('INSERT INTO post (id, body) SELECT 1, body FROM raw');
is(run_quietly("SELECT count(*) FROM post WHERE body LIKE '%<|tell|>%<|rrn|>%<|acc|>%'"), 1,
	'a trigger replaces them');
run_quietly("SELECT length(polyko_generate(body || '. ', max_tokens => 8, options => '{\"redact\": true}')) FROM raw");
run_quietly('SELECT polyko_generate_reviewed(body, max_tokens => 2) IS NULL FROM raw');

# errors
my $before = () = $messages =~ /ERROR/g;
run_quietly('SELECT polyko_redact_pii(body, ARRAY[NULL]) FROM raw');
run_quietly("SELECT polyko_redact_pii(body, options => '{\"style\": 1}') FROM raw");
run_quietly("SELECT polyko_redact_pii(body, options => jsonb_build_object('style', body)) FROM raw");
run_quietly("INSERT INTO post (memo) SELECT '☎' || substr(body, 4, 13) || ' abcdef' FROM raw");
run_quietly('SELECT polyko_review_approve(4711)');
run_quietly(q{SELECT polyko_generate(repeat(body, 200), options => '{"redact": true}') FROM raw});
my $after = () = $messages =~ /ERROR/g;
is($after - $before, 6, 'six statements fail') or diag($messages);
unlike($messages, $hidden, 'no message holds any of them');

$node->safe_psql('postgres', 'CREATE TABLE marker_of_the_end ()');
my $log = substr(read_file($node->logfile), $log_start);
cmp_ok(length($log), '>', 10_000, 'the log is talkative');
unlike($log, $hidden, 'no log line holds any of them');
$node->stop;
done_testing();
