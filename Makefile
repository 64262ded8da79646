# `make test` is the whole test; it needs Rust, Go and Python 3, and installs what else the tests need.

.PHONY: test unit bench fuzz proof build peers release

# Everything that a change must pass, with the real peers; ends with a table of stage times.
test:
	tests/run peers build format lint unit constant-time instructions fuzz e2e

# The quick part: no network, no peer.
unit:
	tests/run unit

# The figures, measured on this machine, side by side.
bench: build
	tests/bench/run

# Every fuzz target for FUZZ_SECONDS, an hour by default, on all cores; what is learned is kept in
# fuzz/found for the next time.
fuzz:
	FUZZ_KEEP=1 fuzz/smoke $${FUZZ_SECONDS:-3600}

# What takes too long for every change, a day or more on two cores: all of the above with five minutes
# for each fuzz target and a million malformed requests; then 1,000 kills of the store (sled, etcd),
# 200 power cuts, a fault at every call to the disk, a million simulated worlds, a real kube-apiserver,
# what times tell, who may be depended on, every change of the core by one, and a release built twice.
# Ends with one table, which it writes to docs/assurance.md; `tests/run STAGE assurance` does a part of
# it, and leaves the rest of the table as it was.
proof:
	FUZZ_SECONDS=300 FUZZ_SEED=0 FUZZ_RUNS=-1 PROPTEST_RNG_SEED=$$(od -An -N4 -tu4 /dev/urandom | tr -d " ") SELKIE_MALFORMED=1000000 SELKIE_HANDSHAKES=50000 tests/run peers build format lint \
		unit constant-time instructions fuzz e2e durability simulation kubernetes timing supply mutants release \
		assurance

# The program, the same without memory hygiene (the memory scan's control), crypto's example.
build:
	tests/run build

# What the tests run Selkie against: see tests/peers/README.md.
peers:
	tests/run peers

# What is handed out, in target/dist: programs, symbols, bills of materials, checksums.
release:
	deploy/release/build
