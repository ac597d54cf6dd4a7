// What the keyspace must be able to do with any stream: free it little by little, copy it, say how
// large it is, mix it into a digest. And building one from a file, node by node.
import Base

extension Stream {
    /// Frees about `effort` nodes or pending entries; true when all is gone.
    public func release(_ memory: Memory, effort: Int) -> Bool {
        invariant(state.pointee.walk == nil, "a stream is freed while a snapshot reads it")
        var left = effort
        while left > 0, let first = state.pointee.nodes.first {
            removeNode(first.id, memory)
            left -= 1
        }
        while left > 0, groupCount > 0 {
            let group = self.group(at: groupCount - 1)
            state.pointee.groups.remove(group.base)
            guard group.release(memory, effort: left) else {
                state.pointee.groups.insert(group.base, memory)
                return false
            }
            left -= 1
        }
        guard state.pointee.nodes.isEmpty, groupCount == 0 else { return false }
        state.pointee.groups.release(memory)
        memory.free(base, MemoryLayout<StreamState>.size)
        return true
    }

    /// What freeing must visit.
    public var freeEffort: Int {
        var effort = nodeCount
        for index in 0..<groupCount { effort += 1 + group(at: index).pending.count }
        return effort
    }

    /// Bytes of everything, estimated from up to `samples` nodes (0: all).
    public func memoryUsage(samples: Int) -> Int {
        var total = MemoryLayout<StreamState>.size + state.pointee.nodes.bytes
        var seen = 0
        var bytes = 0
        var cursor = state.pointee.nodes.first
        while let current = cursor, samples == 0 || seen < samples {
            bytes += StreamNode(word: current.word).blockBytes
            seen += 1
            cursor = current.next
        }
        if seen > 0 { total += bytes / seen * nodeCount }
        total += state.pointee.groups.bytes
        for index in 0..<groupCount {
            let group = self.group(at: index)
            total += NamedRecord.size(group.base) + group.pending.bytes
            total += group.pending.count * MemoryLayout<PendingState>.size
            total += group.state.pointee.consumers.bytes
            for index in 0..<group.consumerCount {
                let consumer = group.consumer(at: index)
                total += NamedRecord.size(consumer.base) + consumer.pending.bytes
            }
        }
        return total
    }

    /// A deep copy.
    public func copy(_ memory: Memory) -> Stream {
        let copy = copyWithoutNodes(memory)
        forEachNode { master, bytes in
            let isNew = copy.state.pointee.nodes.insert(
                master, StreamNode.copy(bytes, memory).word, memory)
            invariant(isNew, "two nodes with one master ID")
        }
        return copy
    }

    /// A copy of what a stream is besides its entries.
    func copyWithoutNodes(_ memory: Memory) -> Stream {
        let copy = Stream.make(memory)
        copy.state.pointee.length = length
        copy.lastID = lastID
        copy.firstID = firstID
        copy.maxDeletedID = maxDeletedID
        copy.entriesAdded = entriesAdded
        for index in 0..<groupCount { copy.addCopy(of: group(at: index), memory) }
        return copy
    }

    private func addCopy(of original: StreamGroup, _ memory: Memory) {
        guard
            let group = addGroup(
                original.name, lastID: original.lastID, entriesRead: original.entriesRead, memory)
        else { unreachable("two groups with one name") }
        for index in 0..<original.consumerCount {
            let from = original.consumer(at: index)
            let to = group.addConsumer(from.name, now: from.seenTime, memory)
            to.activeTime = from.activeTime
        }
        var cursor = original.pending.first
        while let current = cursor {
            let from = current.pending
            let entry = group.addPending(
                current.id, time: from.deliveryTime, count: from.deliveryCount, memory)
            guard let entry, let name = from.consumer?.name, let owner = group.consumer(name)
            else { unreachable("a pending entry without a consumer") }
            group.assign(entry, current.id, to: owner, memory)
            cursor = current.next
        }
    }

    /// Mixes IDs, fields and values into a digest.
    public func mix(into mixer: DigestMixer) {
        var iterator = StreamIterator(self)
        while let id = iterator.next() {
            id.withText(separator: UInt8(ascii: ".")) { mixer.mix($0) }
            iterator.forEachField { field, value in
                withText(of: field) { mixer.mix($0) }
                withText(of: value) { mixer.mix($0) }
            }
        }
    }

    // MARK: Files

    /// Calls `body` with the master ID and the listpack of each node.
    public func forEachNode(_ body: (StreamID, Bytes) -> Void) {
        var cursor = state.pointee.nodes.first
        while let current = cursor {
            body(current.id, StreamNode(word: current.word).bytes)
            cursor = current.next
        }
    }

    /// Adds a node from outside behind all others; false when it is damaged or out of order.
    public func appendNode(_ master: StreamID, _ bytes: Bytes, _ memory: Memory) -> Bool {
        guard let facts = StreamNode.validate(bytes, master: master) else { return false }
        if nodeCount > 0 {
            guard facts.firstID > lastID, let last = state.pointee.nodes.last,
                master > last.id
            else { return false }
        }
        lastID = facts.lastID
        // The reference leaves nodes of deleted entries behind when it trims.
        guard facts.live > 0 else { return true }
        let node = StreamNode.copy(bytes, memory)
        let isNew = state.pointee.nodes.insert(master, node.word, memory)
        invariant(isNew, "two nodes with one master ID")
        state.pointee.length += facts.live
        return true
    }

    /// Stops the process when the parts contradict each other (tests).
    public func checkInvariants() {
        state.pointee.nodes.checkInvariants()
        var live = 0
        forEachNode { master, bytes in
            guard let facts = StreamNode.validate(bytes, master: master) else {
                unreachable("a node of a stream is damaged")
            }
            live += facts.live
            invariant(facts.lastID <= lastID, "an entry behind the last")
        }
        invariant(live == length, "a stream miscounts its entries")
        invariant(firstID == edgeID(withDeleted: false) ?? .zero, "another entry is first")
        for index in 0..<groupCount {
            let group = self.group(at: index)
            group.pending.checkInvariants()
            var pending = 0
            for index in 0..<group.consumerCount {
                let consumer = group.consumer(at: index)
                consumer.pending.checkInvariants()
                pending += consumer.pending.count
            }
            invariant(pending == group.pending.count, "an entry is pending with nobody")
        }
    }
}
