// The name of a node (or of a shard): 40 characters out of 0-9 and a-z, as the bus, nodes.conf and
// every CLUSTER report carry it. Kept as five big-endian words, so that comparing is cheap and
// orders like memcmp: the collision rule for config epochs and the tie between two equal replicas
// depend on that order.
import Base

public struct NodeID: Hashable, Comparable, Sendable, CustomStringConvertible {
    public static let length = 40

    private var a: UInt64 = 0
    private var b: UInt64 = 0
    private var c: UInt64 = 0
    private var d: UInt64 = 0
    private var e: UInt64 = 0

    /// The 40 zero bytes that mean "none" on the wire.
    static let null = NodeID()

    private init() {}

    /// nil unless `bytes` at `offset` hold a valid name.
    init?(_ bytes: [UInt8], at offset: Int = 0) {
        guard offset >= 0, bytes.count - offset >= NodeID.length else { return nil }
        func word(_ index: Int) -> UInt64 {
            var value: UInt64 = 0
            for position in 0..<8 {
                value = (value &<< 8) | UInt64(bytes[offset + index * 8 + position])
            }
            return value
        }
        for position in 0..<NodeID.length {
            let byte = bytes[offset + position]
            let isDigit = byte >= 48 && byte <= 57
            guard isDigit || (byte >= 97 && byte <= 122) else { return nil }
        }
        a = word(0)
        b = word(1)
        c = word(2)
        d = word(3)
        e = word(4)
    }

    /// nil unless `text` is a valid name of exactly 40 characters.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count == NodeID.length else { return nil }
        self.init(bytes)
    }

    /// A new name drawn from `random`.
    public init(random: inout Prng) {
        guard let id = NodeID(random.hex(NodeID.length)) else {
            unreachable("hexadecimal digits form a valid node ID")
        }
        self = id
    }

    public var bytes: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(NodeID.length)
        for word in [a, b, c, d, e] {
            for shift in stride(from: 56, through: 0, by: -8) {
                out.append(UInt8(truncatingIfNeeded: word &>> UInt64(shift)))
            }
        }
        return out
    }

    public var description: String { String(decoding: bytes, as: UTF8.self) }

    public static func < (x: NodeID, y: NodeID) -> Bool {
        if x.a != y.a { return x.a < y.a }
        if x.b != y.b { return x.b < y.b }
        if x.c != y.c { return x.c < y.c }
        if x.d != y.d { return x.d < y.d }
        return x.e < y.e
    }
}

/// What is known about a node, in the bits of the wire.
public struct NodeFlags: OptionSet, Hashable, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    public static let primary = NodeFlags(rawValue: 1)
    public static let replica = NodeFlags(rawValue: 2)
    /// Not answering, as far as this node can tell.
    public static let possiblyFailed = NodeFlags(rawValue: 4)
    /// Failed, by the agreement of a majority of primaries.
    public static let failed = NodeFlags(rawValue: 8)
    public static let myself = NodeFlags(rawValue: 16)
    /// Known by address only; its ID is still a made-up one.
    public static let handshake = NodeFlags(rawValue: 32)
    public static let noAddress = NodeFlags(rawValue: 64)
    /// Greet with MEET instead of PING.
    public static let meet = NodeFlags(rawValue: 128)
    /// A primary that replicas may migrate to.
    public static let migrateTo = NodeFlags(rawValue: 256)
    /// A replica that never fails over by itself.
    public static let noFailover = NodeFlags(rawValue: 512)

    /// As CLUSTER NODES and nodes.conf write them.
    public var text: String {
        var words: [String] = []
        for (flag, word) in NodeFlags.words where contains(flag) { words.append(word) }
        return words.isEmpty ? "noflags" : words.joined(separator: ",")
    }

    /// The names that appear in nodes.conf, in the order in which they are written.
    static let words: [(NodeFlags, String)] = [
        (.myself, "myself"), (.primary, "master"), (.replica, "slave"),
        (.possiblyFailed, "fail?"), (.failed, "fail"), (.handshake, "handshake"),
        (.noAddress, "noaddr"), (.noFailover, "nofailover"),
    ]
}

/// A node as a log line names it: with the name that people gave it, if they did.
public struct NodeLabel: Sendable, Equatable, CustomStringConvertible {
    public var id: NodeID
    public var humanName: String

    public var description: String { humanName.isEmpty ? "\(id)" : "\(id) (\(humanName))" }
}
