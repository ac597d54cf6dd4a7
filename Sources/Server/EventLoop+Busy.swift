// While a script runs for long: a bounded turn of the loop from inside of it. Only clients are read
// and answered, and connections taken; the node's own work, its links and its signals wait until
// the script has ended, for it is in the middle of a change. What is ready stays ready meanwhile.
import Base
import CLinux
import Engine
import Glibc
import NodeCore

extension EventLoopPointer {
    private static var busyEvents: Int { 256 }

    /// Serves whoever is ready now, and does not wait.
    func serveMeanwhile() {
        let executor = pointee.executor
        let first = executor.pointee.pendingWrites.count
        withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: Self.busyEvents) { room in
            guard let events = room.baseAddress else { return }
            let count = Int(epoll_wait(pointee.epoll, events, Int32(Self.busyEvents), 0))
            for index in 0..<max(0, count) { serve(events[index]) }
        }
        var shell = ProcessShell(loop: self)
        pointee.node.whileBusy(&shell, repliesFrom: first)
    }

    private func serve(_ event: epoll_event) {
        guard let registration = pointee.registrations.find(event.data.u64) else { return }
        switch registration.pointee.kind {
        case .clientListener, .unixListener: acceptClients(registration)
        case .client:
            guard let object = registration.pointee.object else { return }
            let session = object.assumingMemoryBound(to: Session.self)
            // Whose command runs must keep its input, and who is about to be closed is left alone.
            guard session.pointee.flags.isDisjoint(with: [.running, .closeNow]) else { return }
            if event.events & EPOLLOUT.rawValue != 0 { clientHasRoom(registration) }
            let input = EPOLLIN.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue
            if event.events & input != 0 { readClient(registration) }
        default: break
        }
    }
}
