// Who owns which descriptor. Each descriptor that the loop waits on has a registration with a
// stable address; epoll's user data holds its index and its generation, so that an event for a
// descriptor that was closed (and its number reused) in the same batch is recognised and dropped.
import Base
import CLinux
import Glibc

package typealias RegistrationPointer = UnsafeMutablePointer<Registration>

package struct Registration {
    package enum Kind: UInt8 {
        case free
        case client
        case link
        case clientListener
        case unixListener
        case busListener
        case mailbox
        case signals
    }

    let index: UInt32
    /// Raised on release; the upper half of epoll's user data.
    package var generation: UInt32 = 1
    var descriptor: Int32 = -1
    package var kind: Kind = .free
    /// EPOLLOUT is asked for: a write was short, so nothing is written before the event.
    var waitsForRoom = false
    /// The next read's size; grows while reads come back full.
    var readSize: Int32 = Registration.smallRead
    /// The `Session` of a client, the `Link` of a link.
    var object: UnsafeMutableRawPointer?
    var nextFree: UInt32 = .max
    /// The millisecond in which a client was last read; see `Moderation`.
    var activeWindow: Int64 = 0

    static let smallRead: Int32 = 16 << 10
    static let largeRead: Int32 = 256 << 10

    /// epoll's user data.
    @inline(__always)
    package var token: UInt64 { (UInt64(generation) &<< 32) | UInt64(index) }

    /// Adapts the size of reads to what the last one found.
    @inline(__always)
    mutating func noteRead(_ count: Int, of room: Int) {
        if _slowPath(count == room && readSize < Self.largeRead) {
            readSize &*= 2
        } else if count < Int(Self.smallRead) {
            readSize = Self.smallRead
        }
    }
}

/// All registrations, in chunks that never move.
package struct RegistrationTable: ~Copyable {
    private static let chunkSize = 256

    private var chunks: UnsafeMutablePointer<RegistrationPointer>
    private var chunkCount = 0
    private var chunkCapacity = 64
    private var firstFree: UInt32 = .max
    /// Registrations in use.
    package private(set) var count = 0

    package init() { chunks = .allocate(capacity: chunkCapacity) }

    deinit {
        for index in 0..<chunkCount { chunks[index].deallocate() }
        chunks.deallocate()
    }

    /// Registrations that exist, free ones included.
    var capacity: Int { chunkCount * Self.chunkSize }

    @inline(__always)
    subscript(_ index: Int) -> RegistrationPointer {
        invariant(index >= 0 && index < capacity, "registration index out of range")
        return chunks[index / Self.chunkSize] + (index % Self.chunkSize)
    }

    /// The registration that an event is for, nil when it was released meanwhile.
    @inline(__always)
    package func find(_ token: UInt64) -> RegistrationPointer? {
        let found = self[Int(token & 0xFFFF_FFFF)]
        let generation = UInt32(truncatingIfNeeded: token &>> 32)
        return found.pointee.generation == generation ? found : nil
    }

    package mutating func take(
        _ descriptor: Int32, _ kind: Registration.Kind
    ) -> RegistrationPointer {
        invariant(descriptor >= 0 && kind != .free, "a registration needs a descriptor")
        if firstFree == .max { addChunk() }
        let taken = self[Int(firstFree)]
        firstFree = taken.pointee.nextFree
        taken.pointee.descriptor = descriptor
        taken.pointee.kind = kind
        taken.pointee.waitsForRoom = false
        taken.pointee.readSize = Registration.smallRead
        taken.pointee.object = nil
        count += 1
        return taken
    }

    package mutating func release(_ registration: RegistrationPointer) {
        invariant(registration.pointee.kind != .free, "a registration is released once")
        registration.pointee.kind = .free
        registration.pointee.generation &+= 1
        registration.pointee.descriptor = -1
        registration.pointee.object = nil
        registration.pointee.nextFree = firstFree
        firstFree = registration.pointee.index
        count -= 1
    }

    private mutating func addChunk() {
        if chunkCount == chunkCapacity {
            let larger = UnsafeMutablePointer<RegistrationPointer>.allocate(
                capacity: chunkCapacity * 2
            )
            larger.update(from: chunks, count: chunkCount)
            chunks.deallocate()
            chunks = larger
            chunkCapacity *= 2
        }
        let chunk = RegistrationPointer.allocate(capacity: Self.chunkSize)
        let base = capacity
        for offset in (0..<Self.chunkSize).reversed() {
            let index = UInt32(base + offset)
            (chunk + offset).initialize(to: Registration(index: index))
            chunk[offset].nextFree = firstFree
            firstFree = index
        }
        (chunks + chunkCount).initialize(to: chunk)
        chunkCount += 1
    }
}
