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
