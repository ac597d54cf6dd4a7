// The C library's functions for positions on the earth, for targets that do not import it. Results
// must equal the reference's to the last bit, so they are the same functions.
import Glibc

@inline(__always)
public func sine(_ angle: Double) -> Double { Glibc.sin(angle) }

@inline(__always)
public func cosine(_ angle: Double) -> Double { Glibc.cos(angle) }

@inline(__always)
public func arcsine(_ value: Double) -> Double { Glibc.asin(value) }
