// The bytes of the cluster bus, protocol version 1: big-endian, a fixed header of 2256 bytes, then
// what the type asks for. Nothing here trusts a length: a packet that does not fit itself is a
// reason from `BadPacket`, never a trap. Source: the structures in the reference's cluster.h, whose
// offsets its own static assertions pin (ours are pinned by tests).
import Base
import HashSlots

package enum BusLayout {
    package static let headerSize = 2256
    package static let gossipSize = 104
    package static let updateSize = 8 + 40 + 2048
    static let ipSize = 46
    static let extensionHeader = 8
    static let signature: [UInt8] = Array("RCmb".utf8)
    static let version: UInt16 = 1
    /// No packet is longer; one from a node that is not known yet must be shorter.
    static let largestPacket = 1 << 29
    static let largestUnknown = 1 << 24
    /// Leaves room to count on: a hostile epoch must not make ours overflow.
    static let largestEpoch = UInt64(1) << 62
}

// MARK: Writing

extension BusMessage {
    /// The packet as bytes.
    package func encoded() -> [UInt8] {
        var out = BusWriter()
        out.bytes.reserveCapacity(BusLayout.headerSize + 256)
        writeHeader(into: &out)
        invariant(out.bytes.count == BusLayout.headerSize, "the header must be 2256 bytes long")
        writeBody(into: &out)
        out.patch32(UInt32(out.bytes.count), at: 4)
        return out.bytes
    }

    private var counts: (gossip: Int, extensions: Int) {
        guard case .ping(let gossip, let extensions) = body else { return (0, 0) }
        return (gossip.count, extensions.count)
    }

    private func writeHeader(into out: inout BusWriter) {
        let counts = counts
        out.bytes.append(contentsOf: BusLayout.signature)
        out.u32(0)
        out.u16(BusLayout.version)
        out.u16(UInt16(truncatingIfNeeded: header.port))
        out.u16(header.type)
        out.u16(UInt16(truncatingIfNeeded: counts.gossip))
        out.u64(header.currentEpoch)
        out.u64(header.configEpoch)
        out.u64(header.offset)
        out.id(header.sender)
        out.slots(header.slots)
        out.id(header.primary ?? .null)
        out.text(header.ip, BusLayout.ipSize)
        out.u16(UInt16(truncatingIfNeeded: counts.extensions))
        out.u64(header.voterVersion)
        out.zeros(22)
        out.u16(UInt16(truncatingIfNeeded: header.secondPort))
        out.u16(UInt16(truncatingIfNeeded: header.busPort))
        out.u16(header.flags.rawValue)
        out.bytes.append(header.state)
        for shift: UInt32 in [0, 8, 16] {
            out.bytes.append(UInt8(truncatingIfNeeded: header.messageFlags.rawValue &>> shift))
        }
    }

    private func writeBody(into out: inout BusWriter) {
        switch body {
        case .ping(let gossip, let extensions):
            for entry in gossip { out.gossip(entry) }
            for item in extensions { out.pingExtension(item) }
        case .fail(let id): out.id(id)
        case .publish(let channel, let message):
            out.u32(UInt32(channel.count))
            out.u32(UInt32(message.count))
            out.bytes.append(contentsOf: channel)
            out.bytes.append(contentsOf: message)
        case .update(let epoch, let node, let slots):
            out.u64(epoch)
            out.id(node)
            out.slots(slots)
        case .module(let id, let type, let payload):
            out.u64(id)
            out.u32(UInt32(payload.count))
            out.bytes.append(type)
            out.bytes.append(contentsOf: payload)
        case .empty: break
        }
    }
}

struct BusWriter {
    var bytes: [UInt8] = []

    mutating func u16(_ value: UInt16) {
        bytes.append(UInt8(truncatingIfNeeded: value &>> 8))
        bytes.append(UInt8(truncatingIfNeeded: value))
    }
    mutating func u32(_ value: UInt32) {
        u16(UInt16(truncatingIfNeeded: value &>> 16))
        u16(UInt16(truncatingIfNeeded: value))
    }
    mutating func u64(_ value: UInt64) {
        u32(UInt32(truncatingIfNeeded: value &>> 32))
        u32(UInt32(truncatingIfNeeded: value))
    }
    mutating func id(_ id: NodeID) { bytes.append(contentsOf: id.bytes) }
    mutating func zeros(_ count: Int) {
        bytes.append(contentsOf: repeatElement(0, count: count))
    }
    mutating func slots(_ slots: SlotSet) {
        for index in 0..<256 {
            var word = slots.wireWord(index)
            for _ in 0..<8 {
                bytes.append(UInt8(truncatingIfNeeded: word))
                word &>>= 8
            }
        }
    }
    /// `text` in a field of `size` bytes that always ends with a zero.
    mutating func text(_ text: String, _ size: Int) {
        let content = text.utf8.prefix(size - 1)
        bytes.append(contentsOf: content)
        zeros(size - content.count)
    }
    mutating func patch32(_ value: UInt32, at offset: Int) {
        for index in 0..<4 {
            bytes[offset + index] = UInt8(truncatingIfNeeded: value &>> UInt32(24 - index * 8))
        }
    }
    mutating func gossip(_ entry: GossipEntry) {
        id(entry.id)
        u32(entry.pingSent)
        u32(entry.pongReceived)
        text(entry.ip, BusLayout.ipSize)
        u16(UInt16(truncatingIfNeeded: entry.port))
        u16(UInt16(truncatingIfNeeded: entry.busPort))
        u16(entry.flags.rawValue)
        u16(UInt16(truncatingIfNeeded: entry.secondPort))
        u16(0)
    }
}

// MARK: Reading

/// A cursor that never leaves its bytes: what lies beyond the end reads as zero and is remembered.
struct BusReader {
    let bytes: [UInt8]
    var position: Int
    let end: Int
    private(set) var overran = false

    init(_ bytes: [UInt8], _ range: Range<Int>) {
        invariant(range.upperBound <= bytes.count, "a packet must lie inside its buffer")
        self.bytes = bytes
        position = range.lowerBound
        end = range.upperBound
    }

    var remaining: Int { end - position }

    mutating func u8() -> UInt8 {
        guard position < end else {
            overran = true
            return 0
        }
        position += 1
        return bytes[position - 1]
    }
    mutating func u16() -> UInt16 {
        let high = UInt16(u8())
        return (high &<< 8) | UInt16(u8())
    }
    mutating func u32() -> UInt32 {
        let high = UInt32(u16())
        return (high &<< 16) | UInt32(u16())
    }
    mutating func u64() -> UInt64 {
        let high = UInt64(u32())
        return (high &<< 32) | UInt64(u32())
    }
    /// nil for zeros and for anything that is no valid name.
    mutating func id() -> NodeID? {
        guard remaining >= NodeID.length else {
            overran = true
            position = end
            return nil
        }
        defer { position += NodeID.length }
        return NodeID(bytes, at: position)
    }
    mutating func slots() -> SlotSet {
        guard remaining >= 2048 else {
            overran = true
            position = end
            return SlotSet()
        }
        var words: [UInt64] = []
        words.reserveCapacity(256)
        for start in stride(from: position, to: position + 2048, by: 8) {
            var word: UInt64 = 0
            for index in 0..<8 { word |= UInt64(bytes[start + index]) &<< UInt64(index * 8) }
            words.append(word)
        }
        position += 2048
        return SlotSet(wireWords: words)
    }
    /// Text in a field of `size` bytes, up to the first zero.
    mutating func text(_ size: Int) -> String {
        let content = take(size).prefix { $0 != 0 }
        return String(decoding: content, as: UTF8.self)
    }
    mutating func take(_ count: Int) -> [UInt8] {
        guard count >= 0, remaining >= count else {
            overran = true
            position = end
            return []
        }
        defer { position += count }
        return Array(bytes[position..<position + count])
    }
    mutating func skip(_ count: Int) {
        if remaining < count { overran = true }
        position = min(end, position + count)
    }
}

extension BusMessage {
    /// The packet that fills `range` of `bytes`, or what is wrong with it.
    package static func decode(
        _ bytes: [UInt8],
        _ range: Range<Int>
    ) throws(BadPacketError) -> BusMessage {
        guard range.count >= BusLayout.headerSize else { throw .init(.truncated) }
        var reader = BusReader(bytes, range)
        guard reader.take(4) == BusLayout.signature else { throw .init(.signature) }
        guard Int(reader.u32()) == range.count else { throw .init(.lengthMismatch) }
        guard reader.u16() == BusLayout.version else { throw .init(.version) }
        let port = Int(reader.u16())
        let type = reader.u16()
        let gossipCount = Int(reader.u16())
        let currentEpoch = reader.u64()
        let configEpoch = reader.u64()
        let offset = reader.u64()
        guard max(currentEpoch, configEpoch) <= BusLayout.largestEpoch else { throw .init(.epoch) }
        guard let sender = reader.id() else { throw .init(.senderName) }
        var header = BusHeader(type: type, sender: sender)
        header.port = port
        header.currentEpoch = currentEpoch
        header.configEpoch = configEpoch
        header.offset = offset
        header.slots = reader.slots()
        header.primary = reader.id()
        header.ip = reader.text(BusLayout.ipSize)
        let extensionCount = Int(reader.u16())
        let voterVersion = reader.u64()
        reader.skip(22)
        header.secondPort = Int(reader.u16())
        header.busPort = Int(reader.u16())
        header.flags = NodeFlags(rawValue: reader.u16())
        header.state = reader.u8()
        let first = UInt32(reader.u8())
        let second = UInt32(reader.u8())
        header.messageFlags = MessageFlags(
            rawValue: first | (second &<< 8) | (UInt32(reader.u8()) &<< 16))
        if header.messageFlags.contains(.knowsVoters) {
            guard voterVersion / 2 <= BusLayout.largestEpoch else { throw .init(.epoch) }
            header.voterVersion = voterVersion
        }
        let body = try body(&reader, header, gossipCount, extensionCount)
        if reader.overran { throw .init(.truncated) }
        if reader.remaining != 0 { throw .init(.lengthMismatch) }
        return BusMessage(header: header, body: body)
    }

    private static func body(
        _ reader: inout BusReader,
        _ header: BusHeader,
        _ gossipCount: Int,
        _ extensionCount: Int
    ) throws(BadPacketError) -> BusBody {
        switch BusMessageType(rawValue: header.type) {
        case .ping, .pong, .meet:
            guard reader.remaining >= gossipCount * BusLayout.gossipSize else {
                throw .init(.lengthMismatch)
            }
            var gossip: [GossipEntry] = []
            gossip.reserveCapacity(gossipCount)
            // An entry without a valid name can concern nobody; the rest of the packet may.
            for _ in 0..<gossipCount {
                if let entry = reader.gossip() { gossip.append(entry) }
            }
            let count = header.messageFlags.contains(.hasExtensions) ? extensionCount : 0
            return .ping(gossip, try reader.pingExtensions(count))
        case .fail:
            guard let id = reader.id() else { throw .init(.truncated) }
            return .fail(id)
        case .publish, .publishShard:
            let channelLength = Int(reader.u32())
            let messageLength = Int(reader.u32())
            guard reader.remaining == channelLength + messageLength else {
                throw .init(.lengthMismatch)
            }
            let channel = reader.take(channelLength)
            return .publish(channel: channel, message: reader.take(messageLength))
        case .authRequest, .authAck, .manualStart: return .empty
        case .update:
            let epoch = reader.u64()
            guard epoch <= BusLayout.largestEpoch else { throw .init(.epoch) }
            guard let node = reader.id() else { throw .init(.truncated) }
            return .update(configEpoch: epoch, node: node, slots: reader.slots())
        case .module:
            let id = reader.u64()
            let length = Int(reader.u32())
            let type = reader.u8()
            return .module(id: id, type: type, payload: reader.take(length))
        case nil: throw .init(.unknownType)
        }
    }
}

package struct BadPacketError: Error, Equatable {
    package var reason: BadPacket
    init(_ reason: BadPacket) { self.reason = reason }
}

extension BusReader {
    /// nil when the name is not valid.
    mutating func gossip() -> GossipEntry? {
        let id = id()
        let pingSent = u32()
        let pongReceived = u32()
        let ip = text(BusLayout.ipSize)
        let port = Int(u16())
        let busPort = Int(u16())
        let flags = NodeFlags(rawValue: u16())
        let secondPort = Int(u16())
        skip(2)
        guard let id else { return nil }
        var entry = GossipEntry(id: id)
        entry.pingSent = pingSent
        entry.pongReceived = pongReceived
        entry.ip = ip
        entry.port = port
        entry.busPort = busPort
        entry.flags = flags
        entry.secondPort = secondPort
        return entry
    }
}
