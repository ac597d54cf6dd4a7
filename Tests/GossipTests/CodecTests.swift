// The wire: offsets of every field as the reference pins them, round trips, and bytes that no node
// ever sent.
import Base
import Gossip
import HashSlots
import Testing

@Suite struct CodecTests {
    static func id(_ seed: UInt64) -> NodeID {
        var random = Prng(seed: seed)
        return NodeID(random: &random)
    }

    static func header(_ type: BusMessageType) -> BusHeader {
        var header = BusHeader(type: type.rawValue, sender: id(1))
        header.port = 0x1BCD
        header.secondPort = 0x1234
        header.busPort = 0x42DD
        header.currentEpoch = 0x0102_0304_0506_0708
        header.configEpoch = 0x1112_1314_1516_1718
        header.offset = 0x2122_2324_2526_2728
        header.slots.insert(0...9)
        header.slots.insert(16383...16383)
        header.primary = id(2)
        header.ip = "10.0.0.1"
        header.flags = [.myself, .primary]
        header.state = 1
        header.messageFlags = [.paused, .extended]
        return header
    }

    static var samples: [BusMessage] {
        var entry = GossipEntry(id: id(3))
        entry.pingSent = 7
        entry.pongReceived = 9
        entry.ip = "::1"
        entry.port = 7000
        entry.busPort = 17000
        entry.secondPort = 7100
        entry.flags = [.replica, .possiblyFailed]
        let extensions: [PingExtension] = [
            .hostname("node-1.example"), .humanName("seven77"), .forgotten(id(4), seconds: 59),
            .shard(id(5)),
        ]
        var ping = header(.ping)
        ping.messageFlags.insert(.hasExtensions)
        return [
            BusMessage(header: ping, body: .ping([entry, entry], extensions)),
            BusMessage(header: header(.pong), body: .ping([], [])),
            BusMessage(header: header(.meet), body: .ping([entry], [])),
            BusMessage(header: header(.fail), body: .fail(id(6))),
            BusMessage(
                header: header(.publish), body: .publish(channel: [1, 2], message: [3])),
            BusMessage(header: header(.publishShard), body: .publish(channel: [], message: [])),
            BusMessage(header: header(.authRequest), body: .empty),
            BusMessage(header: header(.authAck), body: .empty),
            BusMessage(
                header: header(.update),
                body: .update(configEpoch: 77, node: id(7), slots: header(.ping).slots)),
            BusMessage(header: header(.manualStart), body: .empty),
            BusMessage(
                header: header(.module), body: .module(id: 5, type: 6, payload: [7, 8, 9])),
        ]
    }

    @Test func everyMessageRoundTrips() throws {
        for sample in CodecTests.samples {
            let bytes = sample.encoded()
            #expect(try BusMessage.decode(bytes, 0..<bytes.count) == sample)
        }
    }

    @Test func fieldsAreWhereTheProtocolHasThem() {
        let bytes = BusMessage(header: CodecTests.header(.authRequest), body: .empty).encoded()
        #expect(bytes.count == 2256)
        #expect(Array(bytes[0..<4]) == Array("RCmb".utf8))
        #expect(Array(bytes[4..<8]) == [0, 0, 0x08, 0xD0])
        #expect(Array(bytes[8..<10]) == [0, 1])
        #expect(Array(bytes[10..<12]) == [0x1B, 0xCD])
        #expect(Array(bytes[12..<14]) == [0, 5])
        #expect(Array(bytes[14..<16]) == [0, 0])
        #expect(Array(bytes[16..<24]) == [1, 2, 3, 4, 5, 6, 7, 8])
        #expect(Array(bytes[24..<32]) == [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18])
        #expect(Array(bytes[32..<34]) == [0x21, 0x22])
        #expect(Array(bytes[40..<80]) == CodecTests.id(1).bytes)
        #expect(Array(bytes[80..<83]) == [0xFF, 0x03, 0x00])
        #expect(bytes[80 + 2047] == 0x80)
        #expect(Array(bytes[2128..<2168]) == CodecTests.id(2).bytes)
        #expect(Array(bytes[2168..<2177]) == Array("10.0.0.1".utf8) + [0])
        #expect(Array(bytes[2214..<2216]) == [0, 0])
        #expect(Array(bytes[2246..<2248]) == [0x12, 0x34])
        #expect(Array(bytes[2248..<2250]) == [0x42, 0xDD])
        #expect(Array(bytes[2250..<2252]) == [0, 17])
        #expect(Array(bytes[2252..<2256]) == [1, 1, 0, 0x80])
    }

    @Test func bodiesHaveTheirSizes() {
        let sizes = CodecTests.samples.map { $0.encoded().count - 2256 }
        // Extensions: 8 + 16, 8 + 8, 8 + 48, 8 + 40.
        #expect(sizes[0] == 2 * 104 + 24 + 16 + 56 + 48)
        #expect(sizes[1...] == [0, 104, 40, 11, 8, 0, 0, 2096, 0, 16])
    }

    @Test func aGossipEntryIsWhereTheProtocolHasIt() {
        let bytes = Array(CodecTests.samples[2].encoded()[2256...])
        #expect(Array(bytes[0..<40]) == CodecTests.id(3).bytes)
        #expect(Array(bytes[40..<48]) == [0, 0, 0, 7, 0, 0, 0, 9])
        #expect(Array(bytes[48..<52]) == Array("::1".utf8) + [0])
        #expect(Array(bytes[94..<104]) == [0x1B, 0x58, 0x42, 0x68, 0, 6, 0x1B, 0xBC, 0, 0])
    }

    /// Release 7.2 pads names to 8 bytes with at least one zero.
    @Test func namesArePaddedWithAZeroAtLeast() {
        for (name, size) in [("1234567", 16), ("12345678", 24), ("a", 16)] {
            var header = CodecTests.header(.ping)
            header.messageFlags.insert(.hasExtensions)
            let message = BusMessage(header: header, body: .ping([], [.hostname(name)]))
            #expect(message.encoded().count == 2256 + size)
        }
    }

    @Test(arguments: 0..<8 as Range<UInt64>)
    func damagedPacketsAreReasons(seed: UInt64) {
        var random = Prng(seed: seed)
        let samples = CodecTests.samples.map { $0.encoded() }
        for _ in 0..<150 {
            var bytes = samples[random.below(samples.count)]
            switch random.below(3) {
            case 0: bytes.removeLast(random.below(bytes.count))
            case 1:
                for _ in 0...random.below(8) {
                    bytes[random.below(bytes.count)] ^= UInt8(1 &<< random.below(8))
                }
            default:
                let places = [4, 5, 6, 7, 12, 13, 14, 15, 2214, 2215, 2253, 2256]
                for _ in 0...random.below(4) {
                    let place = places[random.below(places.count)]
                    if place < bytes.count {
                        bytes[place] = UInt8(truncatingIfNeeded: random.next())
                    }
                }
            }
            // Either a message or a reason, never a trap; a message encodes again.
            if let message = try? BusMessage.decode(bytes, 0..<bytes.count) {
                _ = message.encoded()
            }
        }
    }
}

/// The machine against bytes that no node sends: damaged, cut, glued, replayed.
@Suite struct FramingTests {
    private static func machine(_ seed: UInt64) -> (ClusterState, Now) {
        let now = Now(
            instant: Instant(microseconds: 5_000_000), wall: WallTime(milliseconds: 1_700_000_000))
        return (ClusterState(config: GossipConfig(), seed: seed, now: now), now)
    }

    @Test(arguments: 0..<6 as Range<UInt64>)
    func hostileBytesDoNoHarm(seed: UInt64) {
        var random = Prng(seed: seed)
        var (state, now) = FramingTests.machine(seed)
        let samples = CodecTests.samples.map { $0.encoded() }
        var link: UInt64 = 0
        for _ in 0..<60 {
            link += 2
            let id = LinkID(raw: link)
            var effects = ClusterEffects()
            state.step(
                .linkAccepted(id, peerAddress: "10.0.0.9", localAddress: "10.0.0.8"), at: now,
                into: &effects)
            var bytes: [UInt8] = []
            for _ in 0...random.below(3) { bytes += samples[random.below(samples.count)] }
            for _ in 0..<random.below(4) {
                bytes[random.below(bytes.count)] = UInt8(truncatingIfNeeded: random.next())
            }
            while !bytes.isEmpty {
                let count = min(bytes.count, 1 + random.below(3000))
                state.step(.received(id, Array(bytes.prefix(count))), at: now, into: &effects)
                bytes.removeFirst(count)
            }
            now.instant = now.instant + Milliseconds(Int64(random.below(200)))
            state.step(.tick, at: now, into: &effects)
        }
        state.checkInvariants()
    }

    @Test func aPacketMayComeBytewise() {
        var (state, now) = FramingTests.machine(99)
        var effects = ClusterEffects()
        let link = LinkID(raw: 2)
        state.step(
            .linkAccepted(link, peerAddress: "10.0.0.9", localAddress: "10.0.0.8"), at: now,
            into: &effects)
        let meet = CodecTests.samples[2].encoded()
        for byte in meet { state.step(.received(link, [byte]), at: now, into: &effects) }
        #expect(effects.sendNow.count + effects.sendAfterSync.count == 1)
        #expect(state.knownNodes == 2)
        #expect(state.busStats.received[2] == 1)
        now.instant = now.instant + Milliseconds(100)
        state.step(.tick, at: now, into: &effects)
        #expect(effects.connect.first?.host == "10.0.0.1")
        #expect(effects.connect.first?.port == 0x42DD)
    }

    @Test(arguments: [
        (BadPacket.signature, 0, UInt8(0)), (.length, 6, 0), (.oversized, 4, 0x7F),
        (.senderName, 40, 0xFF), (.epoch, 16, 0xFF),
    ])
    func aDamagedPacketClosesItsLink(reason: BadPacket, offset: Int, byte: UInt8) {
        var (state, now) = FramingTests.machine(99)
        var effects = ClusterEffects()
        let link = LinkID(raw: 2)
        state.step(
            .linkAccepted(link, peerAddress: "10.0.0.9", localAddress: "10.0.0.8"), at: now,
            into: &effects)
        var bytes = CodecTests.samples[6].encoded()
        bytes[offset] = byte
        if reason == .length { bytes[7] = 100 }
        now.instant = now.instant + Milliseconds(1)
        state.step(.received(link, bytes), at: now, into: &effects)
        #expect(effects.close == [link])
        let index = BadPacket.allCases.firstIndex(of: reason) ?? 0
        #expect(state.busStats.bad[index] == 1)
    }

    @Test func droppedPacketsAreForTests() {
        var (state, now) = FramingTests.machine(99)
        var effects = ClusterEffects()
        state.step(.dropPackets(type: 2, closingLink: true), at: now, into: &effects)
        let link = LinkID(raw: 2)
        state.step(
            .linkAccepted(link, peerAddress: "10.0.0.9", localAddress: "10.0.0.8"), at: now,
            into: &effects)
        now.instant = now.instant + Milliseconds(1)
        state.step(.received(link, CodecTests.samples[2].encoded()), at: now, into: &effects)
        #expect(state.knownNodes == 1)
        #expect(effects.close == [link])
    }
}
