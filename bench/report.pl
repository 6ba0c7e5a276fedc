#!/usr/bin/env perl
# report.pl
#    The table and the chart of a results.csv that is there already.
#
# Usage: report.pl [DIR]      (default: build/bench; writes results.txt and bench.svg beside it)
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";

use Bench::Report;

print Bench::Report::write($ARGV[0] // "$FindBin::Bin/../build/bench");
