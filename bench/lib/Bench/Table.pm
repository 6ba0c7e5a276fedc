# Table.pm
#    Plain text in columns.
package Bench::Table;
use strict;
use warnings;

# Names of columns to the left, to the right, to the left again; then the rows. Columns that are
# empty in every row are left out.
sub text
{
	my ($left, $right, $rest, @rows) = @_;
	my @names = (@$left, @$right, @$rest);
	my @is_right = ((0) x @$left, (1) x @$right, (0) x @$rest);
	my @used = grep { my $i = $_; grep { ($_->[$i] // '') ne '' } @rows } 0 .. $#names;
	my @widths = map { my $i = $_; longest(map { $_->[$i] } \@names, @rows) } 0 .. $#names;
	my $line = sub {
		my ($cells) = @_;
		my @texts = map { sprintf $is_right[$_] ? '%*s' : '%-*s', $widths[$_], $cells->[$_] // '' } @used;
		return join('  ', @texts) =~ s/ +$//r . "\n";
	};
	return $line->(\@names) . $line->([ map { '-' x $_ } @widths ]) . join '', map { $line->($_) } @rows;
}

sub longest
{
	my ($most) = sort { $b <=> $a } map { length($_ // '') } @_;
	return $most;
}

1;
