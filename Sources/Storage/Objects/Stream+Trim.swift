// XTRIM, and the trimming of XADD: entries leave from the front until few enough are left or all
// are recent enough. Approximate trimming takes whole nodes only, and perhaps not all that it
// could.
import Base

public enum StreamTrim {
    /// Keep so many entries.
    case length(Int)
    /// Keep what is not below this ID.
    case minimum(StreamID)
}

extension Stream {
    /// Trims; returns how many entries went. `limit` bounds that, unless it is 0.
    public func trim(
        _ rule: StreamTrim, isApproximate: Bool, limit: Int, _ memory: Memory
    ) -> Int {
        var removed = 0
        while let cursor = state.pointee.nodes.first {
            if case .length(let kept) = rule, length <= kept { break }
            var node = StreamNode(word: cursor.word)
            let live = Int(node.live)
            if limit > 0, removed + live > limit { break }
            if goesWhole(node, live, cursor.id, rule) {
                removeNode(cursor.id, memory)
                state.pointee.length -= live
                removed += live
                continue
            }
            if isApproximate { break }
            willChange(cursor, memory)
            removed += trim(&node, cursor.id, rule, memory)
            cursor.setWord(node.word)
            // What kept the node may have been deleted before.
            if node.live == 0 { removeNode(cursor.id, memory) }
            break
        }
        invariant(length >= 0, "a stream of negative length")
        if length == 0 {
            firstID = .zero
        } else if removed > 0 {
            refreshFirstID()
        }
        return removed
    }

    private func goesWhole(
        _ node: StreamNode, _ live: Int, _ master: StreamID, _ rule: StreamTrim
    ) -> Bool {
        switch rule {
        case .length(let kept): return length - live >= kept
        case .minimum(let id): return (node.lastID(master: master) ?? .zero) < id
        }
    }

    /// Flags entries at the front of a node as deleted.
    private func trim(
        _ node: inout StreamNode, _ master: StreamID, _ rule: StreamTrim, _ memory: Memory
    ) -> Int {
        let masterCount = node.master.count
        var position = node.firstEntry
        var removed = 0
        while !node.isEnd(position) {
            switch rule {
            case .length(let kept): if length <= kept { return finish(&node, removed, memory) }
            case .minimum(let id):
                if node.id(at: position, master: master) >= id {
                    return finish(&node, removed, memory)
                }
            }
            if node.integer(position) & StreamNode.isDeleted == 0 {
                node.markDeleted(position, memory)
                removed += 1
                state.pointee.length -= 1
            }
            position = node.entry(after: position, masterCount: masterCount)
        }
        return finish(&node, removed, memory)
    }

    private func finish(_ node: inout StreamNode, _ removed: Int, _ memory: Memory) -> Int {
        let count = Int64(removed)
        node.setCounts(live: node.live - count, deleted: node.deleted + count, memory)
        return removed
    }
}
