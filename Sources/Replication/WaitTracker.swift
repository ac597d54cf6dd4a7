// Clients blocked in WAIT: each wants a number of replicas to have acknowledged an offset, until a
// deadline. The caller reports acknowledgements and time; the tracker says who may go, and with
// which answer. Clients leave in the order in which they came, as their replies would in the
// reference; those that time out leave in the order of their deadlines.
import Base

public struct WaitTracker: Sendable {
    public struct Waiter: Sendable, Equatable {
        public var session: UInt64
        /// The client's last write.
        public var offset: Int64
        public var replicas: Int
        /// Nil waits for ever.
        public var deadline: Instant?

        public init(session: UInt64, offset: Int64, replicas: Int, deadline: Instant?) {
            self.session = session
            self.offset = offset
            self.replicas = replicas
            self.deadline = deadline
        }
    }

    /// A client to answer: how many replicas acknowledged its offset.
    public struct Released: Sendable, Equatable {
        public var session: UInt64
        public var replicas: Int

        public init(session: UInt64, replicas: Int) {
            self.session = session
            self.replicas = replicas
        }
    }

    /// In order of arrival.
    private var waiters: [Waiter] = []
    /// The earliest deadline of all waiters.
    public private(set) var nextDeadline: Instant?

    public init() {}

    public var isEmpty: Bool { waiters.isEmpty }
    public var count: Int { waiters.count }

    /// A client blocks. Append `REPLCONF GETACK *` to the stream once before the loop sleeps,
    /// however many clients came to wait.
    public mutating func add(_ waiter: Waiter) {
        invariant(!waiters.contains { $0.session == waiter.session }, "a client waits twice")
        waiters.append(waiter)
        updateDeadline()
    }

    /// A client went away or was unblocked by other means; whether it was waiting.
    public mutating func remove(session: UInt64) -> Bool {
        guard let index = waiters.firstIndex(where: { $0.session == session }) else { return false }
        waiters.remove(at: index)
        updateDeadline()
        return true
    }

    /// Releases the clients whose replicas have acknowledged. `acknowledged` counts the replicas
    /// that have reached an offset.
    public mutating func acknowledgementsChanged(_ acknowledged: (Int64) -> Int) -> [Released] {
        release { waiter in
            let count = acknowledged(waiter.offset)
            return count >= waiter.replicas ? count : nil
        }
    }

    /// Releases the clients whose time is up, with what was reached.
    public mutating func expire(at now: Instant, _ acknowledged: (Int64) -> Int) -> [Released] {
        guard let next = nextDeadline, next <= now else { return [] }
        let due = waiters.filter { ($0.deadline ?? next) <= now && $0.deadline != nil }
        let order = due.enumerated().sorted {
            ($0.element.deadline ?? now, $0.offset) < ($1.element.deadline ?? now, $1.offset)
        }
        _ = release { waiter in waiter.deadline.map { $0 <= now } == true ? 0 : nil }
        return order.map {
            Released(session: $0.element.session, replicas: acknowledged($0.element.offset))
        }
    }

    /// Releases everyone: the node became a replica, or the data was replaced.
    public mutating func removeAll() -> [UInt64] {
        let sessions = waiters.map(\.session)
        waiters.removeAll()
        updateDeadline()
        return sessions
    }

    private mutating func release(_ answer: (Waiter) -> Int?) -> [Released] {
        var released: [Released] = []
        var left: [Waiter] = []
        for waiter in waiters {
            if let replicas = answer(waiter) {
                released.append(Released(session: waiter.session, replicas: replicas))
            } else {
                left.append(waiter)
            }
        }
        invariant(released.count + left.count == waiters.count, "lost a waiter")
        waiters = left
        updateDeadline()
        return released
    }

    private mutating func updateDeadline() {
        nextDeadline = waiters.compactMap(\.deadline).min()
    }
}
