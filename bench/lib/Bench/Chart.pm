# Chart.pm
#    A bar chart as SVG: panels one below the other, each with a scale of its own from 0.
package Bench::Chart;
use strict;
use warnings;
use POSIX ();

my $WIDTH   = 760;
my $LEFT    = 150;    # where bars begin; labels stand before it
my $RIGHT   = 110;    # room for the numbers after the longest bar
my $TOP     = 96;
my $BAR     = 20;
my $STEP    = 27;
my $HEADING = 34;     # of a panel
my $GAP     = 40;     # below its bars, for the scale
my $OURS    = '#5b9bd5';
my $OTHERS  = '#c4cad0';
my $FONT    = 'font-family="Helvetica, Arial, sans-serif"';

# caption: title, lines, source. Panels: title, unit, bars (label, median, min, max, is_ours).
sub svg
{
	my ($caption, @panels) = @_;
	my $y    = $TOP;
	my $body = '';
	for my $panel (@panels)
	{
		$body .= panel($panel, $y);
		$y += height($panel);
	}
	my $source = text(20, $y + 10, $caption->{source}, 'font-size="11" fill="#666"');
	return head($y + 24, $caption) . $body . $source . "</svg>\n";
}

sub height
{
	my ($panel) = @_;
	return $HEADING + $STEP * @{ $panel->{bars} } + $GAP;
}

sub head
{
	my ($height, $caption) = @_;
	my $title = escape($caption->{title});
	my $y     = 32;
	my $lines = join '',
	  map { $y += 18; text(20, $y, $_, 'font-size="12" fill="#444"') } @{ $caption->{lines} };
	return qq{<svg xmlns="http://www.w3.org/2000/svg" width="$WIDTH" height="$height" }
	  . qq{viewBox="0 0 $WIDTH $height" role="img" aria-label="$title" $FONT>\n<title>$title</title>\n}
	  . qq{<rect width="$WIDTH" height="$height" fill="#fff"/>\n}
	  . text(20, 32, $caption->{title}, 'font-size="18" font-weight="bold" fill="#111"') . $lines;
}

sub panel
{
	my ($panel, $y) = @_;
	my ($most) = sort { $b <=> $a } map { $_->{max} } @{ $panel->{bars} };
	my $step   = round_step($most / 5);
	my $scale  = ($WIDTH - $LEFT - $RIGHT) / $most;
	my $bottom = $y + $HEADING + $STEP * @{ $panel->{bars} };
	my $small  = 'font-size="11" fill="#666"';
	my $svg    = text(20, $y + 16, $panel->{title}, 'font-size="14" font-weight="bold" fill="#111"');

	for (my $tick = 0; $tick <= $most; $tick += $step)
	{
		my $x = $LEFT + $tick * $scale;
		$svg .= line($x, $y + $HEADING - 6, $x, $bottom, '#ddd', 1)
		  . text($x, $bottom + 14, sprintf('%g', $tick), "$small text-anchor=\"middle\"");
	}
	$svg .= text($WIDTH - 20, $bottom + 14, $panel->{unit}, "$small text-anchor=\"end\"");
	my $top = $y + $HEADING;
	for my $bar (@{ $panel->{bars} })
	{
		$svg .= bar($bar, $top, $scale);
		$top += $STEP;
	}
	return $svg;
}

sub bar
{
	my ($bar, $y, $scale) = @_;
	my ($end, $min, $max) = map { $LEFT + $_ * $scale } @$bar{qw(median min max)};
	my $middle = $y + $BAR / 2;
	my $spread = join '', line($min, $middle, $max, $middle, '#000', 1.5),
	  map { line($_, $middle - 4, $_, $middle + 4, '#000', 1.5) } ($min, $max);
	return sprintf(qq{<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>\n},
		$LEFT, $y, $end - $LEFT, $BAR, $bar->{is_ours} ? $OURS : $OTHERS)
	  . ($bar->{n} > 1 ? $spread : '')
	  . text($LEFT - 8, $middle + 4, $bar->{label}, 'font-size="12" fill="#111" text-anchor="end"')
	  . text(($max > $end ? $max : $end) + 8, $middle + 4, rounded($bar->{median}),
		'font-size="12" font-weight="bold" fill="#111"');
}

# 1, 2 or 5 times a power of ten, at least $least.
sub round_step
{
	my ($least) = @_;
	my $power = 10**POSIX::floor(log($least) / log(10));
	for my $factor (1, 2, 5)
	{
		return $factor * $power if $factor * $power >= $least;
	}
	return 10 * $power;
}

sub rounded
{
	my ($value) = @_;
	return sprintf $value >= 100 ? '%.0f' : $value >= 10 ? '%.1f' : '%.2f', $value;
}

sub line
{
	my ($x1, $y1, $x2, $y2, $color, $width) = @_;
	return sprintf qq{<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%s"/>\n},
	  $x1, $y1, $x2, $y2, $color, $width;
}

sub text
{
	my ($x, $y, $text, $style) = @_;
	return sprintf qq{<text x="%.1f" y="%.1f" %s>%s</text>\n}, $x, $y, $style, escape($text);
}

sub escape
{
	my ($text) = @_;
	my %entity = ('&' => '&amp;', '<' => '&lt;', '>' => '&gt;', '"' => '&quot;');
	return $text =~ s/([&<>"])/$entity{$1}/gr;
}

1;
