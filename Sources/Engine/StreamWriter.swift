// Encodes commands for the replication stream: always RESP arrays of bulk strings.
import Base

public struct StreamWriter {
    let out: UnsafeMutablePointer<Buffer>

    @inline(__always)
    public init(_ out: UnsafeMutablePointer<Buffer>) { self.out = out }

    /// `count` arguments follow, the command's name included.
    @inline(__always)
    public func begin(_ count: Int) { header(UInt8(ascii: "*"), count) }

    @inline(__always)
    public func argument(_ bytes: Bytes) {
        header(UInt8(ascii: "$"), bytes.count)
        let to = out.pointee.reserve(bytes.count &+ 2)
        to.update(from: bytes.base, count: bytes.count)
        to[bytes.count] = 13
        to[bytes.count &+ 1] = 10
        out.pointee.wrote(bytes.count &+ 2)
    }

    @inline(__always)
    public func argument(_ literal: StaticString) { argument(Bytes(literal)) }

    public func argument(decimal value: Int64) {
        var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
        withUnsafeMutableBytes(of: &digits) { scratch in
            guard let base = scratch.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
                return
            }
            argument(Bytes(UnsafePointer(base), writeDecimal(value, to: base)))
        }
    }

    /// Cold code only; a literal is never this one.
    @_disfavoredOverload
    public func argument(_ text: String) { text.withBytes { argument($0) } }

    /// Arguments that are encoded already.
    public func encoded(_ arguments: Bytes) { out.pointee.append(arguments) }

    @inline(__always)
    private func header(_ mark: UInt8, _ count: Int) {
        let to = out.pointee.reserve(24)
        to[0] = mark
        let length = 1 &+ writeDecimal(Int64(count), to: to + 1)
        to[length] = 13
        to[length &+ 1] = 10
        out.pointee.wrote(length &+ 2)
    }
}
