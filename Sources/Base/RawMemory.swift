// Copying, clearing and comparing raw memory, inlined to the C library's functions: for targets
// that deal in unsafe memory but have no business with the rest of the system.
import Glibc

/// Copies `count` bytes between places that do not overlap.
@inline(__always)
public func copyBytes(
    to target: UnsafeMutableRawPointer,
    from source: UnsafeRawPointer,
    count: Int
) {
    memcpy(target, source, count)
}

/// Copies `count` bytes between places that may overlap.
@inline(__always)
public func moveBytes(
    to target: UnsafeMutableRawPointer,
    from source: UnsafeRawPointer,
    count: Int
) {
    memmove(target, source, count)
}

/// As `moveBytes`, for what is mostly a few bytes: up to 32 are moved in overlapping words (or up
/// to three bytes) in place, which is cheaper than the call.
@inline(__always)
public func moveShort(
    to target: UnsafeMutableRawPointer,
    from source: UnsafeRawPointer,
    count: Int
) {
    if count > 16 {
        guard count <= 32 else {
            memmove(target, source, count)
            return
        }
        let first: UInt64 = source.loadUnaligned(as: UInt64.self)
        let second: UInt64 = source.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        let third: UInt64 = source.loadUnaligned(fromByteOffset: count &- 16, as: UInt64.self)
        let last: UInt64 = source.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
        target.storeBytes(of: first, as: UInt64.self)
        target.storeBytes(of: second, toByteOffset: 8, as: UInt64.self)
        target.storeBytes(of: third, toByteOffset: count &- 16, as: UInt64.self)
        target.storeBytes(of: last, toByteOffset: count &- 8, as: UInt64.self)
    } else if count >= 8 {
        let first: UInt64 = source.loadUnaligned(as: UInt64.self)
        let last: UInt64 = source.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
        target.storeBytes(of: first, as: UInt64.self)
        target.storeBytes(of: last, toByteOffset: count &- 8, as: UInt64.self)
    } else if count >= 4 {
        let first: UInt32 = source.loadUnaligned(as: UInt32.self)
        let last: UInt32 = source.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)
        target.storeBytes(of: first, as: UInt32.self)
        target.storeBytes(of: last, toByteOffset: count &- 4, as: UInt32.self)
    } else if count > 0 {
        let first: UInt8 = source.load(as: UInt8.self)
        let middle: UInt8 = source.load(fromByteOffset: count &>> 1, as: UInt8.self)
        let last: UInt8 = source.load(fromByteOffset: count &- 1, as: UInt8.self)
        target.storeBytes(of: first, as: UInt8.self)
        target.storeBytes(of: middle, toByteOffset: count &>> 1, as: UInt8.self)
        target.storeBytes(of: last, toByteOffset: count &- 1, as: UInt8.self)
    }
}

/// Sets `count` bytes to zero.
@inline(__always)
public func clearBytes(_ target: UnsafeMutableRawPointer, count: Int) {
    memset(target, 0, count)
}

/// True when `count` bytes are the same at both places.
@inline(__always)
public func bytesAreEqual(_ a: UnsafeRawPointer, _ b: UnsafeRawPointer, count: Int) -> Bool {
    memcmp(a, b, count) == 0
}
