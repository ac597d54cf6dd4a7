// maxmemory-clients: when all clients together hold more than that, the largest lose their
// connection, until the rest fit. Those within a factor of two of the largest count as equally
// large, as in the reference. What clients are close to be closed for anyway does not count.
import Base
import Commands
import Engine

/// Closes the largest clients until all fit; called before each command and at the end of an
/// iteration, while there is a limit.
func evictClientsOverLimit(_ executor: ExecutorPointer) {
    guard let limit = executor.clientMemoryLimit, executor.pointee.evictableMemory > limit,
        let host = executor.pointee.host
    else { return }
    let node = host.assumingMemoryBound(to: Node.self)
    // The sum is of the last look at each: those that were sent messages since may hold more.
    executor.noteAllMemory()
    while executor.pointee.evictableMemory > limit {
        let largest = largestEvictable(executor)
        invariant(largest > 0, "a sum above the limit has a part")
        for index in 0..<executor.pointee.sessions.count {
            let session = executor.pointee.sessions[index]
            guard session.pointee.evictableMemory > largest / 2 else { continue }
            node.evict(session)
            if executor.pointee.evictableMemory <= limit { return }
        }
    }
}

private func largestEvictable(_ executor: ExecutorPointer) -> Int {
    var largest = 0
    for index in 0..<executor.pointee.sessions.count {
        largest = max(largest, executor.pointee.sessions[index].pointee.evictableMemory)
    }
    return largest
}

extension NodePointer {
    fileprivate func evict(_ session: UnsafeMutablePointer<Session>) {
        log(.notice, "Evicting client: \(executor.clientLine(session))")
        executor.pointee.stats.evictedClients += 1
        executor.close(session)
        executor.noteMemory(session)
    }

    /// What one client was written or sent may be too much for all of them.
    @inline(never)
    func noteClientMemory(_ session: UnsafeMutablePointer<Session>) {
        guard !session.pointee.flags.contains(.closeNow) else { return }
        executor.noteMemory(session)
    }

    /// A client keeps an unfinished request, and the room for the rest of it.
    public func clientKeepsInput(_ session: UnsafeMutablePointer<Session>) {
        if watchesClientMemory { noteClientMemory(session) }
    }

    /// True while the sums of clients' memory are kept.
    @inline(__always)
    var watchesClientMemory: Bool {
        !executor.pointee.alerts.isDisjoint(with: [.memoryLimited, .clientsLimited])
    }
}
