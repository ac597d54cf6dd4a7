// Consumer groups: how far a group has read, which entries are pending and with whom. An entry that
// is pending has one record that the lists of the group and of its consumer both point to.
import Base

struct GroupState {
    var header = NamedRecord.Header(nameLength: 0, nameOffset: 0)
    var lastID: StreamID
    var entriesRead: Int64
    var pending = IDTree()
    var consumers = NameList()
}

struct ConsumerState {
    var header = NamedRecord.Header(nameLength: 0, nameOffset: 0)
    var seenTime: Int64
    var activeTime: Int64
    var pending = IDTree()
}

struct PendingState {
    var deliveryTime: Int64
    var deliveryCount: UInt64
    var consumer: UnsafeMutableRawPointer?
}

/// An entry that was delivered and not acknowledged.
public struct PendingEntry {
    let base: UnsafeMutableRawPointer

    init(_ base: UnsafeMutableRawPointer) { self.base = base }

    init(word: UInt64) {
        guard let pointer = UnsafeMutableRawPointer(bitPattern: UInt(word)) else {
            unreachable("a pending entry without an address")
        }
        base = pointer
    }

    var word: UInt64 { UInt64(UInt(bitPattern: base)) }
    private var state: UnsafeMutablePointer<PendingState> {
        base.assumingMemoryBound(to: PendingState.self)
    }

    static func make(_ time: Int64, _ count: UInt64, _ memory: Memory) -> PendingEntry {
        let block = memory.allocate(MemoryLayout<PendingState>.size)
        block.bindMemory(to: PendingState.self, capacity: 1)
            .initialize(to: PendingState(deliveryTime: time, deliveryCount: count))
        return PendingEntry(block)
    }

    func free(_ memory: Memory) { memory.free(base, MemoryLayout<PendingState>.size) }

    /// When it was delivered last, in milliseconds since 1970.
    public var deliveryTime: Int64 {
        get { state.pointee.deliveryTime }
        nonmutating set { state.pointee.deliveryTime = newValue }
    }
    public var deliveryCount: UInt64 {
        get { state.pointee.deliveryCount }
        nonmutating set { state.pointee.deliveryCount = newValue }
    }
    /// Who has it; nil only while a claim or a load is under way.
    public internal(set) var consumer: StreamConsumer? {
        get { state.pointee.consumer.map { StreamConsumer($0) } }
        nonmutating set { state.pointee.consumer = newValue?.base }
    }
}

extension IDCursor {
    /// What a list of pending entries has here.
    public var pending: PendingEntry { PendingEntry(word: word) }
}

public struct StreamConsumer: Equatable {
    let base: UnsafeMutableRawPointer

    init(_ base: UnsafeMutableRawPointer) { self.base = base }

    var state: UnsafeMutablePointer<ConsumerState> {
        base.assumingMemoryBound(to: ConsumerState.self)
    }

    public var name: Bytes { NamedRecord.name(base) }
    /// When it last tried to get entries.
    public var seenTime: Int64 {
        get { state.pointee.seenTime }
        nonmutating set { state.pointee.seenTime = newValue }
    }
    /// When it last got one; -1 for never.
    public var activeTime: Int64 {
        get { state.pointee.activeTime }
        nonmutating set { state.pointee.activeTime = newValue }
    }
    public var pending: IDTree { state.pointee.pending }
}

public struct StreamGroup: Equatable {
    let base: UnsafeMutableRawPointer
    /// `entriesRead` when it is not known.
    public static let unknown: Int64 = -1

    init(_ base: UnsafeMutableRawPointer) { self.base = base }

    var state: UnsafeMutablePointer<GroupState> { base.assumingMemoryBound(to: GroupState.self) }

    public var name: Bytes { NamedRecord.name(base) }
    /// The last entry that was delivered to anybody.
    public var lastID: StreamID {
        get { state.pointee.lastID }
        nonmutating set { state.pointee.lastID = newValue }
    }
    /// Entries that the group has read, as far as it is known.
    public var entriesRead: Int64 {
        get { state.pointee.entriesRead }
        nonmutating set { state.pointee.entriesRead = newValue }
    }
    public var pending: IDTree { state.pointee.pending }

    // MARK: Consumers

    public var consumerCount: Int { state.pointee.consumers.count }
    public func consumer(at index: Int) -> StreamConsumer {
        StreamConsumer(state.pointee.consumers[index])
    }
    public func consumer(_ name: Bytes) -> StreamConsumer? {
        state.pointee.consumers.find(name).map { StreamConsumer($0) }
    }

    /// A new consumer, whose name must be new to the group.
    public func addConsumer(_ name: Bytes, now: Int64, _ memory: Memory) -> StreamConsumer {
        let state = ConsumerState(seenTime: now, activeTime: -1)
        let consumer = StreamConsumer(NamedRecord.make(name, state, memory))
        self.state.pointee.consumers.insert(consumer.base, memory)
        return consumer
    }

    /// Removes a consumer and everything that is pending with it.
    public func removeConsumer(_ consumer: StreamConsumer, _ memory: Memory) {
        var cursor = consumer.pending.first
        while let current = cursor {
            state.pointee.pending.remove(current.id, memory)
            current.pending.free(memory)
            cursor = current.next
        }
        state.pointee.consumers.remove(consumer.base)
        free(consumer, memory)
    }

    /// Frees the block and the list of a consumer, not the entries in the list.
    private func free(_ consumer: StreamConsumer, _ memory: Memory) {
        consumer.state.pointee.pending.release(memory)
        memory.free(consumer.base, NamedRecord.size(consumer.base))
    }

    // MARK: Pending entries

    public func pendingEntry(_ id: StreamID) -> PendingEntry? {
        state.pointee.pending.find(id)?.pending
    }

    /// A new pending entry; nil when the ID is pending already. `assign` gives it to somebody.
    public func addPending(
        _ id: StreamID, time: Int64, count: UInt64, _ memory: Memory
    ) -> PendingEntry? {
        let entry = PendingEntry.make(time, count, memory)
        if state.pointee.pending.insert(id, entry.word, memory) { return entry }
        entry.free(memory)
        return nil
    }

    /// Gives a pending entry to a consumer, from whoever has it; false when the list of the
    /// consumer has another one of that ID, which only damaged data brings about.
    @discardableResult
    public func assign(
        _ entry: PendingEntry, _ id: StreamID, to consumer: StreamConsumer, _ memory: Memory
    ) -> Bool {
        if let old = entry.consumer {
            if old == consumer { return true }
            old.state.pointee.pending.remove(id, memory)
        }
        entry.consumer = consumer
        return consumer.state.pointee.pending.insert(id, entry.word, memory)
    }

    /// Forgets that an entry is pending; false when it was not.
    @discardableResult
    public func removePending(_ id: StreamID, _ memory: Memory) -> Bool {
        guard let word = state.pointee.pending.remove(id, memory) else { return false }
        let entry = PendingEntry(word: word)
        entry.consumer?.state.pointee.pending.remove(id, memory)
        entry.free(memory)
        return true
    }

    /// Frees up to `effort` pending entries, then all the rest; the entries left.
    func release(_ memory: Memory, effort: Int) -> Bool {
        var left = effort
        while left > 0, let first = state.pointee.pending.first {
            removePending(first.id, memory)
            left -= 1
        }
        guard state.pointee.pending.isEmpty else { return false }
        for index in 0..<consumerCount { free(consumer(at: index), memory) }
        state.pointee.consumers.release(memory)
        state.pointee.pending.release(memory)
        memory.free(base, NamedRecord.size(base))
        return true
    }
}

extension Stream {
    public var groupCount: Int { state.pointee.groups.count }
    public func group(at index: Int) -> StreamGroup { StreamGroup(state.pointee.groups[index]) }
    public func group(_ name: Bytes) -> StreamGroup? {
        state.pointee.groups.find(name).map { StreamGroup($0) }
    }

    /// A new group; nil when the name is taken.
    public func addGroup(
        _ name: Bytes, lastID: StreamID, entriesRead: Int64, _ memory: Memory
    ) -> StreamGroup? {
        guard group(name) == nil else { return nil }
        let state = GroupState(lastID: lastID, entriesRead: entriesRead)
        let group = StreamGroup(NamedRecord.make(name, state, memory))
        self.state.pointee.groups.insert(group.base, memory)
        return group
    }

    public func removeGroup(_ group: StreamGroup, _ memory: Memory) {
        state.pointee.groups.remove(group.base)
        let isGone = group.release(memory, effort: .max)
        invariant(isGone, "a group is freed in pieces")
    }
}
