// The replies that the workload's commands can have, read from a client's connection.
import Base

enum Reply: Equatable {
    case status(String)
    case error(String)
    case integer(Int64)
    case bulk([UInt8]?)
}

struct ReplyReader {
    private var bytes: [UInt8] = []

    mutating func append(_ more: [UInt8]) {
        if bytes.isEmpty { bytes = more } else { bytes += more }
    }

    mutating func removeAll() { bytes.removeAll() }

    /// The next whole reply, or nil while more must come.
    mutating func next() -> Reply? {
        guard let first = bytes.first, let lineEnd = bytes.firstIndex(of: 13),
            bytes.count > lineEnd + 1
        else { return nil }
        let line = String(decoding: bytes[1..<lineEnd], as: UTF8.self)
        let after = lineEnd + 2
        switch first {
        case UInt8(ascii: "+"): return take(after, .status(line))
        case UInt8(ascii: "-"): return take(after, .error(line))
        case UInt8(ascii: ":"): return take(after, .integer(Int64(line) ?? 0))
        case UInt8(ascii: "$"):
            guard let count = Int(line), count >= 0 else { return take(after, .bulk(nil)) }
            guard bytes.count >= after + count + 2 else { return nil }
            let value = Array(bytes[after..<(after + count)])
            return take(after + count + 2, .bulk(value))
        default: return take(bytes.count, .error("PROTOCOL unexpected reply type \(first)"))
        }
    }

    private mutating func take(_ count: Int, _ reply: Reply) -> Reply {
        bytes.removeFirst(count)
        return reply
    }
}
