# 012_builder.pl
#    Conversions by many sessions, cancelled, stopped and repeated; and models in odd places.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run ();
use PolykoTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# twelve sessions at once: PostgreSQL::Test::Cluster allows ten
my $node = start_node('builder', 'max_connections = 30');
my $images = $node->data_dir . '/polyko';

many_sessions_one_build();
a_copy_reuses_the_image();
the_worker_is_stopped();
many_models_in_one_transaction();
names_that_fill_messages();
other_encodings();

$node->stop;
done_testing();

# Twelve sessions ask for a model that has no image: it is converted once.
sub many_sessions_one_build
{
	my $dir = new_checkpoint('many');
	my $log = -s $node->logfile;
	my (@runs, @out, @err);

	edit_json("$dir/config.json", sub { $_[0]{_name_or_path} = 'many' });
	model_server($node, 'many', $dir);
	foreach my $i (0 .. 11)
	{
		push @runs, IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
				"SELECT polyko_embed('가', 'many')" ], '>', \$out[$i], '2>', \$err[$i]);
	}
	$_->finish for @runs;
	is(scalar(grep { $_ =~ /^\{/ } @out), 12, 'twelve sessions have their answer')
	  or diag(@err);
	is(scalar(keys %{ { map { $_ => 1 } @out } }), 1, 'and it is the same');
	my @built = slurp_file($node->logfile, $log) =~ /polyko converted model "many"/g;
	cmp_ok(scalar(@built), '>=', 1, 'a worker logged its work');
	is($node->safe_psql('postgres',
			"SELECT count(*) FROM polyko_images WHERE checkpoint = '$dir'"), '1', 'there is one image');
}

sub a_copy_reuses_the_image
{
	my $dir = new_checkpoint('original');
	my $copy = new_checkpoint('copy');

	model_server($node, 'original', $dir);
	model_server($node, 'copied', $copy);
	my $first = $node->safe_psql('postgres', "SELECT polyko_embed('가', 'original')");
	my $n = scalar(() = glob "$images/*.img");
	is($node->safe_psql('postgres', "SELECT polyko_embed('가', 'copied')"), $first,
		'a copy of a checkpoint gives the same answer');
	is(scalar(() = glob "$images/*.img"), $n, 'from the same image');
	utime time, time, "$copy/model.safetensors";
	is($node->safe_psql('postgres', "SELECT polyko_embed('가', 'copied')"), $first,
		'a touched checkpoint too');
	is(scalar(() = glob "$images/*.img"), $n, 'from the same image');
	write_file("$copy/generation_config.json", '{"eos_token_id": [3, 5]}');
	$node->safe_psql('postgres', "SELECT polyko_embed('가', 'copied')");
	is(scalar(() = glob "$images/*.img"), $n + 1, 'a checkpoint with other content has its own');
}

# A stopped builder costs its caller an error that says so, and nothing else.
sub the_worker_is_stopped
{
	my $dir = new_checkpoint('stopped');
	edit_json("$dir/config.json", sub { $_[0]{_name_or_path} = 'stopped' });
	model_server($node, 'stopped', $dir);

	# Ask, stop the worker as soon as it shows, and see that the question ends in its time: the
	# worker of so small a model may be faster.
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d',
			$node->connstr('postgres'), '-c', "SELECT polyko_embed('가', 'stopped') IS NOT NULL" ],
		'>', \$out, '2>', \$err);
	my $terminated = 0;
	for (1 .. 400)
	{
		my $n = $node->safe_psql('postgres',
			"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
			  . " WHERE backend_type = 'polyko builder'");
		$terminated += $n;
		last if $n > 0 || $out ne '';
		$run->pump_nb;
	}
	$run->finish;
	ok($out =~ /^t/ || $err =~ /57P03/, 'the question is answered, or says that its worker was stopped')
	  or diag("terminated $terminated, out '$out', err '$err'");
	is($node->safe_psql('postgres', "SELECT polyko_embed('가', 'stopped') IS NOT NULL"), 't',
		'a later call answers');
	is(scalar(() = glob "$images/*.part"), 0, 'no part is left');
}

sub many_models_in_one_transaction
{
	my $dir = new_checkpoint('shared');
	my $calls = '';
	foreach my $i (1 .. 12)
	{
		model_server($node, "m$i", $dir, $i % 2 ? "quantization 'q4'" : '');
		$calls .= "SELECT polyko_token_count('가', 'm$i') > 0;\n";
	}
	is($node->safe_psql('postgres', "BEGIN;\n" . $calls x 5 . 'COMMIT;'), join("\n", ('t') x 60),
		'twelve models in turn in one transaction');
	is($node->safe_psql('postgres',
			"SELECT count(*) FROM generate_series(1, 200) i"
			  . " WHERE polyko_token_count('가', 'm' || (1 + i % 12)) > 0"), '200',
		'and in one statement');
}

# A message never ends in half a character.
sub names_that_fill_messages
{
	my $long = '/가나다라마바사아자차' x 16;
	foreach my $pad ('', 'a', 'ab')
	{
		$node->safe_psql('postgres',
			"SET client_min_messages = error; CREATE SERVER long$pad FOREIGN DATA WRAPPER polyko"
			  . " OPTIONS (path '$long$pad')");
	}
	is($node->safe_psql('postgres',
			"SELECT count(*) FROM polyko_models WHERE name LIKE 'long%' AND length(problem) > 50"), '3',
		'polyko_models shows models with long Korean paths');
	my ($state) = failure($node, "SELECT polyko_embed('가', 'longa')");
	is($state, '58P01', 'and their errors are shown too');
	($state) = failure($node, 'CREATE SERVER longer FOREIGN DATA WRAPPER polyko OPTIONS (path \'/'
		  . 'a' x 2000 . '\')');
	is($state, '22023', 'a path that no file can have is refused');
}

# Generation needs UTF-8; the views answer everywhere.
sub other_encodings
{
	$node->safe_psql('postgres',
		"CREATE DATABASE euckr ENCODING 'EUC_KR' LOCALE 'C' TEMPLATE template0");
	$node->safe_psql('euckr', "SET client_encoding = 'UTF8'; CREATE EXTENSION polyko;"
		  . " SET client_min_messages = error;"
		  . " CREATE SERVER far FOREIGN DATA WRAPPER polyko OPTIONS (path '/한글/경로')");
	is($node->safe_psql('euckr',
			"SET client_encoding = 'UTF8'; SELECT count(*) FROM polyko_models WHERE problem <> ''"), '1',
		'polyko_models answers in an EUC_KR database');
	my ($state) = failure($node, "SELECT polyko_generate('a')", dbname => 'euckr');
	is($state, '0A000', 'polyko_generate is refused there');
}
