#!/bin/bash
# readmes.sh
#    README.md and README.ko.md have the same sections: the same sequence of heading levels, as
#    many code blocks, and the same links. Links to a place within lead to a heading that is there.
#    Usage: readmes.sh [ROOT]
set -euo pipefail
cd "${1:-.}"
bad=0

# Lines outside code blocks.
prose() { awk '/^ *```/ { code = !code; next } !code' "$1"; }
levels() { prose "$1" | grep -oE '^#+ ' || true; }
n_blocks() { grep -cE '^ *```' "$1" || true; }
links() { prose "$1" | grep -oE '\]\([^)#][^)]*\)' | sort -u | grep -v 'README' || true; }
inner() { prose "$1" | grep -oE '\]\(#[^)]*\)' | sed 's/](#\(.*\))/\1/' || true; }
# The anchors GitHub gives to headings, and the written ones.
anchors() {
	prose "$1" | perl -CSD -Mutf8 -ne 'if (/^#+ +(.*?)\s*$/) { my $h = lc $1;
		$h =~ s/[^\w\- ]//g; $h =~ s/ /-/g; print "$h\n"; }
		while (/<a (?:id|name)="([^"]+)"/g) { print "$1\n"; }'
}
same() {
	[ "$2" = "$3" ] || { echo "README.md and README.ko.md: $1 differ"; diff <(echo "$2") <(echo "$3") | head -20; bad=1; }
}

same "heading levels" "$(levels README.md)" "$(levels README.ko.md)"
same "numbers of code blocks" "$(n_blocks README.md)" "$(n_blocks README.ko.md)"
same "links" "$(links README.md)" "$(links README.ko.md)"
same "numbers of inner links" "$(inner README.md | wc -l)" "$(inner README.ko.md | wc -l)"
for readme in README.md README.ko.md; do
	[ "$(levels $readme | wc -l)" -gt 1 ] || { echo "$readme: no sections"; bad=1; }
	while read -r anchor; do
		[ -n "$anchor" ] || continue
		anchors $readme | grep -qxF -- "$anchor" || { echo "$readme: no heading for #$anchor"; bad=1; }
	done < <(inner $readme)
	while read -r file; do
		case $file in ''|*:*) continue;; esac
		[ -e "${file%%#*}" ] || { echo "$readme: links to $file, which is not there"; bad=1; }
	done < <(links $readme | sed 's/](\(.*\))/\1/')
done
[ $bad = 0 ] && echo "ok - both READMEs have the same sections" ||
	{ echo "not ok - both READMEs have the same sections"; exit 1; }
