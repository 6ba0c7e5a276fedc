# Texts.pm
#    Korean texts from small lists of phrases: prompts of an exact number of tokens, and short texts
#    of a given average. Nothing is copied from a corpus; the seed makes them the same each time.
package Bench::Texts;
use strict;
use warnings;
use utf8;

my $SEED          = 7;
my $N_CLAUSES     = 600;
my $AVERAGE       = 15;    # tokens of a short text
my $MOST_ATTEMPTS = 2000;

my @opening = ('', '', '솔직히', '오랜만에', '어제 친구와', '주말에 혼자', '기대 없이', '두 번째로');
my @subject = (
	'이 영화는',  '배우들의 연기가', '음악이',     '마지막 장면이', '이야기의 흐름이', '주인공의 목소리는',
	'감독의 시선이', '화면이',      '대사 하나하나가', '원작 소설은',  '조연들도',     '첫 장면부터 분위기가',
	'시장 골목의 풍경이', '여름 바다가', '겨울 밤의 이야기가', '아이들의 웃음이');
my @degree = ('', '정말', '생각보다', '조금', '아주', '무척', '그다지', '끝까지', '보는 내내', '역시');
my @state  = (
	'좋았다',  '지루했다', '따뜻했다', '새로웠다', '아쉬웠다', '무거웠다', '자연스러웠다', '인상 깊었다',
	'빨라서 따라가기 어려웠다', '오래 기억에 남는다', '마음에 들었다', '잘 어울린다', '다시 보고 싶다',
	'기대와 달랐다', '눈물이 났다', '재미있었다');
my @ending = ('.', '.', '.', '!', '...');

# Words that may be one token, for the last tokens of a prompt.
my @filler = (
	(map { " $_" } qw(이 그 수 것 더 또 한 나 내 안 잘 왜 영화 정말 너무 진짜 사람 생각)),
	'.', '!', '?', '~', ',', '이', '다', '고', '는', ' ', 'a');

sub new
{
	my ($class, $session, $model) = @_;
	my $self = bless { session => $session, model => $model }, $class;
	srand $SEED;
	my @clauses = map { clause() } 1 .. $N_CLAUSES;
	my $array   = join ',', map { "' $_'" } @clauses;
	my @counts  = split /\n/, $session->query("SELECT polyko_token_count(body, '$model') "
		  . "FROM unnest(ARRAY[$array]) WITH ORDINALITY AS t(body, i) ORDER BY i");
	$self->{clauses} = [ map { [ $clauses[$_], $counts[$_] ] } 0 .. $#clauses ];
	$self->{mean} = mean(@counts);
	return $self;
}

sub mean
{
	my $sum = 0;
	$sum += $_ for @_;
	return $sum / @_;
}

sub clause
{
	my @words = grep { $_ ne '' } map { $_->[ rand @$_ ] } (\@opening, \@subject, \@degree, \@state);
	return join(' ', @words) . $ending[ rand @ending ];
}

# A text of exactly $n tokens: clauses as long as they fit, then shorter words.
sub prompt
{
	my ($self, $n) = @_;
	my ($text, $have) = ('', 0);
	for (1 .. $MOST_ATTEMPTS)
	{
		my ($clause, $count) = @{ $self->{clauses}[ rand @{ $self->{clauses} } ] };
		last if $have + $count > $n - 1;
		$text .= $text eq '' ? $clause : " $clause";
		$have += $count;
	}
	$have = $self->count($text);
	while ($have < $n)
	{
		my ($longer) = grep { my $c = $self->count("$text$_"); $c > $have && $c <= $n } @filler;
		last unless defined $longer;
		$text .= $longer;
		$have = $self->count($text);
	}
	die "bench: could not make a prompt of $n tokens (only $have)\n" if $have != $n;
	return $text;
}

sub count
{
	my ($self, $text) = @_;
	return $self->{session}->query("SELECT polyko_token_count('$text', '$self->{model}')");
}

# $n texts into a table and into a file, one a line.
sub fill_table
{
	my ($self, $table, $path, $n) = @_;
	open my $file, '>:encoding(UTF-8)', $path or die "bench: $path: $!\n";
	print $file $self->short_text, "\n" for 1 .. $n;
	close $file or die "bench: $path: $!\n";
	chmod 0644, $path;
	$self->{session}->query("COPY $table FROM '$path'");
	$self->{session}->query("ANALYZE $table");
}

# Lengths from a third to five thirds of the average; a clause more or less is decided by what is
# nearer.
sub short_text
{
	my ($self) = @_;
	my $target = $AVERAGE * (1 / 3 + rand(4 / 3));
	my ($text, $have) = ('', 0);
	while ($text eq '' || $have + $self->{mean} / 2 < $target)
	{
		my ($clause, $count) = @{ $self->{clauses}[ rand @{ $self->{clauses} } ] };
		$text .= $text eq '' ? $clause : " $clause";
		$have += $count;
	}
	return $text;
}

sub n_tokens
{
	my ($self, $table) = @_;
	return $self->{session}->query("SELECT sum(polyko_token_count(body, '$self->{model}')) FROM $table");
}

sub n_bytes
{
	my ($self, $table) = @_;
	return $self->{session}->query("SELECT sum(octet_length(body)) FROM $table");
}

1;
