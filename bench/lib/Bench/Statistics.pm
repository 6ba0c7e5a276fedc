# Statistics.pm
#    Median and spread, and series that are compared run by run.
package Bench::Statistics;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT_OK = qw(summary paired);

# { median, min, max, n } of some numbers, or nothing.
sub summary
{
	my (@values) = sort { $a <=> $b } grep { defined } @_;
	return unless @values;
	my $half = int(@values / 2);
	my $median = @values % 2 ? $values[$half] : ($values[ $half - 1 ] + $values[$half]) / 2;
	return { median => $median, min => $values[0], max => $values[-1], n => scalar @values };
}

# Summary of f(a, b) over the runs that both series (hashes by run) have: a machine that is slow
# in one run is slow for both. A constant stands under run 0.
sub paired
{
	my ($a, $b, $f) = @_;
	return unless $a && $b;
	return summary(map { $f->($a->{$_}, $b->{$_} // $b->{0}) }
		  grep { defined($b->{$_} // $b->{0}) } keys %$a);
}

1;
