// The sparse encoding of registers: runs of equal ones, one or two bytes each, in order.
//
//     00xxxxxx            1 to 64 registers of rank 0
//     01xxxxxx yyyyyyyy   1 to 16384 registers of rank 0
//     1vvvvvxx            1 to 4 registers of rank 1 to 32
//
// An update splits one run into at most three and then joins equal neighbours near it, exactly as
// the reference does: replicas and tests compare the bytes.
import Base

enum SparseRegisters {
    static let highestRank: UInt8 = 32
    static let longestRun = 4
    private static let longestShortZeros = 64

    /// One run as it is written.
    struct Run {
        var count: Int
        var rank: UInt8
        /// Bytes that it takes.
        var size: Int

        /// The run at `position`, which must be before the end. What is cut off counts as zero: the
        /// reference reads the end mark of its string there, and damaged strings must agree too.
        @inline(__always)
        init(_ bytes: UnsafePointer<UInt8>, _ position: Int, end: Int) {
            let byte = bytes[position]
            if byte & 0x80 != 0 {
                self.init(count: Int(byte & 3) &+ 1, rank: ((byte &>> 2) & 31) &+ 1, size: 1)
            } else if byte & 0x40 == 0 {
                self.init(count: Int(byte & 63) &+ 1, rank: 0, size: 1)
            } else {
                let low = position &+ 1 < end ? Int(bytes[position &+ 1]) : 0
                let count = (Int(byte & 63) &<< 8) | low
                self.init(count: count &+ 1, rank: 0, size: 2)
            }
        }

        private init(count: Int, rank: UInt8, size: Int) {
            self.count = count
            self.rank = rank
            self.size = size
        }
    }

    /// At most five bytes that take the place of a run.
    struct Sequence {
        private(set) var bytes: [5 of UInt8] = .init(repeating: 0)
        private(set) var count = 0

        mutating func add(_ length: Int, rank: UInt8) {
            invariant(length > 0 && length <= HyperLogLog.registerCount, "no such run")
            if rank > 0 {
                invariant(length <= longestRun && rank <= highestRank, "the run needs splitting")
                append(0x80 | ((rank &- 1) &<< 2) | UInt8(length - 1))
            } else if length > longestShortZeros {
                append(0x40 | UInt8((length - 1) &>> 8))
                append(UInt8(truncatingIfNeeded: length - 1))
            } else {
                append(UInt8(length - 1))
            }
        }

        private mutating func append(_ byte: UInt8) {
            bytes[count] = byte
            count += 1
        }
    }

    /// Writes the registers of an empty set behind a header; returns the size of header and all.
    static func writeEmpty(_ bytes: UnsafeMutablePointer<UInt8>) -> Int {
        bytes[HyperLogLog.headerSize] = 0x7F
        bytes[HyperLogLog.headerSize + 1] = 0xFF
        return emptySize
    }

    static let emptySize = HyperLogLog.headerSize + 2

    /// Calls `body` with the start, length and rank of every run; false when the bytes are damaged
    /// or do not make up all registers. `body` never sees a register that does not exist.
    static func forEachRun(_ all: Bytes, _ body: (Int, Int, UInt8) -> Void) -> Bool {
        var position = HyperLogLog.headerSize
        var register = 0
        while position < all.count {
            let run = Run(all.base, position, end: all.count)
            guard register &+ run.count <= HyperLogLog.registerCount else { return false }
            body(register, run.count, run.rank)
            register &+= run.count
            position &+= run.size
        }
        return register == HyperLogLog.registerCount
    }

    // MARK: Raising a register

    /// What has to be done to raise a register.
    enum Edit {
        /// The register is that high already.
        case unchanged
        case damaged
        /// Bytes `position..<position + size` become `sequence`; `previous` is where the run
        /// before them starts.
        case replace(position: Int, size: Int, sequence: Sequence, previous: Int)
    }

    /// Finds the run that holds `register` and splits it.
    static func raise(_ all: Bytes, _ register: Int, _ rank: UInt8) -> Edit {
        invariant(rank > 0 && rank <= highestRank, "only the dense encoding has such ranks")
        var position = HyperLogLog.headerSize
        var previous = position
        var first = 0
        while position < all.count {
            let run = Run(all.base, position, end: all.count)
            if register < first &+ run.count {
                if run.rank >= rank { return .unchanged }
                var sequence = Sequence()
                if register > first { sequence.add(register - first, rank: run.rank) }
                sequence.add(1, rank: rank)
                let after = first + run.count - 1 - register
                if after > 0 { sequence.add(after, rank: run.rank) }
                return .replace(
                    position: position, size: run.size, sequence: sequence, previous: previous)
            }
            previous = position
            position &+= run.size
            first &+= run.count
        }
        return .damaged
    }

    /// Joins equal neighbours among the first five steps from `start`; returns the new size.
    static func joinNeighbours(
        _ bytes: UnsafeMutablePointer<UInt8>, size: Int, from start: Int
    ) -> Int {
        var position = start
        var end = size
        var steps = 5
        while position < end, steps > 0 {
            steps -= 1
            let byte = bytes[position]
            if byte & 0x80 == 0 {
                position += byte & 0x40 == 0 ? 1 : 2
                continue
            }
            let next: UInt8 = position + 1 < end ? bytes[position + 1] : 0
            let length = Int(byte & 3) + Int(next & 3) + 2
            if next & 0x80 != 0, next & 0x7C == byte & 0x7C, length <= longestRun {
                bytes[position + 1] = (byte & 0xFC) | UInt8(length - 1)
                moveBytes(
                    to: bytes + position, from: bytes + position + 1, count: end - position - 1)
                end -= 1
                continue
            }
            position += 1
        }
        invariant(end <= size && end >= HyperLogLog.headerSize, "joining only shortens")
        return end
    }

    /// Fills the zeroed dense registers behind `target` from a sparse string; false when that is
    /// damaged.
    static func expand(_ all: Bytes, into target: UnsafeMutablePointer<UInt8>) -> Bool {
        let registers = target + HyperLogLog.headerSize
        return forEachRun(all) { start, count, rank in
            guard rank > 0 else { return }
            for register in start..<(start + count) {
                HyperLogLog.setDenseRegister(registers, register, rank)
            }
        }
    }
}
