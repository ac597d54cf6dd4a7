// Config epochs: the version of a primary's claim to its slots. An election brings a new one by
// agreement; importing a slot and TAKEOVER take one without, and should two primaries end up with
// the same, the one with the smaller ID moves on. Whatever changes this node's epoch is on disk
// before anyone hears of it.
import Base
import HashSlots

extension ClusterState {
    var maxEpoch: UInt64 {
        nodes.handles.reduce(currentEpoch) { max($0, nodes[$1].configEpoch) }
    }

    /// Takes a new epoch without asking, unless this node has the greatest one already.
    mutating func bumpEpoch() -> Bool {
        guard me.configEpoch == 0 || me.configEpoch != maxEpoch else { return false }
        takeNextEpoch()
        log(.notice, .epochBumped(me.configEpoch))
        return true
    }

    private mutating func takeNextEpoch() {
        currentEpoch = maxEpoch + 1
        me.configEpoch = currentEpoch
        todo.insert([.save, .sync, .barrier])
    }

    mutating func resolveCollision(with sender: NodeHandle, _ header: BusHeader) {
        guard me.isPrimary, nodes[sender].isPrimary, header.configEpoch == me.configEpoch,
            nodes[sender].configEpoch == me.configEpoch
        else { return }
        // The one with the greater ID stays, so all collisions end.
        guard me.id < nodes[sender].id else { return }
        takeNextEpoch()
        log(.verbose, .epochCollision(with: nodes[sender].id, me.configEpoch))
    }
}
