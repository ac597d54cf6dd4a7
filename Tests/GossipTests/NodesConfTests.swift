// nodes.conf: files of both releases, what comes back from a written one, and damage.
import Base
import Gossip
import HashSlots
import Testing

private let a = "07c37dfeb235213a872192d90877d0cd55635b91"
private let b = "67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1"
private let c = "292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f"

private let release70 = """
    \(b) 127.0.0.1:30002@31002,host-2 master - 0 1426238316232 2 connected 5461-10922
    \(a) 127.0.0.1:30004@31004 slave \(b) 0 1426238317239 2 connected
    \(c) 127.0.0.1:30003@31003 myself,master,nofailover - 0 0 3 connected 0-5460 10923 \
    [10923->-\(b)] [12000-<-\(b)]
    vars currentEpoch 6 lastVoteEpoch 5

    """

private let release72 = """
    \(c) 127.0.0.1:7001@17001,,tls-port=0,nodename=one,shard-id=\(a) myself,master - 0 0 1 \
    connected 0-16383
    \(b) 127.0.0.1:7002@17002,host,tls-port=7102,shard-id=\(a) slave,fail? \(c) 5 6 1 disconnected
    vars currentEpoch 1 lastVoteEpoch 0

    """

private let now = Now(
    instant: Instant(microseconds: 5_000_000), wall: WallTime(milliseconds: 1_700_000_000_000))

private func load(_ text: String, _ edit: (inout GossipConfig) -> Void = { _ in }) throws
    -> ClusterState
{
    var config = GossipConfig()
    edit(&config)
    let conf = try #require(try NodesConf.parse(Array(text.utf8)))
    return ClusterState(restoring: conf, config: config, seed: 1, now: now)
}

/// What the machine writes when asked to.
private func saved(_ state: ClusterState) -> String {
    var copy = state
    var effects = ClusterEffects()
    copy.step(.command(.saveConfig), at: now, into: &effects)
    return String(decoding: effects.state?.contents ?? [], as: UTF8.self)
}

@Suite struct NodesConfTests {
    @Test func aFileOfRelease70IsRead() throws {
        let state = try load(release70) { $0.replicaNoFailover = true }
        state.checkInvariants()
        #expect(state.myID.description == c)
        #expect(state.currentEpoch == 6 && state.lastVoteEpoch == 5)
        #expect(state.mySlots.count == 5462)
        let replicas = try state.replicaLines(of: b)
        #expect(replicas.count == 1)
        #expect(replicas.first?.hasPrefix("\(a) 127.0.0.1:30004@31004 slave \(b)") == true)
        let text = state.nodesText()
        #expect(text.contains("127.0.0.1:30002@31002,host-2 master - 0 "))
        #expect(text.contains("[10923->-\(b)] [12000-<-\(b)]"))
    }

    @Test func aFileOfRelease72IsRead() throws {
        let state = try load(release72) { $0.announceHumanName = "one" }
        #expect(state.myShardID.description == a)
        let again = saved(state)
        #expect(again.contains(":6379@16379,,tls-port=0,nodename=one,shard-id=\(a) myself"))
        #expect(again.contains("7002@17002,host,tls-port=7102,shard-id=\(a) slave,fail? \(c)"))
        #expect(!state.nodesText().contains("shard-id"))
    }

    @Test func whatIsWrittenIsReadBack() throws {
        for text in [release70, release72] {
            let first = saved(try load(text))
            let second = saved(try load(first))
            #expect(first == second)
            #expect(first.hasSuffix("\n"))
        }
        let plain = saved(try load(release72) { $0.writesAuxiliaryFields = false })
        #expect(!plain.contains("shard-id"))
        #expect(saved(try load(plain) { $0.writesAuxiliaryFields = false }) == plain)
    }

    @Test func anEmptyFileIsNoFile() throws {
        #expect(try NodesConf.parse([]) == nil)
    }

    @Test func paddingIsAllowed() throws {
        #expect(try NodesConf.parse(Array((release70 + "\n\n\n").utf8)) != nil)
    }

    @Test(arguments: [
        ("vars currentEpoch 6 lastVoteEpoch 5\n", "", 0, "variables is missing"),
        (" lastVoteEpoch 5", "", 4, "not complete"),
        ("lastVoteEpoch 5", "lastVoteEpoch", 4, "no value"),
        ("currentEpoch 6", "currentEpoch x", 4, "no epoch"),
        ("0-5460 10923", "0-5461 10923", 0, "two owners"),
        ("0-5460 10923", "0-16384", 3, "no slot"),
        ("myself,master,", "master,", 0, "myself"),
        ("master - 0 1426238316232", "boss - 0 1426238316232", 1, "unknown flag boss"),
        ("slave \(b)", "slave \(String(repeating: "f", count: 40))", 0, "not listed"),
        ("127.0.0.1:30004@31004", "127.0.0.1", 2, "no port"),
        ("127.0.0.1:30004@31004", "127.0.0.1:70000", 2, "no port"),
        ("\(a) 127", "\(b) 127", 2, "listed twice"),
        ("\(a) 127", "xyz 127", 2, "no node ID"),
        (",host-2", ",host-2,color=red", 1, "unknown field"),
        ("[12000-<-", "[12000-?-", 3, "no open slot"),
    ])
    func damageIsNamed(old: String, new: String, line: Int, reason: String) {
        let text = release70.split(separator: old, omittingEmptySubsequences: false)
            .joined(separator: new)
        #expect(text != release70)
        let error = #expect(throws: NodesConfError.self) {
            try NodesConf.parse(Array(text.utf8))
        }
        #expect(error?.line == line)
        #expect(error?.reason.contains(reason) ?? false, "\(String(describing: error))")
    }

    /// A torn write leaves a beginning of the file: none of them may pass for the whole.
    @Test func noPrefixIsAccepted() {
        let bytes = Array(release72.utf8)
        for count in 1..<bytes.count {
            #expect(throws: NodesConfError.self) { try NodesConf.parse(Array(bytes[..<count])) }
        }
    }

    @Test(arguments: 0..<4 as Range<UInt64>)
    func randomDamageIsAnErrorOrAFile(seed: UInt64) {
        var random = Prng(seed: seed)
        let samples = [Array(release70.utf8), Array(release72.utf8)]
        for _ in 0..<300 {
            var bytes = samples[random.below(2)]
            for _ in 0...random.below(6) {
                let place = random.below(bytes.count)
                switch random.below(3) {
                case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.remove(at: place)
                default: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: place)
                }
            }
            guard let conf = try? NodesConf.parse(bytes) else { continue }
            let state = ClusterState(
                restoring: conf, config: GossipConfig(), seed: 1, now: now)
            state.checkInvariants()
        }
    }
}
