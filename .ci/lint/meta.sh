#!/bin/bash
# meta.sh
#    META.json is what PGXN wants, and one version number stands everywhere.
#    Usage: meta.sh [ROOT]
set -euo pipefail
cd "${1:-.}"
perl -MJSON::PP -e '
	my ($meta, $control, @bad) = ();
	{ local $/; open my $f, "<", "META.json" or die "META.json: $!\n"; $meta = decode_json(<$f>); }
	{ local $/; open my $f, "<", "polyko.control" or die "polyko.control: $!\n"; $control = <$f>; }
	my ($version) = $control =~ /^default_version\s*=\s*\x27([^\x27]+)\x27/m;
	for (qw(name version abstract maintainer license provides meta-spec)) {
		push @bad, "META.json: $_ is missing" unless defined $meta->{$_};
	}
	push @bad, "META.json: version $meta->{version} is not polyko.control\x27s $version"
		unless $meta->{version} eq $version && $meta->{provides}{polyko}{version} eq $version;
	push @bad, "META.json: version is not semantic" unless $meta->{version} =~ /^\d+\.\d+\.\d+$/;
	push @bad, "META.json: $meta->{provides}{polyko}{file} is not there"
		unless -f $meta->{provides}{polyko}{file};
	push @bad, "sql/polyko--$version.sql is not there" unless -f "sql/polyko--$version.sql" || glob("sql/polyko--*--$version.sql");
	print "$_\n" for @bad;
	exit @bad ? 1 : 0;' && echo "ok - META.json and versions" || { echo "not ok - META.json and versions"; exit 1; }
