// Aggregates and the types that only RESP3 has, with their RESP2 stand-ins.
import Base

extension ReplyWriter {
    @inline(__always)
    private func header(_ mark: UInt8, _ count: Int) {
        let to = out.pointee.reserve(24)
        to[0] = mark
        let length = 1 &+ writeDecimal(Int64(count), to: to + 1)
        to[length] = 13
        to[length &+ 1] = 10
        out.pointee.wrote(length &+ 2)
    }

    /// `count` replies follow.
    @inline(__always)
    public func array(_ count: Int) { header(UInt8(ascii: "*"), count) }

    /// `count` pairs of replies follow.
    @inline(__always)
    public func map(_ count: Int) {
        if version == 2 {
            header(UInt8(ascii: "*"), count &* 2)
        } else {
            header(UInt8(ascii: "%"), count)
        }
    }

    /// `count` distinct replies follow.
    @inline(__always)
    public func set(_ count: Int) { header(UInt8(ascii: version == 2 ? "*" : "~"), count) }

    /// `count` replies of an out-of-band message follow.
    @inline(__always)
    public func push(_ count: Int) { header(UInt8(ascii: version == 2 ? "*" : ">"), count) }

    /// `count` pairs that describe the next reply (RESP3 only).
    public func attribute(_ count: Int) { header(UInt8(ascii: "|"), count) }

    public func boolean(_ value: Bool) {
        if version == 2 {
            integer(value ? 1 : 0)
        } else {
            raw(value ? "#t\r\n" : "#f\r\n")
        }
    }

    /// A double, without allocation: scores are among the most frequent replies.
    public func double(_ value: Double) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: doubleTextRoom) { room in
            guard let start = room.baseAddress else { return }
            let text = Bytes(start, writeDouble(value, to: start))
            if version == 2 {
                bulk(text)
            } else {
                out.pointee.append(UInt8(ascii: ","))
                out.pointee.append(text)
                out.pointee.append("\r\n")
            }
        }
    }

    public func bigNumber(_ digits: String) {
        if version == 2 {
            bulk(digits)
        } else {
            out.pointee.append("(" + digits + "\r\n")
        }
    }

    /// Text with a three-letter format: `txt` or `mkd`.
    public func verbatim(_ text: String, format: StaticString = "txt") {
        if version == 2 {
            bulk(text)
        } else {
            header(UInt8(ascii: "="), text.utf8.count + 4)
            out.pointee.append(format)
            out.pointee.append(UInt8(ascii: ":"))
            out.pointee.append(text)
            out.pointee.append("\r\n")
        }
    }
}
