# Results.pm
#    results.csv: one line a measurement, written at once; and reading it back.
#
# what begins with where it was measured: sql, core (below SQL), llama.cpp, model, or nothing for
# the machine. Run 0 is what was measured or is known once.
package Bench::Results;
use strict;
use warnings;
use File::Basename 'dirname';
use File::Path 'make_path';
use POSIX 'strftime';
use Text::ParseWords 'parse_line';

my @COLUMNS = qw(time commit cpu threads model what format run value unit);

# A new file; $facts has commit, cpu, threads and model.
sub create
{
	my ($class, $path, $facts) = @_;
	make_path(dirname($path));
	open my $file, '>', $path or die "bench: $path: $!\n";
	$file->autoflush(1);
	my $self = bless { file => $file, facts => {%$facts} }, $class;
	print $file join(',', @COLUMNS), "\n";
	return $self;
}

# The tier of the kernels belongs to the processor's name; it is known after the first model.
sub set_tier
{
	my ($self, $tier) = @_;
	$self->{facts}{cpu} =~ s/( \([a-z0-9]+\))?$/ ($tier)/ if $tier;
	return $self;
}

sub add
{
	my ($self, $run, $what, $format, $value, $unit) = @_;
	my %line = (
		%{ $self->{facts} },
		time => strftime('%Y-%m-%dT%H:%M:%SZ', gmtime), what => $what, format => $format,
		run => $run, value => sprintf('%.6g', $value), unit => $unit);
	print { $self->{file} } join(',', map { field($line{$_}) } @COLUMNS), "\n";
}

sub field
{
	my ($text) = @_;
	return $text unless $text =~ /[",\n]/;
	return '"' . $text =~ s/"/""/gr . '"';
}

# All lines of a file, as hashes.
sub read_all
{
	my ($path) = @_;
	open my $file, '<', $path or die "bench: $path: $!\n";
	my $heading = <$file> // '';
	chomp $heading;
	die "bench: $path is no file of results\n" unless $heading eq join ',', @COLUMNS;
	my @lines;
	while (my $text = <$file>)
	{
		chomp $text;
		my %line;
		@line{@COLUMNS} = parse_line(',', 0, $text =~ s/""/\\"/gr);
		push @lines, \%line;
	}
	return @lines;
}

1;
