// Voters of last resort as the cluster's nodes see them: how they come into the set and leave it,
// what their leases and votes do, and the bytes and lines that carry them. The voters here are
// models that confirm and vote for everything; the real ones run in the simulator.
import Base
import Gossip
import HashSlots
import Testing

/// A sentinel that says yes.
private final class ModelVoter {
    let id: NodeID
    var set = VoterSet()
    var epoch: UInt64 = 0
    var lastVote: UInt64 = 0
    var stamps: [Int: String] = [:]
    var votes: [Int: UInt64] = [:]
    var wish = VoterPulse.Wish.join
    var suspects: [NodeID] = []
    var isSilent = false

    init(_ seed: UInt64) { id = CodecTests.id(1000 + seed) }

    func pulse(_ cluster: MiniCluster) {
        if isSilent { return }
        for index in cluster.hosts.indices where cluster.hosts[index].state != nil {
            var pulse = VoterPulse(voter: id)
            pulse.epoch = epoch
            pulse.set = set
            pulse.echo = stamps[index] ?? "-"
            pulse.vote = votes[index] ?? 0
            pulse.suspects = suspects
            let isDone = set.contains(id) == (wish == .join)
            pulse.wish = isDone || index != 0 ? .none : wish
            cluster.command(index, .voterPulse(pulse))
            read(cluster.hosts[index].state?.voterReport, index)
        }
    }

    private func read(_ report: [(name: String, value: String)]?, _ index: Int) {
        guard let report else { return }
        var fields: [String: String] = [:]
        for (name, value) in report { fields[name] = value }
        stamps[index] = fields["stamp"]
        epoch = max(epoch, UInt64(fields["epoch"] ?? "") ?? 0)
        let version = UInt64(fields["voter-version"] ?? "") ?? 0
        if version > set.version, let text = fields["voters"],
            let newer = VoterSet(version: version, text: text)
        {
            set = newer
        }
        let words = (fields["request"] ?? "-").split(separator: " ")
        votes[index] = nil
        guard words.count > 1, let wanted = UInt64(words[1]), wanted >= epoch else { return }
        if wanted > lastVote { lastVote = wanted } else if wanted != lastVote { return }
        votes[index] = wanted
    }
}

extension MiniCluster {
    /// Runs with voters that call every 50 ms.
    fileprivate func run(
        _ voters: [ModelVoter], until limit: Int, _ condition: (MiniCluster) -> Bool
    ) -> Int? {
        var passed = 0
        while passed < limit {
            if condition(self) { return passed }
            for voter in voters { voter.pulse(self) }
            run(50)
            passed += 50
        }
        return condition(self) ? passed : nil
    }

    fileprivate func voters(_ index: Int) -> Int {
        hosts[index].state?.voterSet.members.count ?? -1
    }

    fileprivate func withVoters(_ count: Int) -> [ModelVoter] {
        let voters = (0..<count).map { ModelVoter(UInt64($0)) }
        let took = run(voters, until: 20000) { cluster in
            cluster.hosts.indices.allSatisfy {
                cluster.hosts[$0].state == nil || cluster.voters($0) == count
            }
        }
        #expect(took != nil, "all nodes must know all voters")
        return voters
    }
}

@Suite struct VoterTests {
    @Test func votersComeAndGo() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 1)
        let voters = cluster.withVoters(3)
        let info = cluster.hosts[0].state?.infoText() ?? ""
        #expect(info.contains("cluster_voters:3\r\n"))
        #expect(info.contains("cluster_electorate_size:6\r\ncluster_majority:4\r\n"))
        voters[1].wish = .leave
        #expect(cluster.run(voters, until: 8000) { $0.voters(5) == 2 } != nil)
        // One is silent for good: all primaries together need no voter, and a majority forgets it.
        voters[0].isSilent = true
        #expect(cluster.run(voters, until: 4000) { !$0.isUp(0) } == nil)
        #expect(cluster.command(1, .forgetVoter("\(voters[0].id)")) == .ok)
        #expect(cluster.run(voters, until: 8000) { $0.voters(4) == 1 } != nil)
    }

    @Test func twoOfThreePrimariesAreReplaced() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 2)
        let voters = cluster.withVoters(3)
        for voter in voters { voter.suspects = [cluster.id(0), cluster.id(1)] }
        cluster.kill(0)
        cluster.kill(1)
        let took = cluster.run(voters, until: 5000) {
            $0.server(of: 0) == 3 && $0.server(of: 8000) == 4
        }
        #expect(took != nil)
        for voter in voters { voter.suspects = [] }
        cluster.boot(0)
        cluster.boot(1)
        let back = cluster.run(voters, until: 10000) {
            $0.isReplica(0) && $0.isReplica(1) && $0.isHealthy
        }
        #expect(back != nil)
    }

    @Test func halfOfTheElectorateDecidesNothing() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 3)
        let voters = cluster.withVoters(3)
        voters[0].isSilent = true
        for voter in voters { voter.suspects = [cluster.id(0), cluster.id(1)] }
        cluster.kill(0)
        cluster.kill(1)
        #expect(cluster.run(voters, until: 6000) { $0.server(of: 0) == 3 } == nil)
        #expect(!cluster.isUp(2))
    }

    @Test func aRestartedNodeKnowsItsVoters() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 4)
        let voters = cluster.withVoters(2)
        let version = cluster.hosts[5].state?.voterSet.version
        // The voters hear of the last change with their next calls.
        let told = cluster.run(voters, until: 2000) { _ in voters[0].set.version == version }
        #expect(told != nil)
        cluster.kill(5)
        cluster.boot(5)
        #expect(cluster.hosts[5].state?.voterSet.version == version)
        #expect(cluster.voters(5) == 2)
    }

    // MARK: Bytes and lines

    @Test func theSetTravelsInAnExtension() throws {
        let set = VoterSet(version: 41, members: [CodecTests.id(8), CodecTests.id(9)])
        var header = CodecTests.header(.ping)
        header.messageFlags.formUnion([.hasExtensions, .knowsVoters])
        header.voterVersion = 41
        let message = BusMessage(header: header, body: .ping([], [.voters(set)]))
        let bytes = message.encoded()
        #expect(try BusMessage.decode(bytes, 0..<bytes.count) == message)
        // Bytes that the reference leaves zero mean nothing without our mark.
        var other = message
        other.header.messageFlags.remove(.knowsVoters)
        let decoded = try BusMessage.decode(other.encoded(), 0..<bytes.count)
        #expect(decoded.header.voterVersion == 0)
    }

    @Test func pulsesThatNoVoterWouldSend() {
        let id = "\(CodecTests.id(1))"
        let good = [id, "10.0.0.9:26379", "7", "13", id, "abc-5", "0", "-", "join"]
        #expect(VoterPulse(good) != nil)
        let bad: [(Int, String)] = [
            (0, "me"), (2, "-1"), (3, "x"), (4, "nobody"), (4, "\(id),\(id)"), (6, "x"),
            (7, "nobody"), (8, "please"), (2, "99999999999999999999"),
        ]
        for (index, word) in bad {
            var words = good
            words[index] = word
            #expect(VoterPulse(words) == nil, "\(index) \(word)")
        }
        #expect(VoterPulse(Array(good.dropLast())) == nil)
    }

    @Test func votersInNodesConf() throws {
        let id = CodecTests.id(7)
        let line = "\(CodecTests.id(1)) 127.0.0.1:1@2 myself,master - 0 0 3 connected 0-5\n"
        func parse(_ variables: String) throws -> NodesConf? {
            try NodesConf.parse(
                Array("\(line)vars currentEpoch 6 lastVoteEpoch 5\(variables)\n".utf8))
        }
        let conf = try #require(try parse(" voterPromise 4 voterVersion 9 voters \(id)"))
        #expect(conf.voters == VoterSet(version: 9, members: [id]))
        #expect(conf.voterPromise == 4)
        #expect(try parse("")?.voters == VoterSet())
        for damage in [" voterVersion 9", " voterVersion x voters -", " voterVersion 9 voters me"] {
            #expect(throws: NodesConfError.self) { try parse(damage) }
        }
    }
}
