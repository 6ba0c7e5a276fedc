# 002_generate.pl
#    The same answer from every session, tier, thread count, step size and encoding that can hold it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('generate');
$node->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION polyko');
$node->safe_psql('postgres',
	"CREATE SERVER tiny_$_ FOREIGN DATA WRAPPER polyko "
	  . "OPTIONS (path '\$sharedir/extension/polyko-tiny', quantization '$_')")
  for ('f32', 'f16', 'q4');

same_in_every_tier();
same_for_threads_and_steps();
every_quantization_answers();
encodings();

$node->stop;
done_testing();

# A hash over sampled texts, their log-probabilities and embeddings of 20 rows and of a long one.
sub answers
{
	my ($model, $options) = @_;
	local $ENV{PGOPTIONS} = $options // '';

	return $node->safe_psql('postgres', qq{
		SELECT md5(string_agg(polyko_generate_details(p, '$model', max_tokens => 12,
				temperature => 1, seed => i)::text || polyko_embed(p, '$model')::text, '|' ORDER BY i))
		FROM (SELECT i, CASE i WHEN 20 THEN repeat('긴 글 ', 120) ELSE '영화 ' || i END AS p
			FROM generate_series(1, 20) AS i) AS t});
}

sub same_in_every_tier
{
	foreach my $model ('polyko_tiny', 'tiny_q4')
	{
		my $wanted = answers($model, '-c polyko.kernels=scalar');

		foreach my $tier ('auto', 'avx2', 'avx512', 'vnni', 'amx', 'neon')
		{
		  SKIP:
			{
				my ($rc) = $node->psql('postgres', "LOAD 'polyko'; SET polyko.kernels = '$tier'");
				skip "this machine has no tier $tier", 1 if $rc != 0;
				is(answers($model, "-c polyko.kernels=$tier"), $wanted, "$model: $tier gives scalar's bits");
			}
		}
	}
}

sub same_for_threads_and_steps
{
	my $wanted = answers('polyko_tiny');

	foreach my $setting ('polyko.threads=1', 'polyko.threads=2', 'polyko.max_batch_tokens=1',
		'polyko.max_batch_tokens=7', 'polyko.max_batch_tokens=64')
	{
		$node->append_conf('postgresql.conf', "$setting\n");
		$node->reload;
		is(answers('polyko_tiny'), $wanted, "$setting changes no bit");
	}
	$node->append_conf('postgresql.conf', "polyko.threads=0\npolyko.max_batch_tokens=0\n");
	$node->reload;
}

sub every_quantization_answers
{
	foreach my $model ('tiny_f32', 'tiny_f16', 'tiny_q4')
	{
		like($node->safe_psql('postgres', "SELECT polyko_generate('이 영화는', '$model', max_tokens => 8)"),
			qr/\S/, "$model answers");
		is($node->safe_psql('postgres',
				"SELECT sum(a * b) > 0.95 FROM unnest(polyko_embed('이 영화는', '$model'), "
				  . "polyko_embed('이 영화는', 'polyko_tiny')) AS t(a, b)"),
			't', "$model embeds as q8 does, nearly");
	}
}

sub encodings
{
	$node->safe_psql('postgres', 'CREATE DATABASE ascii ENCODING SQL_ASCII TEMPLATE template0');
	$node->safe_psql('postgres', 'CREATE DATABASE euc_kr ENCODING EUC_KR TEMPLATE template0');
	$node->safe_psql($_, 'CREATE EXTENSION polyko') for ('ascii', 'euc_kr');

	my $question = "SELECT polyko_generate('이 영화는', 'polyko_tiny', max_tokens => 8)";
	is($node->safe_psql('ascii', $question), $node->safe_psql('postgres', $question),
		'SQL_ASCII gives the same text');
	my (undef, undef, $err) = $node->psql('ascii',
		"\\set VERBOSITY sqlstate\nSELECT polyko_tokenize(E'\\xff')");
	like($err, qr/22021/, 'SQL_ASCII: a text that is not UTF-8 is 22021');

	foreach my $call ("generate('a')", "generate_details('a')", "generate_stream('a')",
		"tokenize('a')", "token_count('a')", "tokens('a')", "detokenize('{5}')", "embed('a')")
	{
		(undef, undef, $err) = $node->psql('euc_kr', "\\set VERBOSITY sqlstate\nSELECT polyko_$call");
		like($err, qr/0A000/, "EUC_KR: polyko_$call is 0A000");
	}
}
