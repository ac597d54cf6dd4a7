// A HyperLogLog that is being changed, wherever its bytes are: in a string of the keyspace, or in
// the work space of the self test. It becomes dense when a rank does not fit the sparse encoding or
// when that would grow beyond `hll-sparse-max-bytes`.
import Base
import Storage

/// Bytes that can be made longer or shorter.
protocol SketchRoom {
    /// Where the bytes are; valid until they are resized.
    var bytes: UnsafeMutablePointer<UInt8> { get }
    var count: Int { get }
    mutating func resize(to count: Int)
}

/// A string of the keyspace. Nothing else may change the keyspace while this is in use.
struct StoredSketch: SketchRoom {
    private let keyspace: Keyspace
    private let key: KeyRef
    private(set) var bytes: UnsafeMutablePointer<UInt8>
    private(set) var count: Int

    /// The string of `key` with its length, or a new one of zeros.
    init(_ keyspace: Keyspace, _ key: KeyRef, count: Int) {
        self.keyspace = keyspace
        self.key = key
        self.count = count
        bytes = keyspace.resizeString(key, to: count)
    }

    mutating func resize(to newCount: Int) {
        bytes = keyspace.resizeString(key, to: newCount)
        count = newCount
    }
}

/// Work space that is large enough for the dense encoding.
struct ScratchSketch: SketchRoom {
    let bytes: UnsafeMutablePointer<UInt8>
    private(set) var count: Int

    init(_ room: UnsafeMutablePointer<UInt8>, count: Int) {
        bytes = room
        self.count = count
    }

    mutating func resize(to newCount: Int) {
        invariant(newCount <= HyperLogLog.denseSize, "the work space is too small")
        if newCount > count { clearBytes(bytes + count, count: newCount - count) }
        count = newCount
    }
}

enum SketchChange {
    case raised
    case unchanged
    case damaged
}

extension SketchRoom {
    var view: Bytes { Bytes(UnsafePointer(bytes), count) }

    /// Makes zeroed bytes an empty set, in the sparse encoding.
    mutating func makeEmpty() {
        invariant(count == SparseRegisters.emptySize, "not the size of an empty set")
        copyBytes(to: bytes, from: Bytes("HYLL").base, count: 4)
        bytes[4] = HyperLogLog.Encoding.sparse.rawValue
        _ = SparseRegisters.writeEmpty(bytes)
    }

    /// Adds an element.
    @inline(__always)
    mutating func add(_ element: Bytes, sparseLimit: Int) -> SketchChange {
        let (register, rank) = HyperLogLog.place(of: element)
        return raise(register, rank, sparseLimit: sparseLimit)
    }

    /// Raises a register to `rank`, if it is lower.
    @inline(__always)
    mutating func raise(_ register: Int, _ rank: UInt8, sparseLimit: Int) -> SketchChange {
        if bytes[4] == HyperLogLog.Encoding.dense.rawValue {
            let registers = bytes + HyperLogLog.headerSize
            return HyperLogLog.raiseDense(registers, register, rank) ? .raised : .unchanged
        }
        guard rank <= SparseRegisters.highestRank else { return raiseAsDense(register, rank) }
        switch SparseRegisters.raise(view, register, rank) {
        case .unchanged: return .unchanged
        case .damaged: return .damaged
        case .replace(let position, let size, let sequence, let previous):
            let growth = sequence.count - size
            if growth > 0, count + growth > sparseLimit { return raiseAsDense(register, rank) }
            replace(position, size, sequence)
            let joined = SparseRegisters.joinNeighbours(bytes, size: count, from: previous)
            if joined != count { resize(to: joined) }
            HyperLogLog.markStale(bytes)
            return .raised
        }
    }

    /// Puts a sequence in the place of a run, which may reach over the end when it is damaged.
    private mutating func replace(
        _ position: Int, _ size: Int, _ sequence: SparseRegisters.Sequence
    ) {
        let growth = sequence.count - size
        let tail = max(count - position - size, 0)
        invariant(growth >= -1 && position < count, "a run and what replaces it have other sizes")
        if growth > 0 { resize(to: count + growth) }
        if growth != 0, tail > 0 {
            let from = bytes + position + size
            moveBytes(to: from + growth, from: from, count: tail)
        }
        // A run of one zero may have been written in two bytes.
        if growth < 0 { resize(to: count + growth) }
        for index in 0..<min(sequence.count, count - position) {
            bytes[position + index] = sequence.bytes[index]
        }
    }

    private mutating func raiseAsDense(_ register: Int, _ rank: UInt8) -> SketchChange {
        guard makeDense() else { return .damaged }
        let registers = bytes + HyperLogLog.headerSize
        // A register that is high enough is found before the encoding changes, but for the ranks
        // that only this encoding has.
        return HyperLogLog.raiseDense(registers, register, rank) ? .raised : .unchanged
    }

    /// Changes to the dense encoding; false, and no change, when the registers are damaged.
    mutating func makeDense() -> Bool {
        guard bytes[4] != HyperLogLog.Encoding.dense.rawValue else { return true }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: HyperLogLog.denseSize) {
            guard let dense = $0.baseAddress else { return false }
            clearBytes(dense, count: HyperLogLog.denseSize)
            guard SparseRegisters.expand(view, into: dense) else { return false }
            copyBytes(to: dense, from: bytes, count: HyperLogLog.headerSize)
            dense[4] = HyperLogLog.Encoding.dense.rawValue
            resize(to: HyperLogLog.denseSize)
            copyBytes(to: bytes, from: dense, count: HyperLogLog.denseSize)
            return true
        }
    }
}
