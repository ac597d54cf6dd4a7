// Who waits for which key: a queue of sessions per key in the order in which they came, the keys
// that became ready, and the deadlines. Plain data without a session's or command's knowledge, so
// that it can be tested alone; `Blocking.swift` blocks and serves. Nearly always empty, and then
// one byte is all that a change of a key looks at. Nothing depends on a dictionary's order.
import Base
import Storage

/// A key that somebody waits for. Keys with the same `id` are told apart by their bytes.
struct BlockedKey: Equatable {
    let id: Int
    let database: Int32
    let bytes: [UInt8]

    init(_ key: KeyRef) {
        id = BlockedKey.id(key)
        database = Int32(key.database)
        bytes = key.bytes.array
    }

    /// A hash that does not die with the keyspace, as the key's own does when a replica takes over
    /// its primary's data.
    static func id(_ key: KeyRef) -> Int {
        var hasher = Hasher()
        hasher.combine(key.database)
        hasher.combine(bytes: UnsafeRawBufferPointer(start: key.bytes.base, count: key.bytes.count))
        return hasher.finalize()
    }

    func matches(_ key: KeyRef) -> Bool {
        database == Int32(key.database) && bytes.withBytes { $0 == key.bytes }
    }
}

struct BlockingTable {
    /// A place in a queue; tickets rise, so that a queue is sorted by them.
    private struct Waiter {
        let ticket: UInt64
        /// nil once the session has left.
        var session: UnsafeMutablePointer<Session>?
        let wakesWhenGone: Bool
    }

    private struct Queue {
        let key: BlockedKey
        var waiters: [Waiter] = []
        var live = 0
        /// Waiters that also want to know when the key is gone or changes its type.
        var wakingWhenGone = 0
        var isReady = false

        /// The index of the first waiter whose ticket is at least `ticket`.
        func index(from ticket: UInt64) -> Int {
            var low = 0
            var high = waiters.count
            while low < high {
                let middle = (low + high) / 2
                if waiters[middle].ticket < ticket { low = middle + 1 } else { high = middle }
            }
            return low
        }

        var firstTicket: UInt64 { waiters.first { $0.session != nil }?.ticket ?? .max }
    }

    private var queues: [Int: [Queue]] = [:]
    private var ready: [BlockedKey] = []
    private var readyTaken = 0
    private var lastTicket: UInt64 = 0
    private var deadlines = DeadlineHeap()
    /// Sessions that wait, by ticket.
    private var sessions: [UInt64: UnsafeMutablePointer<Session>] = [:]

    /// True while anybody waits: what each change of a key asks.
    private(set) var isWaiting = false
    /// True while a key is ready and nobody has looked at it: what follows each command.
    private(set) var hasReady = false
    /// Distinct keys that somebody waits for, and those where somebody waits for the end too.
    private(set) var keyCount = 0
    private(set) var keysWakingWhenGone = 0

    var count: Int { sessions.count }

    // MARK: Coming and going

    /// The number of a new place in line; the session joins its queues under it.
    mutating func newTicket(
        _ session: UnsafeMutablePointer<Session>, deadline: Instant?
    ) -> UInt64 {
        lastTicket += 1
        sessions[lastTicket] = session
        isWaiting = true
        if let deadline { deadlines.insert(deadline, lastTicket) }
        return lastTicket
    }

    /// The next ticket that will be given out.
    var nextTicket: UInt64 { lastTicket + 1 }

    /// Puts a session at the end of a key's queue; false if it is there already.
    mutating func join(
        _ key: BlockedKey, _ session: UnsafeMutablePointer<Session>, ticket: UInt64,
        wakesWhenGone: Bool
    ) -> Bool {
        invariant(sessions[ticket] == session, "a place in line without a ticket")
        let waiter = Waiter(ticket: ticket, session: session, wakesWhenGone: wakesWhenGone)
        let index = queues[key.id]?.firstIndex { $0.key == key }
        guard let index else {
            queues[key.id, default: []].append(Queue(key: key))
            keyCount += 1
            return join(key, session, ticket: ticket, wakesWhenGone: wakesWhenGone)
        }
        // A command may name a key twice.
        if queues[key.id]?[index].waiters.last?.ticket == ticket { return false }
        queues[key.id]?[index].waiters.append(waiter)
        queues[key.id]?[index].live += 1
        if wakesWhenGone {
            if queues[key.id]?[index].wakingWhenGone == 0 { keysWakingWhenGone += 1 }
            queues[key.id]?[index].wakingWhenGone += 1
        }
        return true
    }

    /// Gives a ticket back; the session leaves all queues that it joined under it.
    mutating func leave(_ ticket: UInt64, _ keys: [BlockedKey]) {
        guard sessions.removeValue(forKey: ticket) != nil else { return }
        for key in keys { leave(key, ticket) }
        isWaiting = !sessions.isEmpty
        deadlines.drop(live: sessions)
        invariant(isWaiting || keyCount == 0, "a queue without a session that waits")
    }

    private mutating func leave(_ key: BlockedKey, _ ticket: UInt64) {
        guard let index = queues[key.id]?.firstIndex(where: { $0.key == key }),
            let place = queues[key.id]?[index].index(from: ticket),
            let waiter = queues[key.id]?[index].waiters[place]
        else { unreachable("a session waits in a queue that is gone") }
        invariant(waiter.ticket == ticket && waiter.session != nil, "a waiter left twice")
        queues[key.id]?[index].waiters[place].session = nil
        queues[key.id]?[index].live -= 1
        if waiter.wakesWhenGone {
            queues[key.id]?[index].wakingWhenGone -= 1
            if queues[key.id]?[index].wakingWhenGone == 0 { keysWakingWhenGone -= 1 }
        }
        guard let queue = queues[key.id]?[index] else { return }
        if queue.live == 0 {
            queues[key.id]?.remove(at: index)
            if queues[key.id]?.isEmpty == true { queues[key.id] = nil }
            keyCount -= 1
        } else if queue.waiters.count > 2 * queue.live + 8 {
            queues[key.id]?[index].waiters.removeAll { $0.session == nil }
        }
    }

    // MARK: Ready keys

    /// Notes that a key changed, if anybody waits for it.
    mutating func changed(_ key: KeyRef) {
        let id = BlockedKey.id(key)
        guard let index = queues[id]?.firstIndex(where: { $0.key.matches(key) }) else { return }
        markReady(id, index)
    }

    /// Whether anybody waits for the key.
    func isAwaited(_ key: KeyRef) -> Bool {
        queues[BlockedKey.id(key)]?.contains { $0.key.matches(key) } ?? false
    }

    /// Notes that any key of a database may have changed (of any database, if negative): the
    /// longest waiting are served first.
    mutating func changedAll(database: Int) {
        var touched: [(ticket: UInt64, key: BlockedKey, index: Int)] = []
        for list in queues.values {
            for (index, queue) in list.enumerated()
            where database < 0 || queue.key.database == Int32(database) {
                touched.append((queue.firstTicket, queue.key, index))
            }
        }
        touched.sort {
            $0.ticket != $1.ticket
                ? $0.ticket < $1.ticket : $0.key.bytes.lexicographicallyPrecedes($1.key.bytes)
        }
        for queue in touched { markReady(queue.key.id, queue.index) }
    }

    private mutating func markReady(_ id: Int, _ index: Int) {
        guard let queue = queues[id]?[index], !queue.isReady else { return }
        queues[id]?[index].isReady = true
        ready.append(queue.key)
        hasReady = true
    }

    /// The key that has been ready for the longest time; it may be marked again from now on.
    mutating func takeReady() -> BlockedKey? {
        guard readyTaken < ready.count else { return nil }
        let key = ready[readyTaken]
        readyTaken += 1
        if readyTaken == ready.count {
            ready.removeAll(keepingCapacity: true)
            readyTaken = 0
            hasReady = false
        }
        if let index = queues[key.id]?.firstIndex(where: { $0.key == key }) {
            queues[key.id]?[index].isReady = false
        }
        return key
    }

    /// The first session that waits for `key` with at least this ticket.
    func waiter(
        for key: BlockedKey, from ticket: UInt64
    ) -> (ticket: UInt64, session: UnsafeMutablePointer<Session>)? {
        guard let queue = queues[key.id]?.first(where: { $0.key == key }) else { return nil }
        var index = queue.index(from: ticket)
        while index < queue.waiters.count {
            if let session = queue.waiters[index].session {
                return (queue.waiters[index].ticket, session)
            }
            index += 1
        }
        return nil
    }

    /// Whether anybody who waits for `key` wants to be woken without it.
    func wakesWhenGone(_ key: BlockedKey) -> Bool {
        queues[key.id]?.first { $0.key == key }.map { $0.wakingWhenGone > 0 } ?? false
    }

    // MARK: Deadlines

    /// The earliest deadline of those who wait. May be of one that has left: a needless look.
    var nextDeadline: Instant? { deadlines.first }

    /// How many wait with a deadline.
    func countWithDeadline(_ hasDeadline: (UnsafeMutablePointer<Session>) -> Bool) -> Int {
        sessions.values.count(where: hasDeadline)
    }

    /// A session whose time is over; nil when there is none (any more).
    mutating func takeExpired(_ now: Instant) -> UnsafeMutablePointer<Session>? {
        while let ticket = deadlines.take(before: now) {
            if let session = sessions[ticket] { return session }
        }
        return nil
    }
}

/// Deadlines by time. What is no longer needed stays until it is due or outweighs the rest.
struct DeadlineHeap {
    private struct Item {
        let deadline: Instant
        let ticket: UInt64

        static func < (a: Item, b: Item) -> Bool {
            (a.deadline.microseconds, a.ticket) < (b.deadline.microseconds, b.ticket)
        }
    }
    private var items: [Item] = []

    var first: Instant? { items.first?.deadline }

    mutating func insert(_ deadline: Instant, _ ticket: UInt64) {
        items.append(Item(deadline: deadline, ticket: ticket))
        var child = items.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard items[child] < items[parent] else { break }
            items.swapAt(child, parent)
            child = parent
        }
    }

    /// Removes the earliest deadline if it is due.
    mutating func take(before now: Instant) -> UInt64? {
        guard let first = items.first, !(now < first.deadline) else { return nil }
        let last = items.removeLast()
        if !items.isEmpty {
            items[0] = last
            sink(0)
        }
        return first.ticket
    }

    private mutating func sink(_ start: Int) {
        var parent = start
        while true {
            var smallest = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < items.count && items[child] < items[smallest] { smallest = child }
            if smallest == parent { return }
            items.swapAt(parent, smallest)
            parent = smallest
        }
    }

    /// Forgets deadlines of tickets that are not in `live` once they are the majority.
    mutating func drop<Value>(live: [UInt64: Value]) {
        guard items.count > 2 * live.count + 16 else { return }
        items.removeAll { live[$0.ticket] == nil }
        for index in stride(from: items.count / 2 - 1, through: 0, by: -1) { sink(index) }
    }
}
