// Writes replies straight into a session's output buffer, in RESP2 or RESP3. A trivial handle:
// made per command, never stored. Source: the RESP3 specification and the reference's replies.
import Base

public struct ReplyWriter {
    /// The session's output buffer.
    public let out: UnsafeMutablePointer<Buffer>
    /// 2 or 3.
    public let version: UInt8

    @inline(__always)
    public init(_ out: UnsafeMutablePointer<Buffer>, version: UInt8) {
        self.out = out
        self.version = version
    }

    // MARK: Simple replies

    @inline(__always)
    public func ok() { raw("+OK\r\n") }

    /// A whole reply, already encoded.
    @inline(__always)
    public func raw(_ encoded: StaticString) { out.pointee.append(Bytes(encoded)) }

    @inline(__always)
    public func raw(_ encoded: Bytes) { out.pointee.append(encoded) }

    @inline(__always)
    public func simple(_ text: StaticString) {
        let bytes = Bytes(text)
        let to = out.pointee.reserve(bytes.count &+ 3)
        to[0] = UInt8(ascii: "+")
        (to + 1).update(from: bytes.base, count: bytes.count)
        end(to, bytes.count &+ 1)
    }

    /// Cold code only.
    @_disfavoredOverload
    public func simple(_ text: String) {
        out.pointee.append(UInt8(ascii: "+"))
        out.pointee.append(text)
        out.pointee.append("\r\n")
    }

    @inline(__always)
    public func integer(_ value: Int) { integer(Int64(value)) }

    @inline(__always)
    public func integer(_ value: Int64) {
        let to = out.pointee.reserve(24)
        to[0] = UInt8(ascii: ":")
        end(to, 1 &+ writeDecimal(value, to: to + 1))
    }

    @inline(__always)
    public func bulk(_ bytes: Bytes) {
        let to = out.pointee.reserve(bytes.count &+ 26)
        to[0] = UInt8(ascii: "$")
        var length = 1 &+ writeDecimal(Int64(bytes.count), to: to + 1)
        to[length] = 13
        to[length &+ 1] = 10
        length &+= 2
        moveShort(to: to + length, from: bytes.base, count: bytes.count)
        end(to, length &+ bytes.count)
    }

    @inline(__always)
    public func bulk(_ literal: StaticString) { bulk(Bytes(literal)) }

    /// Cold code only.
    @_disfavoredOverload
    public func bulk(_ text: String) { text.withBytes { bulk($0) } }

    /// Cold code only.
    public func bulk(_ bytes: [UInt8]) { bytes.withBytes { bulk($0) } }

    /// An integer as a bulk string (GET of an integer, INCRBYFLOAT).
    @inline(__always)
    public func bulk(decimal value: Int64) {
        let to = out.pointee.reserve(32)
        // The digits go where they belong when there are less than ten: behind `$n` and a line end.
        let count = writeDecimal(value, to: to + 4)
        to[0] = UInt8(ascii: "$")
        if _fastPath(count < 10) {
            to[1] = 48 &+ UInt8(truncatingIfNeeded: count)
            to[2] = 13
            to[3] = 10
            end(to, 4 &+ count)
        } else {
            moveBytes(to: to + 5, from: to + 4, count: count)
            to[1] = 48 &+ UInt8(truncatingIfNeeded: count / 10)
            to[2] = 48 &+ UInt8(truncatingIfNeeded: count % 10)
            to[3] = 13
            to[4] = 10
            end(to, 5 &+ count)
        }
    }

    /// The missing value: `$-1` or `_`.
    @inline(__always)
    public func null() { if version == 2 { raw("$-1\r\n") } else { raw("_\r\n") } }

    /// The missing aggregate: `*-1` or `_`.
    @inline(__always)
    public func nullArray() { if version == 2 { raw("*-1\r\n") } else { raw("_\r\n") } }

    @inline(__always)
    private func end(_ to: UnsafeMutablePointer<UInt8>, _ length: Int) {
        to[length] = 13
        to[length &+ 1] = 10
        out.pointee.wrote(length &+ 2)
    }
}
