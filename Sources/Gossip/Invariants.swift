// What must hold between any two steps. The tests and the simulator ask after each one.
import Base
import HashSlots

extension ClusterState {
    public func checkInvariants() {
        checkMembership()
        checkSlots()
        checkLinks()
        invariant(lastVoteEpoch <= currentEpoch, "no vote in an epoch that has not begun")
        invariant(voterPromise <= currentEpoch, "no promise in an epoch that has not begun")
        invariant(voters.members == voters.members.sorted(), "voters are in order")
        invariant(currentEpoch == maxEpoch, "the current epoch is the greatest known")
        invariant(syncedVersion <= version, "only what was saved can be durable")
        invariant(barrierVersion <= version, "only what was saved can be waited for")
        if election.isRunning {
            invariant(me.isReplica, "only a replica runs for primary")
            invariant(election.epoch <= currentEpoch, "an election has an epoch that began")
        }
        if emptyStart.isWaiting { invariant(!isUp, "a primary without its data serves nobody") }
    }

    private func checkMembership() {
        invariant(me.flags.contains(.myself), "the first node is this node")
        invariant(me.isPrimary != me.isReplica, "this node has one role")
        for handle in nodes.handles {
            let record = nodes[handle]
            invariant((handle == NodeTable.myself) == record.flags.contains(.myself), "one myself")
            if let primary = record.primary {
                invariant(nodes.contains(primary), "a primary must be in the table")
                invariant(nodes[primary].replicas.contains(handle), "it knows its replica")
            }
            for replica in record.replicas {
                invariant(nodes.contains(replica), "a replica must be in the table")
                invariant(nodes[replica].primary == handle, "it knows its primary")
            }
            invariant(!(record.isFailed && record.isSuspect), "FAIL replaces PFAIL")
        }
    }

    private func checkSlots() {
        let runs = ownership.runs
        for run in runs { invariant(nodes.contains(run.owner), "an owner must be in the table") }
        for handle in nodes.handles {
            let owned = runs.filter { $0.owner == handle }.map(\.slots)
            invariant(nodes[handle].slots.ranges == owned, "node and table agree on its slots")
        }
        if me.isReplica { invariant(me.slots.isEmpty, "a replica owns no slot") }
        for (_, node) in ownership.migrating { invariant(nodes.contains(node), "target exists") }
        for (_, node) in ownership.importing { invariant(nodes.contains(node), "source exists") }
    }

    private func checkLinks() {
        for (link, state) in links {
            guard let node = state.node else {
                invariant(!link.isOutgoing, "an outgoing link has a node")
                continue
            }
            invariant(nodes.contains(node), "a link's node must be in the table")
            let expected = link.isOutgoing ? nodes[node].link : nodes[node].inbound
            invariant(expected == link, "node and link know each other")
        }
        for handle in nodes.handles {
            if let link = nodes[handle].link { invariant(links.contains(link), "its link exists") }
            if let link = nodes[handle].inbound {
                invariant(links.contains(link), "its accepted link exists")
            }
        }
    }
}
