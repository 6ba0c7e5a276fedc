# 013_sharing.pl
#    Many models, many sessions and parallel processes at one image directory.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run ();
use PolykoTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('sharing', 'max_connections = 50');
my $images = $node->data_dir . '/polyko';

a_directory_of_others();
mapped_once();
everybody_is_told_why();
hints_can_be_run();
parallel_processes();

$node->stop;
done_testing();

# Images that are there already are no reason to trust a directory that others can write.
sub a_directory_of_others
{
	$node->safe_psql('postgres', "SELECT polyko_token_count('가', 'polyko_tiny')");
	chmod 0777, $images;
	fails_with($node, "SELECT polyko_token_count('가', 'polyko_tiny')", '42501',
		qr/only the server's user can write/, 'a directory that all can write');
	is($node->safe_psql('postgres', "SELECT count(*) > 0 FROM polyko_models"), 't',
		'polyko_models answers all the same');
	chmod 0700, $images;
	is($node->safe_psql('postgres', "SELECT polyko_token_count('가', 'polyko_tiny') > 0"), 't',
		'it is used again once it is private');
}

# A statement that takes twelve models in turn maps each image once.
sub mapped_once
{
	my $dir = new_checkpoint('mapped');
	model_server($node, "m$_", $dir) for 0 .. 11;

	my ($in, $out, $err) = ('', '', '');
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$in, '>', \$out, '2>', \$err);
	$in = "SELECT 'pid', pg_backend_pid();\nBEGIN;\n"
	  . "SELECT sum(polyko_token_count('가', 'm' || i % 12)) > 0, 'ready' FROM generate_series(1, 600) i;\n";
	$run->pump until $out =~ /ready/ || $err =~ /ERROR/;
	my ($pid) = $out =~ /pid\|(\d+)/;
	cmp_ok(scalar(() = read_file("/proc/$pid/maps") =~ /\.img/g), '<=', 12,
		'a transaction maps twelve models twelve times');
	$out = '';
	$in = "COMMIT;\nSELECT 'done';\n";
	$run->pump until $out =~ /done/ || $err =~ /ERROR/;
	cmp_ok(scalar(() = read_file("/proc/$pid/maps") =~ /\.img/g), '<=', 8,
		'and keeps eight for the next');
	$in = "\\q\n";
	$run->finish;
	is($err, '', 'without an error');
}

# A checkpoint that can't be converted: each session gets the reason, also those that waited.
sub everybody_is_told_why
{
	my $dir = new_checkpoint('hopeless');
	# large, so that finding out takes longer than a waiting session's look
	edit_json("$dir/tokenizer.json", sub {
			$_[0]{model}{vocab} = { map { sprintf('%06x', $_) => $_ } 0 .. 199_999 };
			$_[0]{model}{merges} = ['no such'];
			$_[0]{added_tokens} = [];
		});
	model_server($node, 'hopeless', $dir);

	# all start at once, when the lock is given back
	my ($in, $locked, @runs, @out, @err) = ("SELECT pg_advisory_lock(1), 'locked';\n", '');
	my $holder = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$in, '>', \$locked);
	$holder->pump until $locked =~ /locked/;
	foreach my $i (0 .. 11)
	{
		push @runs, IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
				'SELECT pg_advisory_lock_shared(1)', '-c',
				"SELECT polyko_token_count('가', 'hopeless')" ], '>', \$out[$i], '2>', \$err[$i]);
	}
	$node->poll_query_until('postgres',
		"SELECT count(*) = 12 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
	  or die 'the sessions do not wait';
	$in = "\\q\n";
	$holder->finish;
	$_->finish for @runs;
	is(scalar(grep { /tokenizer\.json/ } @err), 12, 'twelve sessions are told what is wrong')
	  or diag(join('', @err));
}

sub hints_can_be_run
{
	$node->safe_psql('postgres', 'CREATE SERVER "Odd ""name" FOREIGN DATA WRAPPER polyko');
	my (undef, $message) = failure($node, "SELECT polyko_token_count('가', 'Odd \"name')");
	like($message, qr/ALTER SERVER "Odd ""name" OPTIONS/, 'a hint quotes the name of the server');
}

# Processes of a parallel query that have to convert the model themselves don't spoil it for each
# other.
sub parallel_processes
{
	my $few = start_node('few', "max_worker_processes = 3\nmax_parallel_workers = 3");
	$few->safe_psql('postgres', 'ALTER SYSTEM SET max_logical_replication_workers = 0');
	$few->restart;
	$few->safe_psql('postgres', 'CREATE TABLE t AS SELECT i FROM generate_series(1, 3000) i;'
		  . ' ALTER TABLE t SET (parallel_workers = 3)');
	$few->safe_psql('postgres', 'ANALYZE t');
	foreach my $round (1 .. 5)
	{
		my $dir = new_checkpoint("parallel$round");
		edit_json("$dir/config.json", sub { $_[0]{_name_or_path} = "parallel$round" });
		model_server($few, "p$round", $dir);
		my ($rc, $out, $err) = $few->psql('postgres',
			'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;'
			  . ' SET min_parallel_table_scan_size = 0;'
			  . " SELECT sum(polyko_token_count('가' || i, 'p$round')) > 0 FROM t");
		is($out, 't', "parallel processes without a worker slot, round $round") or diag($err);
		is(scalar(() = glob $few->data_dir . '/polyko/*.{part,aside}'), 0, 'no part is left');
	}
	$few->stop;
}
