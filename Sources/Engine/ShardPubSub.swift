// Shard channels: channels that belong to a slot, whose messages stay among the nodes that serve
// it. When the slot goes to another shard, this node's listeners are told that they are no longer
// subscribed, as in the reference, so that they can look for the new owner.
import Base
import HashSlots
import RESP
import Storage

extension ExecutorPointer {
    /// Ends the subscriptions to the channels of these slots, and says so to the listeners.
    public func dropShardChannels(in slots: SlotSet) {
        guard !pointee.pubsub.pointee.shardChannels.isEmpty else { return }
        var names: [[UInt8]] = []
        let keyspace = pointee.keyspace
        pointee.pubsub.pointee.shardChannels.forEach { item in
            let name = item.pointee.name
            if slots.contains(Slot(hash: keyspace.slot(of: name))) { names.append(name.array) }
        }
        for name in names { name.withBytes { dropShardChannel($0) } }
    }

    private func dropShardChannel(_ name: Bytes) {
        while let item = pointee.pubsub.pointee.shardChannels.find(name) {
            let session = item.pointee.value.sessions[0]
            unsubscribe(session, .shardChannel, name)
            let messages = pointee.messages
            messages.pointee.removeAll()
            let reply = ReplyWriter(messages, version: session.pointee.protocolVersion)
            reply.push(3)
            reply.bulk("sunsubscribe")
            reply.bulk(name)
            reply.integer(session.subscriptions(.shardChannel))
            push(session, messages.pointee.bytes)
        }
    }
}

/// A message on its way to the rest of the cluster.
public struct Publication {
    public let channel: Bytes
    public let message: Bytes
    public let isSharded: Bool
}

extension ExecutorPointer {
    /// Delivers here and hands the message to the cluster, if this is one; returns the receivers
    /// on this node.
    public func publishEverywhere(_ channel: Bytes, _ message: Bytes, sharded: Bool) -> Int {
        let receivers = publish(channel, message, sharded: sharded)
        if let hook = pointee.publishToCluster {
            let publication = Publication(
                channel: channel, message: message, isSharded: sharded)
            withUnsafePointer(to: publication) { hook(self, $0) }
        }
        return receivers
    }
}
