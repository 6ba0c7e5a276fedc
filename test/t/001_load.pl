# 001_load.pl
#    Every way in which a checkpoint or an image can be bad ends in a clear error with its SQLSTATE,
#    and nothing is lost: the server goes on, and a mended checkpoint answers.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use POSIX qw(mkfifo);
use JSON::PP ();
use PolykoTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('load');
my $images = $node->data_dir . '/polyko';
my $ask = "SELECT polyko_generate('가', 'broken', max_tokens => 1)";
my $first_tensor = 'gpt_neox.embed_in.weight';

a_good_checkpoint_answers();
missing_files();
wrong_kinds_of_file();
unreadable_files();
bad_safetensors();
huge_weights();
bad_shards();
bad_configs();
bad_tokenizers();
bad_images();
no_worker_slot();
no_disk_space();

$node->stop;
done_testing();

# Break a copy of the checkpoint with $break (gets its directory), ask, and expect.
sub broken
{
	my ($name, $state, $pattern, $break) = @_;
	my $dir = new_checkpoint($name =~ s/\W+/-/gr);
	$break->($dir);
	model_server($node, 'broken', $dir);
	fails_with($node, $ask, $state, $pattern, $name);
	is($node->safe_psql('postgres',
			"SELECT problem IS NOT NULL OR NOT loaded FROM polyko_models WHERE name = 'broken'"),
		't', "$name: polyko_models shows the model all the same");
	return $dir;
}

sub a_good_checkpoint_answers
{
	my $dir = new_checkpoint('good');
	model_server($node, 'broken', $dir);
	is($node->safe_psql('postgres', "SELECT cardinality(polyko_embed('가', 'broken')) > 0"),
		't', 'the checkpoint that the others are made from answers');
	is(scalar(() = glob "$images/*.part"), 0, 'no part of an image is left');
	my @found = glob "$images/*";
	is(scalar(grep { !m{/pgsql_tmp_polyko_} } @found), 0, 'all names are skipped by backup tools');
	is(scalar(grep { (stat)[2] & 077 } @found, $images), 0, 'directory and files are private');
}

sub missing_files
{
	my $missing = sub {
		my ($file) = @_;
		return sub { unlink "$_[0]/$file" or die }
	};
	broken('no config', '58P01', qr/config\.json/, $missing->('config.json'));
	broken('no tokenizer', '58P01', qr/tokenizer\.json/, $missing->('tokenizer.json'));
	broken('no weights', '58P01', qr/safetensors/, $missing->('model.safetensors'));
	model_server($node, 'broken', '/nonexistent/dir');
	fails_with($node, $ask, '58P01', qr{/nonexistent/dir}, 'missing path');

	my $dir = broken('mended', '58P01', qr/config/, $missing->('config.json'));
	write_file("$dir/config.json", read_file(golden_dir() . '/config.json'));
	like($node->safe_psql('postgres', "SELECT cardinality(polyko_embed('가', 'broken'))"),
		qr/^\d+$/, 'a mended checkpoint answers');
}

sub wrong_kinds_of_file
{
	foreach my $file ('config.json', 'tokenizer.json', 'model.safetensors')
	{
		broken("a FIFO for $file", 'XX001', qr/\Q$file\E/,
			sub { unlink "$_[0]/$file"; mkfifo("$_[0]/$file", 0600) or die });
		broken("a directory for $file", 'XX001', qr/\Q$file\E/,
			sub { unlink "$_[0]/$file"; mkdir "$_[0]/$file" or die });
		broken("a device for $file", 'XX001', qr/\Q$file\E/,
			sub { unlink "$_[0]/$file"; symlink '/dev/zero', "$_[0]/$file" or die });
	}
	model_server($node, 'broken', golden_dir() . '/config.json');
	fails_with($node, $ask, '58P01', qr/config\.json/, 'a file for the directory');
}

sub unreadable_files
{
  SKIP:
	{
		skip 'root reads everything', 12 if $> == 0;
		my $user = getpwuid($>);
		foreach my $file ('config.json', 'model.safetensors')
		{
			broken("unreadable $file", '42501', qr/\Q$file\E.*HINT:.*\Q$user\E/s,
				sub { chmod 0, "$_[0]/$file" });
		}
		my $dir = broken('unreadable directory', '42501', qr/HINT:.*\Q$user\E/s,
			sub { chmod 0, $_[0] });
		chmod 0700, $dir;
	}
}

sub bad_safetensors
{
	my $file = 'model.safetensors';
	my $header = sub {
		my ($change) = @_;
		return sub { edit_header("$_[0]/$file", $change) }
	};
	my $bytes = sub {
		my ($change) = @_;
		return sub { my $all = read_file("$_[0]/$file"); write_file("$_[0]/$file", $change->($all)) }
	};

	broken('an empty file', 'XX001', qr/\Q$file\E/, $bytes->(sub { '' }));
	broken('a cut file', 'XX001', qr/\Q$file\E/, $bytes->(sub { substr $_[0], 0, -100 }));
	broken('header length beyond the file', 'XX001', qr/\Q$file\E/,
		$bytes->(sub { pack('Q<', 1 << 40) . substr $_[0], 8 }));
	broken('header length of all ones', 'XX001', qr/\Q$file\E/,
		$bytes->(sub { "\xff" x 8 . substr $_[0], 8 }));
	broken('a header that is no JSON', 'XX001', qr/\Q$file\E/,
		$bytes->(sub { my $all = $_[0]; substr($all, 8, 1) = '['; $all }));
	broken('a JSON bomb', 'XX001', qr/\Q$file\E/,
		sub { join_safetensors("$_[0]/$file", '[' x 1_000_000, '') });
	broken('a tensor twice', 'XX001', qr/\Q$file\E/, sub {
		my ($head, $data) = split_safetensors("$_[0]/$file");
		my $text = JSON::PP->new->utf8->encode($head);
		my $again = JSON::PP->new->utf8->encode($head->{$first_tensor});
		$text =~ s/\}$/,"$first_tensor":$again}/;
		join_safetensors("$_[0]/$file", $text, $data);
	});
	broken('offsets beyond the data', 'XX001', qr/\Q$first_tensor\E/, $header->(sub {
		$_[0]{$first_tensor}{data_offsets}[1] += 1 << 30;
	}));
	broken('offsets the wrong way round', 'XX001', qr/\Q$first_tensor\E/, $header->(sub {
		my $offsets = $_[0]{$first_tensor}{data_offsets};
		@$offsets = reverse @$offsets;
	}));
	broken('a negative offset', 'XX001', qr/\Q$first_tensor\E/, $header->(sub {
		$_[0]{$first_tensor}{data_offsets}[0] = -2;
	}));
	broken('overlapping tensors', 'XX001', qr/overlap|ends|begins|offset/, $header->(sub {
		my ($head) = @_;
		my $name = 'gpt_neox.final_layer_norm.bias';
		my $other = $head->{'gpt_neox.final_layer_norm.weight'}{data_offsets};
		$head->{$name}{data_offsets} = [@$other];
	}));
	broken('a shape that does not fit its bytes', 'XX001', qr/\Q$first_tensor\E/, $header->(sub {
		$_[0]{$first_tensor}{shape}[0] += 1;
	}));
	broken('a shape that overflows', 'XX001', qr/\Q$first_tensor\E/, $header->(sub {
		$_[0]{$first_tensor}{shape} = [4294967296, 4294967296, 4294967296];
	}));
	broken('an unknown dtype', 'XX001', qr/\Q$first_tensor\E/, $header->(sub {
		$_[0]{$first_tensor}{dtype} = 'F128';
	}));
	broken('a dtype that is no weight', 'XX001', qr/\Q$first_tensor\E.*I16/s, $header->(sub {
		$_[0]{$first_tensor}{dtype} = 'I16';
	}));
	my ($head) = split_safetensors(golden_dir() . "/$file");
	my ($last) = sort { $head->{$b}{data_offsets}[1] <=> $head->{$a}{data_offsets}[1] }
	  grep { $_ ne '__metadata__' } keys %$head;
	broken('a missing tensor', 'XX001', qr/\Q$last\E/, $header->(sub {
		my $tensor = delete $_[0]{$last};
		substr(${ $_[1] }, $tensor->{data_offsets}[0]) = '';
	}));
	broken('a tensor of another name', 'XX001', qr/surprise/, $header->(sub {
		$_[0]{surprise} = delete $_[0]{$last};
	}));
	broken('an unexpected tensor', 'XX001', qr/lora_A/, $header->(sub {
		my ($head, $data) = @_;
		my $end = length $$data;
		$$data .= "\0" x 4;
		$head->{'lora_A'} = { dtype => 'F32', shape => [1], data_offsets => [$end, $end + 4] };
	}));
	broken('a wrong shape', 'XX001', qr/gpt_neox\.final_layer_norm\.weight/, $header->(sub {
		my $tensor = $_[0]{'gpt_neox.final_layer_norm.weight'};
		$tensor->{shape} = [1, @{ $tensor->{shape} }];
	}));
	broken('a NaN weight', 'XX001', qr/NaN/, $header->(sub {
		my ($head, $data) = @_;
		my $nan = $head->{$first_tensor}{dtype} eq 'F32' ? "\xff\xff\xff\x7f" : "\xff\x7f";
		substr($$data, $head->{$first_tensor}{data_offsets}[0], length $nan) = $nan;
	}));
}

# Each is a number, of BF16 as of F32: nothing can be said before it is used.
sub huge_weights
{
	my $dir = new_checkpoint('huge');
	edit_header("$dir/model.safetensors", sub {
		my ($head, $data) = @_;
		my $bias = $head->{'gpt_neox.final_layer_norm.bias'};
		my $huge = $bias->{dtype} eq 'F32' ? "\x99\x76\x96\x7e" : "\x96\x7e";
		$bias->{dtype} = 'BF16' if $bias->{dtype} eq 'F16';
		substr($$data, $bias->{data_offsets}[0], length($huge) * $bias->{shape}[0]) = $huge x $bias->{shape}[0];
	});
	model_server($node, 'broken', $dir);
	fails_with($node, $ask, 'XX001', qr/no number/, 'weights that give no number');
	fails_with($node, "SELECT polyko_embed('가', 'broken')", 'XX001', qr/no number/, 'nor an embedding');
}

sub bad_shards
{
	my $sharded = sub {
		my ($change) = @_;
		return sub {
			my ($dir) = @_;
			unlink "$dir/model.safetensors";
			foreach my $file (glob golden_dir() . '-shards/model*')
			{
				PostgreSQL::Test::Utils::system_or_bail('cp', $file, $dir);
			}
			foreach my $file ('config.json', 'tokenizer.json')
			{
				PostgreSQL::Test::Utils::system_or_bail('cp', golden_dir() . "-shards/$file", $dir);
			}
			$change->($dir);
		}
	};
	my $index = sub {
		my ($change) = @_;
		return $sharded->(sub { edit_json("$_[0]/model.safetensors.index.json", $change) });
	};
	my $second = 'model-00002-of-00003.safetensors';

	broken('a missing shard', '58P01', qr/\Q$second\E/, $sharded->(sub { unlink "$_[0]/$second" }));
	broken('a cut shard', 'XX001', qr/\Q$second\E/, $sharded->(sub {
		my $all = read_file("$_[0]/$second");
		write_file("$_[0]/$second", substr $all, 0, length($all) - 10);
	}));
	foreach my $name ('../escape.safetensors', '/etc/passwd', '..', 'sub/dir.safetensors', '')
	{
		broken("an index that names '$name'", 'XX001', qr/index/,
			$index->(sub { $_[0]{weight_map}{$first_tensor} = $name }));
	}
	broken('an index that puts a tensor into the wrong shard', 'XX001', qr/\Q$first_tensor\E/,
		$index->(sub { $_[0]{weight_map}{$first_tensor} = 'model-00003-of-00003.safetensors' }));
	broken('an index without a map', 'XX001', qr/weight_map/, $index->(sub { delete $_[0]{weight_map} }));
	broken('an index that is no JSON', 'XX001', qr/index/,
		$sharded->(sub { write_file("$_[0]/model.safetensors.index.json", '{') }));
}

sub bad_configs
{
	my $config = sub {
		my ($change) = @_;
		return sub { edit_json("$_[0]/config.json", $change) }
	};
	broken('another architecture', '0A000', qr/llama/, $config->(sub { $_[0]{model_type} = 'llama' }));
	broken('another activation', '0A000', qr/relu/, $config->(sub { $_[0]{hidden_act} = 'relu' }));
	broken('no layers', 'XX001', qr/num_hidden_layers/, $config->(sub { $_[0]{num_hidden_layers} = 0 }));
	broken('too many layers', 'XX001', qr/num_hidden_layers/,
		$config->(sub { $_[0]{num_hidden_layers} = 1_000_000_000 }));
	broken('heads that do not divide', 'XX001', qr/num_attention_heads/,
		$config->(sub { $_[0]{num_attention_heads} = 7 }));
	broken('a size that is text', 'XX001', qr/hidden_size/, $config->(sub { $_[0]{hidden_size} = 'x' }));
	broken('a broken config', 'XX001', qr/config\.json/,
		sub { write_file("$_[0]/config.json", '{"model_type": ') });
	broken('a config with a key twice', 'XX001', qr/config\.json/,
		sub { write_file("$_[0]/config.json", '{"model_type": "gpt_neox", "model_type": "gpt_neox"}') });
	broken('a config that is a bomb', 'XX001', qr/config\.json/,
		sub { write_file("$_[0]/config.json", '{"a":' x 100_000) });
}

sub bad_tokenizers
{
	my $tokenizer = sub {
		my ($change) = @_;
		return sub { edit_json("$_[0]/tokenizer.json", $change) }
	};
	broken('a hole in the ids', 'XX001', qr/id/, $tokenizer->(sub {
		my $vocab = $_[0]{model}{vocab};
		my ($token) = grep { $vocab->{$_} == 100 } keys %$vocab;
		delete $vocab->{$token};
		$_[0]{model}{merges} = [];
	}));
	broken('a merge of unknown tokens', 'XX001', qr/merge/,
		$tokenizer->(sub { $_[0]{model}{merges}[0] = 'nobody knows' }));
	broken('a tokenizer of another kind', '0A000', qr/Unigram/,
		$tokenizer->(sub { $_[0]{model}{type} = 'Unigram' }));
	broken('a pre-tokenizer of another kind', '0A000', qr/Metaspace/,
		$tokenizer->(sub { $_[0]{pre_tokenizer} = { type => 'Metaspace' } }));
	broken('a normalizer of another kind', '0A000', qr/Lowercase/,
		$tokenizer->(sub { $_[0]{normalizer} = { type => 'Lowercase' } }));
	broken('more tokens than rows', 'XX001', qr/token/, $tokenizer->(sub {
		my $vocab = $_[0]{model}{vocab};
		my $n = scalar(keys %$vocab) + scalar(@{ $_[0]{added_tokens} });
		my %taken = map { $_ => 1 } values %$vocab, map { $_->{id} } @{ $_[0]{added_tokens} };
		my ($id) = sort { $b <=> $a } keys %taken;
		$vocab->{"surplus$_"} = $id + $_ for 1 .. 5000;
	}));
	broken('a broken tokenizer', 'XX001', qr/tokenizer\.json/,
		sub { write_file("$_[0]/tokenizer.json", '{"version": "1.0"') });
}

# Images: altered weights are found by verification, altered tables when they are opened.
sub bad_images
{
	my $dir = new_checkpoint('images');
	edit_json("$dir/config.json", sub { $_[0]{_name_or_path} = 'no other checkpoint has this' });
	model_server($node, 'broken', $dir);
	$node->safe_psql('postgres', $ask);
	my $file = $node->safe_psql('postgres',
		"SELECT file FROM polyko_images WHERE fingerprint = (SELECT fingerprint FROM polyko_models"
		  . " WHERE name = 'broken') AND quantization = 'q8'");
	my $image = "$images/$file";
	my $good = read_file($image);

	my $altered = $good;
	substr($altered, -5000, 1) = chr(ord(substr $altered, -5000, 1) ^ 1);
	write_file($image, $altered);
	chmod 0600, $image;
	fails_with($node, "SELECT polyko_verify_model('broken')", 'XX001', qr/checksum/, 'altered weights');

	foreach my $case (
		[ 'a cut image', substr($good, 0, length($good) - 4096) ],
		[ 'an image cut to its header', substr($good, 0, 100) ],
		[ 'an empty image', '' ],
		[ 'an altered header', 'X' . substr $good, 1 ],
		[ 'altered tables', substr($good, 0, 5000) . "\xff\xfe" . substr($good, 5002) ])
	{
		my ($name, $bytes) = @$case;
		write_file($image, $bytes);
		chmod 0600, $image;
		my ($rc, $out, $err) = $node->psql('postgres', $ask);
		is($rc, 0, "$name: is built anew and answers");
		like($err, qr/WARNING:.*damaged/, "$name: there is a warning");
		is(read_file($image), $good, "$name: the new image has the same bytes");
	}

	chmod 0666, $image;
	fails_with($node, $ask, '42501', qr/image|\.img/, 'an image that others may write');
	chmod 0600, $image;
	unlink $image;
	is($node->safe_psql('postgres', "SELECT polyko_verify_model('broken')"), 't',
		'a removed image is built anew');

	unlink "$dir/model.safetensors";
	is($node->safe_psql('postgres', 'SELECT polyko_prune_images() > 0'), 't',
		'the image of a checkpoint that is gone is pruned');
	ok(!-e $image, 'its file is gone');
}

sub no_worker_slot
{
	my $full = start_node('full', "max_worker_processes = 0\n");
	my ($rc, $out, $err) = $full->psql('postgres', "SELECT length(polyko_generate('가')) >= 0");
	is($out, 't', 'without a worker slot the session converts by itself');
	like($err, qr/NOTICE:.*worker/, 'and says so');
	$full->stop;
}

sub no_disk_space
{
  SKIP:
	{
		my $small = $ENV{POLYKO_SMALL_DISK};
		skip 'POLYKO_SMALL_DISK names no small file system', 4 unless $small && -w $small;
		my $full = start_node('small', "polyko.image_directory = '$small/polyko'\n");
		fails_with($full, "SELECT polyko_generate('가')", '53100', qr/free/, 'no room for the image');
		is(scalar(() = glob "$small/polyko/*.part"), 0, 'no part is left on the full disk');
		$full->stop;
	}
}
