// A pause that saves work. A server that is faster than those who load it wakes up for each client
// by itself: at a pipeline of 16 and fifty clients it found 1.4 of them per wait, where a slower
// server finds seven, and what each wake-up costs is then a seventh of its time. As network cards
// do with interrupts, the loop lets a moment go by when many clients send pipelines and hardly
// any of them was there at the last look. Clients that send one command at a time, and a client
// that is alone, never wait for it.
import Base
import CLinux
import Glibc

package struct Moderation {
    /// How long one pause is.
    private static let nanoseconds = 25_000
    /// At least so many commands per read make it a pipeline.
    private static let pipeline = 8
    /// At most one in so many of the active clients was there.
    private static let share = 8
    /// The same where each iteration writes to the append-only file as well.
    private static let shareWithLog = 4

    /// Which millisecond it is; clients that were read in it are marked with it.
    private var window: Int64 = 0
    private var activeClients = 0
    private var activeBefore = 0
    private var reads = 0
    private var wroteLog = false
    private var commandsBefore: Int64 = 0
    private var commands: Int64 = 0

    package init() {}

    /// An iteration begins; so many commands were processed in all.
    @inline(__always)
    package mutating func begin(at now: Instant, commands total: Int64) {
        reads = 0
        wroteLog = false
        commandsBefore = total
        let millisecond = now.microseconds / 1000
        guard millisecond != window else { return }
        activeBefore = millisecond == window + 1 ? activeClients : 0
        activeClients = 0
        window = millisecond
    }

    /// A client was read.
    @inline(__always)
    package mutating func noteRead(_ registration: RegistrationPointer) {
        reads &+= 1
        if registration.pointee.activeWindow != window {
            registration.pointee.activeWindow = window
            activeClients &+= 1
        }
    }

    /// The iteration wrote to the append-only file.
    @inline(__always)
    package mutating func noteLogWrite() { wroteLog = true }

    /// An iteration ends.
    @inline(__always)
    package mutating func end(commands total: Int64) { commands = total &- commandsBefore }

    /// Whether a pause before the next wait is likely to bring several clients together.
    @inline(__always)
    package var pays: Bool {
        reads > 0
            && reads &* (wroteLog ? Moderation.shareWithLog : Moderation.share)
                <= max(activeClients, activeBefore)
            && commands >= Int64(reads &* Moderation.pipeline)
    }

    @inline(never)
    func pause() {
        var time = timespec(tv_sec: 0, tv_nsec: Moderation.nanoseconds)
        nanosleep(&time, nil)
    }
}
