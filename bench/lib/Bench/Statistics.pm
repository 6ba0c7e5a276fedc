# Statistics.pm
#    Median, spread and quantiles, and series that are compared run by run.
package Bench::Statistics;
use strict;
use warnings;
use Exporter 'import';
use POSIX ();

our @EXPORT_OK = qw(summary paired quantile);

# { median, min, max, n } of some numbers, or nothing.
sub summary
{
	my (@values) = sort { $a <=> $b } grep { defined } @_;
	return unless @values;
	my $half = int(@values / 2);
	my $median = @values % 2 ? $values[$half] : ($values[ $half - 1 ] + $values[$half]) / 2;
	return { median => $median, min => $values[0], max => $values[-1], n => scalar @values };
}

# The least value that a share (0 to 1) of all does not exceed; undef of none.
sub quantile
{
	my ($share, @values) = @_;
	return undef unless @values;
	@values = sort { $a <=> $b } @values;
	my $i = POSIX::ceil($share * @values) - 1;
	return $values[ $i < 0 ? 0 : $i ];
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
