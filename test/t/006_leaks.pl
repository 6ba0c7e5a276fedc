# 006_leaks.pl
#    10,000 calls in one session, among them errors, cancels and streams left early: memory is flat.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $N_ROUNDS     = 10;
my $WARM_ROUNDS  = 2;
my $MAX_GROWTH_KB = 1024;    # malloc's own scatter over 8,000 calls; a leak of 200 bytes a call shows
my $SESSION_KB   = 65536;    # private memory that a session may add

my $node = PostgreSQL::Test::Cluster->new('leaks');
$node->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
$node->append_conf('postgresql.conf', "jit = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION polyko');
$node->safe_psql('postgres', "SELECT polyko_load_model('polyko_tiny')");

# 1,000 calls a round: 400 of the tokenizer, 200 embeddings, 200 texts, 100 streams, 100 errors
my $round = q{
DO $$ BEGIN
	FOR i IN 1..200 LOOP
		PERFORM polyko_tokenize('영화 ' || i), polyko_detokenize(ARRAY[5, 6, i]);
		PERFORM polyko_embed('문서 ' || i);
		PERFORM polyko_generate('영화 ' || i, max_tokens => 2, stop => '{다}');
	END LOOP;
	FOR i IN 1..100 LOOP
		PERFORM * FROM (SELECT polyko_generate_stream('영화 ' || i, max_tokens => 400) OFFSET 0) AS t LIMIT 2;
		BEGIN
			IF i % 2 = 0 THEN
				PERFORM polyko_embed(repeat('가 ', 600) || i);
			ELSE
				PERFORM 1 / (length(polyko_generate('영화 ' || i, max_tokens => 2)) * 0);
			END IF;
		EXCEPTION WHEN program_limit_exceeded OR division_by_zero THEN
			NULL;
		END;
	END LOOP;
END $$;
SET statement_timeout = 20;
SELECT count(polyko_generate('영화 ' || i, max_tokens => 400, min_tokens => 400)) FROM generate_series(1, 1000) AS i;
SELECT count(polyko_embed(repeat('영화 ', 200) || i)) FROM generate_series(1, 1000) AS i;
SET statement_timeout = 0;
BEGIN;
DECLARE c CURSOR FOR SELECT polyko_generate_stream('영화', max_tokens => 400, min_tokens => 400);
FETCH 3 FROM c \g /dev/null
ROLLBACK;
} . memory('private');
# what is kept for the next statement goes after a second without one
my $rest = q{SELECT sum(cardinality(polyko_embed(repeat('영화 ', 200) || i))) FROM generate_series(1, 40) AS i;}
  . memory('kept') . 'SELECT pg_sleep(1.5);' . memory('rested')
  . q{BEGIN; DECLARE c CURSOR FOR SELECT polyko_generate_stream('영화', max_tokens => 400, min_tokens => 400);
FETCH 399 FROM c \g /dev/null
} . memory('open') . "CLOSE c;\n" . memory('closed') . "COMMIT;\n";
my ($rc, $out, $err) = $node->psql('postgres', $round x $N_ROUNDS . $rest, on_error_stop => 0);
my @private_kb = $out =~ /^private\|(\d+)$/mg;
my @cancelled  = $err =~ /(canceling statement due to statement timeout)/g;
my @other      = grep { /ERROR/ && !/canceling statement/ } split /\n/, $err;

is(scalar(@private_kb), $N_ROUNDS, "$N_ROUNDS rounds of 1,000 calls ran in one session");
is(scalar(@cancelled), 2 * $N_ROUNDS, 'two cancels a round');
is(join("\n", @other), '', 'no other error');
cmp_ok($private_kb[-1] - $private_kb[ $WARM_ROUNDS - 1 ], '<', $MAX_GROWTH_KB, 'private memory does not grow')
  or diag("kB after each round: @private_kb");
cmp_ok($private_kb[-1], '<', $SESSION_KB, 'and is below 64 MiB');
my ($kept_kb, $rested_kb) = $out =~ /^kept\|(\d+)\n.*^rested\|(\d+)\n?/ms;
cmp_ok($rested_kb, '<', $kept_kb - 2048, "a session at rest gives memory back ($kept_kb kB, then $rested_kb kB)");

my ($open_kb, $closed_kb) = $out =~ /^open\|(\d+)\n.*^closed\|(\d+)\n?/ms;
cmp_ok($closed_kb, '<', $open_kb - 1024, "a stream that is closed does so at once ($open_kb kB, then $closed_kb kB)");

$node->stop;
done_testing();

sub memory
{
	my ($name) = @_;
	return "SELECT '$name', (string_to_array(s, ' '))[2]::int * 4 - (string_to_array(s, ' '))[3]::int * 4"
	  . " FROM pg_read_file('/proc/self/statm') AS s;\n";
}
