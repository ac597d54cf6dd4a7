// CLUSTER VOTER, ours: how sentinels that are voters of the cluster talk to its nodes (PULSE), and
// what an administrator can do about voters that are gone (FORGET, RESET).
import Base
import Engine
import Gossip
import RESP

extension Registry {
    mutating func registerVoterCommand() {
        command(
            "voter", of: "cluster", since: "7.2.0", arity: -3, [.noAsyncLoading, .admin, .stale],
            syntax: "<subcommand: FORGET voter-id|RESET|PULSE argument...>",
            summary: "Forget a voter, reset the set of voters, or (sentinels) take part in votes",
            complexity: "O(N) where N is the number of nodes",
            tips: "nondeterministic_output"
        ) { voter(Call($0)) }
    }
}

private func voter(_ call: Call) {
    guard let node = clusterNodeOrReply(call) else { return }
    if call[2].matches("pulse"), call.count == 12 { return pulse(call, node) }
    if call[2].matches("forget"), call.count == 4 {
        let reply = node.runCluster(.forgetVoter(call[3].string), for: call.session)
        return write(call, reply)
    }
    if call[2].matches("reset"), call.count == 3 {
        return write(call, node.runCluster(.resetVoters, for: call.session))
    }
    call.reply.error(.syntax)
}

private func write(_ call: Call, _ reply: CommandReply) {
    switch reply {
    case .ok: call.reply.ok()
    case .status(let text): call.reply.simple(text)
    case .error(let text): call.reply.error(text)
    }
}

private func pulse(_ call: Call, _ node: NodePointer) {
    let words = (3..<call.count).map { call[$0].string }
    guard let pulse = VoterPulse(words) else {
        return call.reply.error("ERR Invalid voter pulse")
    }
    _ = node.runCluster(.voterPulse(pulse), for: call.session)
    guard let report = node.pointee.cluster?.voterReport else {
        return call.reply.error("TRYAGAIN The cluster configuration is being saved")
    }
    call.reply.array(report.count * 2)
    for (name, value) in report {
        call.reply.bulk(name)
        call.reply.bulk(value)
    }
}
