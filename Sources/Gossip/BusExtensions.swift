// The typed extras behind the gossip section of PING, PONG and MEET: each an 8-byte head (length
// with the head, type, padding) and a body padded to 8 bytes. 0 is release 7.0's, 1 to 3 came with
// 7.2; a 7.0 node logs a warning for each of those that it gets, so only nodes that showed that
// they know them receive them.
import Base

extension BusWriter {
    /// Far from the numbers that the reference gives out.
    static let votersType: UInt16 = 0x8001

    mutating func pingExtension(_ item: PingExtension) {
        switch item {
        case .hostname(let name): textExtension(0, name)
        case .humanName(let name): textExtension(1, name)
        case .forgotten(let id, let seconds):
            extensionHead(2, bodySize: 48)
            self.id(id)
            u64(seconds)
        case .shard(let id):
            extensionHead(3, bodySize: 40)
            self.id(id)
        case .voters(let set):
            extensionHead(Self.votersType, bodySize: 8 + NodeID.length * set.members.count)
            u64(set.version)
            for id in set.members { self.id(id) }
        case .unknown(let type): extensionHead(type, bodySize: 0)
        }
    }

    private mutating func extensionHead(_ type: UInt16, bodySize: Int) {
        invariant(bodySize % 8 == 0, "an extension must be padded to 8 bytes")
        u32(UInt32(BusLayout.extensionHeader + bodySize))
        u16(type)
        u16(0)
    }

    private mutating func textExtension(_ type: UInt16, _ text: String) {
        let size = (text.utf8.count + 8) / 8 * 8
        extensionHead(type, bodySize: size)
        self.text(text, size)
    }
}

extension BusReader {
    mutating func pingExtensions(_ count: Int) throws(BadPacketError) -> [PingExtension] {
        var out: [PingExtension] = []
        for _ in 0..<count {
            guard remaining >= BusLayout.extensionHeader else { throw .init(.extensionOverrun) }
            let length = Int(u32())
            let type = u16()
            skip(2)
            guard length % 8 == 0 else { throw .init(.extensionPadding) }
            let bodySize = length - BusLayout.extensionHeader
            guard bodySize >= 0, bodySize <= remaining else { throw .init(.extensionOverrun) }
            var body = BusReader(bytes, position..<position + bodySize)
            skip(bodySize)
            out.append(body.extensionBody(type) ?? .unknown(type: type))
        }
        return out
    }

    /// nil for a type or a body that makes no sense: the extension is skipped, not the packet.
    private mutating func extensionBody(_ type: UInt16) -> PingExtension? {
        switch type {
        case 0: return .hostname(text(remaining))
        case 1: return .humanName(text(remaining))
        case 2:
            guard let id = id(), remaining >= 8 else { return nil }
            return .forgotten(id, seconds: u64())
        case 3: return id().map { .shard($0) }
        case BusWriter.votersType: return voterSet().map { .voters($0) }
        default: return nil
        }
    }

    private mutating func voterSet() -> VoterSet? {
        guard remaining >= 8 else { return nil }
        let version = u64()
        let count = remaining / NodeID.length
        guard remaining % NodeID.length == 0, count <= VoterSet.largest,
            version / 2 <= BusLayout.largestEpoch
        else { return nil }
        var members: [NodeID] = []
        for _ in 0..<count {
            guard let id = id(), !members.contains(id) else { return nil }
            members.append(id)
        }
        return VoterSet(version: version, members: members)
    }
}
