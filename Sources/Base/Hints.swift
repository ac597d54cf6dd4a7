// The two compiler intrinsics that the hot path uses.
import CLinux

/// Asks the processor to load the cache line at `address`; any address is allowed.
@inline(__always)
public func prefetch(_ address: UnsafeRawPointer) { clinux_prefetch(address) }

/// A cheap monotonic counter in unspecified units, which the shell hands in for timing commands.
@inline(__always)
public func cycles() -> UInt64 { clinux_cycles() }
