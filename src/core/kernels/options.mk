# options.mk
#    What a file of the kernels is compiled with beside the options of core. Sets WIDE_COPIES, for x86_avx2.c.
#
# The AVX2 kernels work on 16 lanes in two parts. gcc copies them in parts of 16 bytes, and reading 32 of them
# waits for both; where it has these options it does as it is told. No instruction set comes with them.
WIDE_COPIES := $(shell $(CC) -mmove-max=256 -mstore-max=256 -E -x c /dev/null >/dev/null 2>&1 && \
	echo -mmove-max=256 -mstore-max=256)
