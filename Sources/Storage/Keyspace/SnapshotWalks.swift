// Large values inside a snapshot. A value of many elements is not handed to the sink in one go: the
// snapshot opens a walk over it, at the turn of its key or when a command is about to change it,
// and serialises it piece by piece, one value at a time, the others waiting in a queue. Opening
// costs the same whatever the size. From then on the value itself keeps what the snapshot still
// needs: an element that is changed or removed before its turn leaves its old form behind (an
// entry of a table, a chunk of a list, a node of a stream). A value that loses its key while it is
// walked is adopted, and freed when the walk has ended. See decision 0007.
import Base

/// Serialises the next elements of a walked value: context, number of its database when the
/// snapshot began, `Entry.base` of a copy of its entry as it was, the walk that its type opened,
/// about how many elements. True when the value is complete.
public typealias SnapshotPieceSink =
    @convention(c) (
        UnsafeMutableRawPointer?, Int, UnsafeMutableRawPointer, UnsafeMutableRawPointer, Int
    ) -> Bool

/// A value that is being serialised in pieces, or waits for it.
struct OpenWalk {
    var next: UnsafeMutablePointer<OpenWalk>?
    /// The entry as it was: key, expiry, access clock. Its payload is the value.
    let entry: Entry
    let label: Int
    /// What the type made for the walk.
    let walk: UnsafeMutableRawPointer
    /// The value has no key any more and goes with the walk.
    var isAdopted = false

    static var size: Int { MemoryLayout<OpenWalk>.size }
}

/// The open walks of a snapshot, first come, first served.
struct OpenWalks {
    var first: UnsafeMutablePointer<OpenWalk>?
    var last: UnsafeMutablePointer<OpenWalk>?
    var count = 0
    /// Values with fewer elements are handed to the sink whole.
    var threshold = OpenWalks.usualThreshold
    var sink: SnapshotPieceSink?

    static let usualThreshold = 512
}

extension Keyspace {
    /// Values that are being serialised in pieces, or wait for it.
    public var openWalks: Int { state.pointee.snapshot.walks.count }

    /// From how many elements on a value is serialised in pieces (tests: small values too).
    public func setWalkThreshold(_ elements: Int) {
        state.pointee.snapshot.walks.threshold = max(1, elements)
    }

    /// Opens a walk over the value of an entry; false when it is to be handed over whole.
    func openWalk(_ entry: Entry, _ label: Int) -> Bool {
        guard state.pointee.snapshot.walks.sink != nil, !entry.isString,
            let open = state.pointee.types[Int(entry.type.rawValue)].openWalk,
            let walk = open(
                entry.payload, entry.encoding.rawValue, raw,
                state.pointee.snapshot.walks.threshold)
        else { return false }
        let size = entry.allocationSize
        let copy = Entry(memory.allocate(size))
        copyBytes(to: copy.base, from: entry.base, count: size)
        let block = memory.allocate(OpenWalk.size).bindMemory(to: OpenWalk.self, capacity: 1)
        block.initialize(to: OpenWalk(next: nil, entry: copy, label: label, walk: walk))
        if let last = state.pointee.snapshot.walks.last {
            last.pointee.next = block
        } else {
            state.pointee.snapshot.walks.first = block
        }
        state.pointee.snapshot.walks.last = block
        state.pointee.snapshot.walks.count += 1
        return true
    }

    /// Serialises about `effort` elements of the first open walk, and closes it at its end.
    func advanceWalk(_ open: UnsafeMutablePointer<OpenWalk>, effort: Int) {
        guard let sink = state.pointee.snapshot.walks.sink else {
            unreachable("a walk without a sink")
        }
        let context = state.pointee.snapshot.context
        let entry = open.pointee.entry.base
        if sink(context, open.pointee.label, entry, open.pointee.walk, effort) {
            closeFirstWalk()
        }
    }

    /// Ends all walks, complete or not.
    func closeWalks() {
        while state.pointee.snapshot.walks.first != nil { closeFirstWalk() }
        state.pointee.snapshot.walks.sink = nil
    }

    private func closeFirstWalk() {
        guard let open = state.pointee.snapshot.walks.first else { unreachable("no open walk") }
        state.pointee.snapshot.walks.first = open.pointee.next
        if open.pointee.next == nil { state.pointee.snapshot.walks.last = nil }
        state.pointee.snapshot.walks.count -= 1
        let entry = open.pointee.entry
        guard let close = state.pointee.types[Int(entry.type.rawValue)].closeWalk else {
            unreachable("a type opens walks and cannot close them")
        }
        close(open.pointee.walk, raw)
        if open.pointee.isAdopted { releaseLater(DetachedValue(entry)) }
        memory.free(entry.base, entry.allocationSize)
        memory.free(open, OpenWalk.size)
    }

    /// Keeps a value that is about to be freed while a walk still reads it.
    func adopt(_ value: DetachedValue) -> Bool {
        guard value.ownsMemory, value.type != .string else { return false }
        var open = state.pointee.snapshot.walks.first
        while let current = open {
            if current.pointee.entry.payloadWord == value.word {
                invariant(!current.pointee.isAdopted, "a value is freed twice")
                current.pointee.isAdopted = true
                return true
            }
            open = current.pointee.next
        }
        return false
    }
}
