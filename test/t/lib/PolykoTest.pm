package PolykoTest;

# What the TAP tests share: clusters, checkpoints to break, and the SQLSTATE of a statement.
#
# Checkpoints are made from the small one in test/golden/neox, in a directory of the test.

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Path qw(make_path);
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(start_node new_checkpoint model_server failure fails_with
  read_file write_file edit_json split_safetensors join_safetensors edit_header golden_dir);

# The repository's small checkpoint.
sub golden_dir
{
	return abs_path(dirname(__FILE__) . '/../../golden/neox');
}

sub start_node
{
	my ($name, $conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(allows_streaming => 1);
	$node->append_conf('postgresql.conf', $conf) if $conf;
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION polyko');
	return $node;
}

# A copy of the small checkpoint that may be broken; returns its directory.
sub new_checkpoint
{
	my ($name) = @_;
	my $dir = abs_path(PostgreSQL::Test::Utils::tempdir()) . "/$name";
	make_path($dir);
	foreach my $file (glob golden_dir() . '/*')
	{
		next if $file =~ /golden\.json$/;
		copy($file, $dir) or die "copy $file: $!";
	}
	return $dir;
}

# A server called $name on $dir.
sub model_server
{
	my ($node, $name, $dir, $options) = @_;
	$options = $options ? ", $options" : '';
	$node->safe_psql('postgres',
		"SET client_min_messages = error; DROP SERVER IF EXISTS $name;\n"
		  . "CREATE SERVER $name FOREIGN DATA WRAPPER polyko OPTIONS (path '$dir'$options)");
}

# (SQLSTATE, whole message with hint) of a statement that fails; ('', '') if it does not.
sub failure
{
	my ($node, $sql, %options) = @_;
	my ($rc, $out, $err) =
	  $node->psql($options{dbname} // 'postgres', "\\set VERBOSITY verbose\n$sql", %options);
	return $err =~ /^.*?(?:ERROR|FATAL):\s+(\w{5}): (.*)/s ? ($1, $2) : ('', '');
}

# The statement fails with this SQLSTATE, a message like $pattern, and a hint.
sub fails_with
{
	my ($node, $sql, $state, $pattern, $name) = @_;
	my ($found, $message) = failure($node, $sql);
	is($found, $state, "$name: $state") or diag($message);
	like($message, $pattern, "$name: the message names it");
	like($message, qr/HINT:/, "$name: there is a hint");
}

sub read_file
{
	my ($path) = @_;
	open my $file, '<:raw', $path or die "open $path: $!";
	local $/;
	return scalar <$file>;
}

sub write_file
{
	my ($path, $bytes) = @_;
	unlink $path;
	open my $file, '>:raw', $path or die "create $path: $!";
	print $file $bytes;
	close $file or die "write $path: $!";
}

# Change a JSON file: $change gets the decoded value.
sub edit_json
{
	my ($path, $change) = @_;
	my $json = JSON::PP->new->utf8;
	my $value = $json->decode(read_file($path));
	$change->($value);
	write_file($path, $json->encode($value));
}

# (header as a hash, data bytes) of a safetensors file.
sub split_safetensors
{
	my ($path) = @_;
	my $bytes = read_file($path);
	my $len = unpack('Q<', $bytes);
	return (JSON::PP->new->utf8->decode(substr($bytes, 8, $len)), substr($bytes, 8 + $len));
}

sub join_safetensors
{
	my ($path, $header, $data) = @_;
	$header = JSON::PP->new->utf8->canonical->encode($header) if ref $header;
	write_file($path, pack('Q<', length $header) . $header . $data);
}

# Change the header of a safetensors file; $change gets (header, \data).
sub edit_header
{
	my ($path, $change) = @_;
	my ($header, $data) = split_safetensors($path);
	$change->($header, \$data);
	join_safetensors($path, $header, $data);
}

1;
