// Encodes commands for the replication stream: always RESP arrays of bulk strings.
import Base

public struct StreamWriter {
    let out: UnsafeMutablePointer<Buffer>

    @inline(__always)
    public init(_ out: UnsafeMutablePointer<Buffer>) { self.out = out }

    /// `count` arguments follow, the command's name included.
    @inline(__always)
    public func begin(_ count: Int) {
        let to = out.pointee.reserve(StreamWriter.headerRoom)
        out.pointee.wrote(StreamWriter.writeHeader(UInt8(ascii: "*"), count, to: to) - to)
    }

    @inline(__always)
    public func argument(_ bytes: Bytes) {
        let to = out.pointee.reserve(bytes.count &+ StreamWriter.headerRoom)
        out.pointee.wrote(StreamWriter.write(bytes, to: to) - to)
    }

    /// A whole command, its name included. What each write of the hot path pays: the room is
    /// reserved once.
    @inline(__always)
    func command(_ arguments: UnsafePointer<Bytes>, _ count: Int) {
        var room = StreamWriter.headerRoom
        for index in 0..<count { room &+= arguments[index].count &+ StreamWriter.headerRoom }
        let begin = out.pointee.reserve(room)
        var to = StreamWriter.writeHeader(UInt8(ascii: "*"), count, to: begin)
        for index in 0..<count { to = StreamWriter.write(arguments[index], to: to) }
        out.pointee.wrote(to - begin)
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

    /// A mark, 19 digits and the line's end, and the end of the line behind the argument.
    private static let headerRoom = 24

    /// Returns where what follows the argument goes.
    @inline(__always)
    private static func write(
        _ bytes: Bytes, to: UnsafeMutablePointer<UInt8>
    ) -> UnsafeMutablePointer<UInt8> {
        let body = writeHeader(UInt8(ascii: "$"), bytes.count, to: to)
        moveShort(to: body, from: bytes.base, count: bytes.count)
        return writeLineEnd(to: body + bytes.count)
    }

    /// Returns where the bytes behind the header go.
    @inline(__always)
    private static func writeHeader(
        _ mark: UInt8, _ count: Int, to: UnsafeMutablePointer<UInt8>
    ) -> UnsafeMutablePointer<UInt8> {
        to[0] = mark
        return writeLineEnd(to: to + 1 + writeDecimal(Int64(count), to: to + 1))
    }

    @inline(__always)
    private static func writeLineEnd(
        to: UnsafeMutablePointer<UInt8>
    ) -> UnsafeMutablePointer<UInt8> {
        to[0] = 13
        to[1] = 10
        return to + 2
    }
}
