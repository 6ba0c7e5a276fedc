# Report.pm
#    From results.csv to what is said about it: medians, ratios to llama.cpp, shares of the limits.
package Bench::Report;
use strict;
use warnings;

use Bench::Chart;
use Bench::Results;
use Bench::Statistics qw(summary paired);
use Bench::Table;

my %LLAMA_FORMAT = (q8 => 'Q8_0', q4 => 'Q4_0', f16 => 'F16', f32 => 'F32');
my @PLACES       = ('sql', 'core', 'llama.cpp');
my $BUSY_PERCENT = 10;    # of others, from which figures are doubtful

# Reads DIR/results.csv, writes results.txt and bench.svg beside it, and returns the text.
sub write
{
	my ($dir)  = @_;
	my ($data) = collect(Bench::Results::read_all("$dir/results.csv"));
	my $text = heading($data) . table($data) . comparison($data) . warning($data);

	save("$dir/results.txt", $text);
	save("$dir/bench.svg", Bench::Chart::svg(caption($data), panels($data)));
	return $text . "\n$dir: results.csv, results.txt, bench.svg\n";
}

sub table
{
	my ($data) = @_;
	return Bench::Table::text(columns(),
		map { row($data, $_) } grep { !/^model (?:layers|head) / } @{ $data->{order} });
}

# { facts, order: keys "what|format" sorted for the table, series: values by run, unit } by key
sub collect
{
	my (@lines) = @_;
	my %data = (facts => {}, n_runs => 0);
	for my $line (@lines)
	{
		my $key = key($line->{what}, $line->{format});
		$data{series}{$key}{ $line->{run} } = $line->{value};
		$data{unit}{$key} = $line->{unit};
		$data{facts}{$_} = $line->{$_} for qw(time commit cpu threads model);
		$data{n_runs} = int $line->{run} if $line->{run} > $data{n_runs};
		push @{ $data{first_seen} }, $key unless $data{place}{$key}++;
	}
	$data{order} = [ sorted(@{ $data{first_seen} // [] }) ];
	return \%data;
}

sub key { return join '|', @_ }

# By what was done, then by place and format, each in the order of its first line; the machine first.
sub sorted
{
	my (@keys) = @_;
	my (%seen, %by);
	for my $key (@keys)
	{
		my ($place, $job, $format) = parts($key);
		$seen{$_} //= keys %seen for ("job $job", "format $format");
		$by{$key} = [ $place eq '' ? 0 : 1, job_order($job), $seen{"job $job"}, place_order($place),
			$seen{"format $format"} ];
	}
	return sort { compare($by{$a}, $by{$b}) } @keys;
}

sub compare
{
	my ($a, $b) = @_;
	for my $i (0 .. $#$a)
	{
		return $a->[$i] <=> $b->[$i] if $a->[$i] != $b->[$i];
	}
	return 0;
}

# Prefill by length, decode by rows; everything else as it comes.
sub job_order
{
	my ($job) = @_;
	return 1e3 + $1 if $job =~ /^prefill (\d+)/;
	return 1e6 + ($1 // 0) if $job =~ /^decode(?: of (\d+))?/;
	return $job =~ /^(?:embed|tokenize|first|private|resident)/ ? 2e6 : 0;
}

sub place_order
{
	my ($place) = @_;
	my ($i) = grep { $PLACES[$_] eq $place } 0 .. $#PLACES;
	return $i // -1;
}

# A key as (place, job, format).
sub parts
{
	my ($key) = @_;
	my ($what, $format) = split /\|/, $key, -1;
	return $what =~ /^(sql|core|llama\.cpp|model) (.+)/ ? ($1, $2, $format) : ('', $what, $format);
}

sub heading
{
	my ($data) = @_;
	my $facts = $data->{facts};
	return "polyko $facts->{commit}, model $facts->{model}, $facts->{cpu}, $facts->{threads} threads, "
	  . "$facts->{time}\nmedian (least..most) of "
	  . runs($data) . "; ratios and shares are taken run by run\n\n";
}

sub runs
{
	my ($data) = @_;
	return $data->{n_runs} == 1 ? '1 run' : "$data->{n_runs} interleaved runs";
}

sub columns
{
	return ([ 'what', 'where', 'format' ], [ 'median', 'spread' ],
		[ 'unit', 'to llama.cpp', 'to its best', 'of the limit' ]);
}

# Cells of one line of the table.
sub row
{
	my ($data, $key) = @_;
	my ($place, $job, $format) = parts($key);
	my $summary = summary(values %{ $data->{series}{$key} });
	my $spread  = $summary->{n} > 1 ? number($summary->{min}) . '..' . number($summary->{max}) : '';
	return [ $job, $place, $format, number($summary->{median}), $spread, $data->{unit}{$key},
		ratio_to($data, $key, same_llama($data, $key)), ratio_to($data, $key, best_llama($data, $key)),
		share($data, $key) ];
}

# Four digits that mean something.
sub number
{
	my ($value) = @_;
	return sprintf '%.0f', $value if abs $value >= 1000;
	return sprintf '%.1f', $value if abs $value >= 100;
	return sprintf '%.2f', $value if abs $value >= 1;
	return sprintf '%.3g', $value;
}

# The key of llama.cpp's figure for the same job in the like format.
sub same_llama
{
	my ($data, $key) = @_;
	my ($place, $job, $format) = parts($key);
	return unless $place =~ /^(?:sql|core)$/;
	my ($other) = grep { lc((parts($_))[2]) eq lc($LLAMA_FORMAT{$format} // '') } llama_keys($data, $job);
	return $other;
}

# The key of its fastest format for the job.
sub best_llama
{
	my ($data, $key) = @_;
	my ($place, $job) = parts($key);
	return unless $place =~ /^(?:sql|core)$/;
	my %median = map { $_ => summary(values %{ $data->{series}{$_} })->{median} } llama_keys($data, $job);
	my ($best) = sort { $median{$b} <=> $median{$a} } keys %median;
	return $best;
}

sub llama_keys
{
	my ($data, $job) = @_;
	return grep { my ($p, $j) = parts($_); $p eq 'llama.cpp' && $j eq $job } @{ $data->{order} };
}

sub ratio_to
{
	my ($data, $key, $other) = @_;
	return '' unless defined $other;
	my $ratio = paired(@{ $data->{series} }{ $key, $other }, sub { $_[0] / $_[1] }) or return '';
	return sprintf('%.2f x %s', $ratio->{median}, (parts($other))[2]) . range('%.2f', $ratio);
}

# How much of what the machine can do was used: products of int8, or bytes read.
sub share
{
	my ($data, $key) = @_;
	my ($place, $job, $format) = parts($key);
	return '' unless $place =~ /^(?:sql|core)$/;
	return bandwidth_share($data, $key, $format) if $job eq 'decode';
	return peak_share($data, $key, 'peak');
}

# One sequence reads every weight once a token.
sub bandwidth_share
{
	my ($data, $key, $format) = @_;
	my $mb = constant($data, 'model weights a token', $format) or return '';
	return percent('bandwidth', paired($data->{series}{$key}, $data->{series}{ key('bandwidth', $format) },
			sub { $_[0] * $mb / 1000 / $_[1] }));
}

# q8 and q4 multiply int8. The head runs for the last position of a prompt, for each decoded token,
# and never for an embedding.
sub peak_share
{
	my ($data, $key, $peak) = @_;
	my (undef, $job, $format) = parts($key);
	my $layers = constant($data, 'model layers a token', $format);
	my $head   = constant($data, 'model head a token',   $format);
	my $heads  = heads_a_token($job);
	return '' unless $layers && defined $heads && $format =~ /^q[48]$/;
	my $gop = $layers + $heads * $head;
	my $share = paired($data->{series}{$key}, $data->{series}{ key($peak, 'int8') },
		sub { $_[0] * $gop / $_[1] });
	return percent($peak eq 'peak' ? 'int8 peak' : $peak, $share);
}

sub heads_a_token
{
	my ($job) = @_;
	return 1 / $1 if $job =~ /^prefill (\d+)/;
	return 1 if $job =~ /^decode of/;
	return $job eq 'embed' ? 0 : undef;
}

sub constant
{
	my ($data, $what, $format) = @_;
	my $series = $data->{series}{ key($what, $format) };
	return $series ? $series->{0} : undef;
}

sub percent
{
	my ($of, $share) = @_;
	return '' unless $share;
	return sprintf('%.1f %% of %s', 100 * $share->{median}, $of) . range('%.1f', $share, 100);
}

# " (least..most)" of more than one run.
sub range
{
	my ($form, $summary, $times) = @_;
	return '' if $summary->{n} < 2;
	return ' (' . join('..', map { sprintf $form, $_ * ($times // 1) } @$summary{qw(min max)}) . ')';
}

# What SQL costs over the core, and short texts beside a long prompt.
sub comparison
{
	my ($data) = @_;
	my @rows;
	for my $key (grep { /^sql (?:prefill|decode|embed)/ } @{ $data->{order} })
	{
		my (undef, $job, $format) = parts($key);
		my $cost = paired(@{ $data->{series} }{ $key, key("core $job", $format) },
			sub { 1 - $_[0] / $_[1] });
		push @rows, [ "SQL beside core, $job", $format, cost($cost) ] if $cost;
		my $share = $job =~ /^prefill/ ? peak_share($data, $key, 'sustained peak') : '';
		push @rows, [ "$job, SQL", $format, $share ] if $share;
	}
	push @rows, embed_rows($data);
	return '' unless @rows;
	return "\n" . Bench::Table::text([ 'comparison', 'format' ], [], ['result'], @rows);
}

sub cost
{
	my ($cost) = @_;
	return sprintf('costs %.1f %%', 100 * $cost->{median}) . range('%.1f', $cost, 100);
}

sub embed_rows
{
	my ($data) = @_;
	my @rows;
	for my $key (grep { /^(?:sql|core) embed\|/ } @{ $data->{order} })
	{
		my ($place, undef, $format) = parts($key);
		my ($prompt) = main_prompt($data, $place, $format) or next;
		my $ratio = paired(@{ $data->{series} }{ $key, $prompt }, sub { $_[0] / $_[1] }) or next;
		push @rows, [ "embed beside " . (parts($prompt))[1] . ", $place", $format,
			percent('its rate', $ratio) ];
	}
	return @rows;
}

# The longest prefill up to 512 tokens: the one that is compared.
sub main_prompt
{
	my ($data, $place, $format) = @_;
	my ($key) = sort { length_of($b) <=> length_of($a) }
	  grep { length_of($_) <= 512 }
	  grep { my ($p, $j, $f) = parts($_); $p eq $place && $f eq $format && $j =~ /^prefill/ }
	  @{ $data->{order} };
	return $key // ();
}

sub length_of { return $_[0] =~ /prefill (\d+)/ ? $1 : 0 }

# Threads that wait for each other by spinning lose most when a core is taken from them, so a busy
# machine changes ratios too.
sub warning
{
	my ($data) = @_;
	my $busy = summary(values %{ $data->{series}{ key('busy with others', '') } // {} }) or return '';
	return '' if $busy->{max} < $BUSY_PERCENT;
	return sprintf "\nDOUBTFUL: others used up to %.0f %% of the processors, which also bends ratios\n",
	  $busy->{max};
}

sub caption
{
	my ($data) = @_;
	my $facts = $data->{facts};
	my $title = (grep { /^llama/ } @{ $data->{order} }) ? 'polyko and llama.cpp' : 'polyko';
	return {
		title => "$title, tokens a second",
		lines => [
			"model $facts->{model}, $facts->{cpu}, $facts->{threads} threads",
			'bars: median of ' . runs($data) . '; black lines: least to most',
			warning($data) =~ s/^\s+|\s+$//gr ],
		source => "polyko $facts->{commit}, $facts->{time}", };
}

# What the chart shows: for each job the bars of all formats, polyko's beside llama.cpp's.
sub panels
{
	my ($data)   = @_;
	my ($first)  = grep { /^sql prefill/ } @{ $data->{order} };
	my ($prompt) = defined $first ? main_prompt($data, 'sql', (parts($first))[2]) : ();
	my $length   = length_of($prompt // '');
	my @panels   = (
		panel($data, 'sql',  "prefill $length", "Prefill of $length tokens"),
		panel($data, 'sql',  'decode',          'Decode, one sequence'),
		panel($data, 'core', 'decode of 16',    'Decode, 16 sequences together (below SQL)'),
		panel($data, 'sql',  'embed',           'Embedding of short texts'));
	return grep { @{ $_->{bars} } } @panels;
}

sub panel
{
	my ($data, $place, $job, $title) = @_;
	my @keys = grep { my ($p, $j) = parts($_); $j eq $job && ($p eq $place || $p eq 'llama.cpp') }
	  @{ $data->{order} };
	return { title => $title, unit => 'tokens/s', bars => [ map { bar($data, $_) } @keys ] };
}

sub bar
{
	my ($data, $key) = @_;
	my ($place, undef, $format) = parts($key);
	my $is_llama = $place eq 'llama.cpp';
	return {
		%{ summary(values %{ $data->{series}{$key} }) },
		label => ($is_llama ? 'llama.cpp' : 'polyko') . " $format",
		is_ours => !$is_llama, };
}

sub save
{
	my ($path, $text) = @_;
	open my $file, '>', $path or die "bench: $path: $!\n";
	print $file $text;
	close $file or die "bench: $path: $!\n";
}

1;
