// Replies of instances, cut out of the bytes of a connection: RESP2, with limits, since whoever
// listens at an address is not necessarily the one that was expected there. Anything malformed or
// too large ends the connection.
import Base

/// One reply.
public indirect enum Reply: Sendable, Equatable {
    case simple(String)
    case error(String)
    case integer(Int64)
    case bulk([UInt8])
    case null
    case array([Reply])

    /// The text of a string reply of either kind.
    var text: String? {
        switch self {
        case .simple(let text): text
        case .bulk(let bytes): String(decoding: bytes, as: UTF8.self)
        default: nil
        }
    }
}

struct ReplyStream: Sendable {
    private static let bulkLimit = 16 << 20
    private static let lineLimit = 64 << 10
    private static let countLimit = 4096
    private static let depthLimit = 4

    enum Outcome {
        case reply(Reply)
        case incomplete
        case malformed
    }

    private var bytes: [UInt8] = []
    private var position = 0
    /// Not worth trying again before so many bytes are there.
    private var needed = 0

    mutating func append(_ more: [UInt8]) { bytes.append(contentsOf: more) }

    mutating func next() -> Outcome {
        guard bytes.count - position >= max(1, needed) else { return .incomplete }
        needed = 0
        var at = position
        let outcome = parse(&at, depth: 0)
        if case .reply = outcome { position = at }
        if position > 4096 || position == bytes.count {
            bytes.removeFirst(position)
            position = 0
        }
        return outcome
    }

    private func line(_ at: inout Int) -> ArraySlice<UInt8>? {
        guard let end = bytes[at...].firstIndex(of: 10), end > at, bytes[end - 1] == 13 else {
            return nil
        }
        defer { at = end + 1 }
        return bytes[at..<(end - 1)]
    }

    private mutating func parse(_ at: inout Int, depth: Int) -> Outcome {
        guard at < bytes.count else { return .incomplete }
        let mark = bytes[at]
        var rest = at + 1
        guard let line = line(&rest) else {
            return bytes.count - at > Self.lineLimit ? .malformed : .incomplete
        }
        let text = String(decoding: line, as: UTF8.self)
        at = rest
        switch mark {
        case UInt8(ascii: "+"): return .reply(.simple(text))
        case UInt8(ascii: "-"): return .reply(.error(text))
        case UInt8(ascii: ":"): return Int64(text).map { .reply(.integer($0)) } ?? .malformed
        case UInt8(ascii: "$"): return bulk(&at, Int(text))
        case UInt8(ascii: "*"):
            guard let count = Int(text), count <= Self.countLimit, depth < Self.depthLimit else {
                return .malformed
            }
            if count < 0 { return .reply(.null) }
            var items: [Reply] = []
            for _ in 0..<count {
                let item = parse(&at, depth: depth + 1)
                guard case .reply(let reply) = item else { return item }
                items.append(reply)
            }
            return .reply(.array(items))
        default: return .malformed
        }
    }

    private mutating func bulk(_ at: inout Int, _ length: Int?) -> Outcome {
        guard let length, length <= Self.bulkLimit else { return .malformed }
        if length < 0 { return .reply(.null) }
        guard bytes.count - at >= length + 2 else {
            needed = at + length + 2 - position
            return .incomplete
        }
        let content = Array(bytes[at..<(at + length)])
        guard bytes[at + length] == 13, bytes[at + length + 1] == 10 else { return .malformed }
        at += length + 2
        return .reply(.bulk(content))
    }
}

enum Request {
    /// A command as an instance reads it.
    static func encode(_ words: [String]) -> [UInt8] {
        var out = Array("*\(words.count)\r\n".utf8)
        for word in words {
            out.append(contentsOf: "$\(word.utf8.count)\r\n".utf8)
            out.append(contentsOf: word.utf8)
            out.append(contentsOf: [13, 10])
        }
        return out
    }
}
