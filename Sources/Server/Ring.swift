// How threads talk: a mailbox that many may post to and one empties. The reader sleeps on an
// eventfd, so the loop waits for it like for any socket, and a worker thread simply blocks on it.
import Base
import CLinux
import Glibc
import Synchronization

package final class Mailbox<Message: Sendable>: Sendable {
    private let waiting = Mutex<[Message]>([])
    /// Becomes readable when something was posted.
    package let descriptor: Int32

    /// With `blocking`, `wait` sleeps; otherwise it returns at once (and epoll does the sleeping).
    package init(blocking: Bool) {
        let flags = Int32(EFD_CLOEXEC) | (blocking ? 0 : Int32(EFD_NONBLOCK))
        descriptor = eventfd(0, flags)
        invariant(descriptor >= 0, "no descriptor for a mailbox")
    }

    deinit { Syscalls.close(descriptor) }

    package func post(_ message: Message) {
        let isFirst = waiting.withLock { list in
            list.append(message)
            return list.count == 1
        }
        guard isFirst else { return }
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 8) { word in
            guard let base = word.baseAddress else { return }
            UnsafeMutableRawPointer(base).storeBytes(of: 1, as: UInt64.self)
            // Cannot fail: the counter is far from its end, and the reader resets it.
            _ = Syscalls.write(descriptor, Bytes(UnsafePointer(base), 8))
        }
    }

    /// Everything posted so far, in order.
    package func wait() -> [Message] {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 8) { word in
            guard let base = word.baseAddress else { return }
            _ = Syscalls.read(descriptor, base, 8)
        }
        return waiting.withLock { list in
            let taken = list
            list = []
            return taken
        }
    }
}
