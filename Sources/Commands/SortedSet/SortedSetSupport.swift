// What the commands of sorted sets share: finding the set of a key, reading scores and ranges from
// arguments, writing members and scores into replies, and putting a result in place of a key.
import Base
import Engine
import RESP
import Storage

extension ReplyWriter {
    /// The header of `count` members: with scores a flat array in RESP2, pairs in RESP3.
    @inline(__always)
    func members(_ count: Int, withScores: Bool) {
        array(withScores && version == 2 ? count &* 2 : count)
    }

    /// One of those members.
    @inline(__always)
    func member(_ value: PackedValue, _ score: Double, withScores: Bool) {
        if withScores, version > 2 { array(2) }
        bulk(value)
        if withScores { double(score) }
    }
}

extension Call {
    // MARK: The set of a key

    /// The sorted set of a key, for reading; `missing` answers when there is no key.
    @inline(__always)
    func sortedSet(
        _ key: KeyRef, orReply missing: (ReplyWriter) -> Void
    ) -> SortedSet? {
        guard let entry = lookupRead(key) else {
            missing(reply)
            return nil
        }
        guard typeOrReply(entry, .sortedSet) != nil else { return nil }
        return SortedSet(entry)
    }

    /// The entry of a sorted set that is about to change; `missing` answers when there is no key.
    @inline(__always)
    func sortedSetEntry(
        _ key: KeyRef, orReply missing: (ReplyWriter) -> Void
    ) -> Entry? {
        guard let entry = lookupWrite(key) else {
            missing(reply)
            return nil
        }
        guard typeOrReply(entry, .sortedSet) != nil else { return nil }
        keyspace.willChange(entry, key)
        return entry
    }

    /// Puts a changed set back into its entry.
    @inline(__always)
    func put(_ set: SortedSet, in entry: Entry) {
        entry.setPayload(set.payload, encoding: set.encoding)
    }

    /// After `count` members were removed: puts the set back, tells of the change, and removes the
    /// key when nothing is left.
    func finishRemoval(
        of count: Int, _ event: StaticString, _ set: SortedSet, in entry: Entry, _ key: KeyRef
    ) {
        invariant(count >= 0, "fewer than no members were removed")
        put(set, in: entry)
        guard count > 0 else { return }
        executor.pointee.dirty &+= Int64(count)
        signal(.sortedSet, event, key)
        if set.count == 0 { removeEmptied(key) }
    }

    /// Puts a result in the place of whatever the key holds, or removes the key when the result is
    /// empty, and answers with the number of members.
    func storeResult(_ result: SortedSet, at key: KeyRef, _ event: StaticString) {
        let count = result.count
        reply.integer(count)
        if count > 0 {
            willOverwrite(key)
            _ = keyspace.replaceObject(
                key, .sortedSet, result.encoding, result.payload, expiry: .clear)
            changed(.sortedSet, event, key)
            return
        }
        result.free(heap)
        let isLazy = executor.pointee.settings.lazyServerDelete
        if isLazy ? keyspace.unlink(key) : keyspace.remove(key) {
            changed(.generic, "del", key)
        }
    }

    // MARK: Arguments

    /// The score at `index`, or nil after an error reply.
    @inline(__always)
    func scoreOrReply(_ index: Int, _ error: ErrorReply = .notFloat) -> Double? {
        if let score = self[index].score { return score }
        reply.error(error)
        return nil
    }

    /// The scores between the arguments `min` and `max`, or nil after an error reply.
    func scoreRangeOrReply(_ min: Int, _ max: Int) -> ScoreRange? {
        guard let low = scoreBound(self[min]), let high = scoreBound(self[max]) else {
            reply.error("ERR min or max is not a float")
            return nil
        }
        return ScoreRange(
            min: low.score, max: high.score, excludesMin: low.isExcluded,
            excludesMax: high.isExcluded)
    }

    private func scoreBound(_ text: Bytes) -> (score: Double, isExcluded: Bool)? {
        let isExcluded = text.count > 0 && text[0] == UInt8(ascii: "(")
        let number = isExcluded ? text[1..<text.count] : text
        return number.lenientDouble.map { ($0, isExcluded) }
    }

    /// The names between the arguments `min` and `max`, or nil after an error reply.
    func nameRangeOrReply(_ min: Int, _ max: Int) -> NameRange? {
        guard let low = nameBound(self[min]), let high = nameBound(self[max]) else {
            reply.error("ERR min or max not valid string range item")
            return nil
        }
        return NameRange(min: low, max: high)
    }

    private func nameBound(_ text: Bytes) -> NameBound? {
        guard text.count > 0 else { return nil }
        switch text[0] {
        case UInt8(ascii: "-"): return text.count == 1 ? .lowest : nil
        case UInt8(ascii: "+"): return text.count == 1 ? .highest : nil
        case UInt8(ascii: "["): return .including(text[1..<text.count])
        case UInt8(ascii: "("): return .excluding(text[1..<text.count])
        default: return nil
        }
    }
}
