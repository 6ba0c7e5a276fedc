# ServeReport.pm
#    From the results of make bench-serve to a table, and to the ratios that matter.
package Bench::ServeReport;
use strict;
use warnings;

use Bench::Report;
use Bench::Results;
use Bench::Statistics 'paired';
use Bench::Table;

# Reads DIR/results.csv, writes results.txt beside it, and returns the text.
sub write
{
	my ($dir) = @_;
	my $data  = Bench::Report::collect(Bench::Results::read_all("$dir/results.csv"));
	my $text  = Bench::Report::heading($data) . Bench::Report::table($data) . ratios($data)
	  . Bench::Report::warning($data);
	Bench::Report::save("$dir/results.txt", $text);
	return $text . "\n$dir: results.csv, results.txt\n";
}

# (what is said, numerator, denominator), as patterns of "what"
my @RATIOS = (
	[ '16 clients to 1',                  'sql \d\d+ clients',      'sql 1 client' ],
	[ '16 clients to llama-server',       'sql \d\d+ clients',      'llama.cpp \d\d+ clients' ],
	[ '1 client, with drafts to without', 'sql 1 client, drafts', 'sql 1 client' ],
	[ '16 clients, with drafts to without', 'sql \d\d+ clients, drafts', 'sql \d\d+ clients' ],
	[ '16 clients with drafts to llama-server', 'sql \d\d+ clients, drafts',
		'llama.cpp \d\d+ clients' ],
	[ '1 client to llama-server',         'sql 1 client',           'llama.cpp 1 client' ],
	[ 'p99 between tokens, with a prompt to without', 'sql between tokens, .* and a prompt: p99',
		'sql between tokens, \d+ streams: p99' ],
	[ 'rows to one by one',               'sql rows',               'sql rows one by one' ],
	[ 'one by one to llama.cpp',          'sql rows one by one',    'llama.cpp rows one by one' ],
	[ 'embed to one by one',              'sql embed',              'sql embed one by one' ],
	[ 'embed to prefill',                 'sql embed',              'sql prefill \d+' ],
	[ 'common prefix to none',            'sql rows with a common prefix', 'sql rows of that length' ],
	[ 'prefill to core',                  'sql prefill \d+',        'core prefill \d+' ],
	[ 'decode to core',                   'sql decode',             'core decode' ],
	[ 'request of 1, engine to backend',  'sql request of 1 in the engine', 'sql request of 1 in the backend' ],
	[ 'request of 16, engine to backend', 'sql request of 16 in the engine', 'sql request of 16 in the backend' ],);

sub ratios
{
	my ($data) = @_;
	my @rows;
	for (@RATIOS)
	{
		my ($name, @patterns) = @$_;
		my ($above, $below) = map { series($data, $_) } @patterns;
		my $ratio = paired($above, $below, sub { $_[0] / $_[1] }) or next;
		push @rows, [ $name, sprintf('%.2f', $ratio->{median}),
			sprintf('%.2f..%.2f', $ratio->{min}, $ratio->{max}) ];
	}
	return '' unless @rows;
	return "\n" . Bench::Table::text(['ratio'], [ 'median', 'spread' ], [], @rows);
}

# Values by run of the one key whose "what" is like the pattern, whatever its format.
sub series
{
	my ($data, $pattern) = @_;
	my ($key) = grep { /^$pattern\|/ } @{ $data->{order} };
	return defined $key ? $data->{series}{$key} : undef;
}

1;
