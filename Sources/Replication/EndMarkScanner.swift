// Finds the end of a snapshot of unknown length: a mark of 40 bytes, announced before, wherever it
// lies in the chunks of the link. The reference looks only at the last 40 bytes of each read and so
// depends on the primary pausing there; searching the whole chunk (Horspool: one probe in forty
// bytes) depends on nothing. Bytes that may be the start of the mark are held back.
import Base

struct EndMarkScanner: Sendable, Equatable {
    static let length = 40

    private let mark: [UInt8]
    /// How far the window may move when its last byte is this one.
    private let shifts: [UInt8]
    /// The undecided end of what was seen: fewer bytes than the mark has.
    private var held: [UInt8] = []

    /// What a chunk brought.
    struct Finding: Equatable {
        /// Snapshot bytes from earlier chunks.
        var earlier: [UInt8] = []
        /// Snapshot bytes of this chunk.
        var range: Range<Int> = 0..<0
        /// The first byte after the mark, when it was found.
        var endsBefore: Int?
    }

    init(mark: [UInt8]) {
        invariant(mark.count == Self.length, "an end mark has 40 bytes")
        self.mark = mark
        var shifts = [UInt8](repeating: UInt8(Self.length), count: 256)
        for index in 0..<(Self.length - 1) {
            shifts[Int(mark[index])] = UInt8(Self.length - 1 - index)
        }
        self.shifts = shifts
    }

    /// Looks through `chunk` from `start` on.
    mutating func scan(_ chunk: Span<UInt8>, from start: Int) -> Finding {
        invariant(start >= 0 && start <= chunk.count, "a start outside the chunk")
        let size = chunk.count - start
        if let found = markStartInHeld(chunk, start) {
            let earlier = Array(held.prefix(found))
            let end = start + found + Self.length - held.count
            held.removeAll()
            return Finding(earlier: earlier, range: start..<start, endsBefore: end)
        }
        if let found = markStart(in: chunk, start) {
            let earlier = held
            held.removeAll()
            return Finding(
                earlier: earlier, range: start..<found, endsBefore: found + Self.length)
        }
        let keep = Self.length - 1
        if size >= keep {
            let finding = Finding(earlier: held, range: start..<(chunk.count - keep))
            held = copy(chunk, (chunk.count - keep)..<chunk.count)
            return finding
        }
        let all = held + copy(chunk, start..<chunk.count)
        let release = max(0, all.count - keep)
        held = Array(all.suffix(all.count - release))
        return Finding(earlier: Array(all.prefix(release)), range: start..<start)
    }

    /// Where in `held` the mark starts, if it ends in the chunk.
    private func markStartInHeld(_ chunk: Span<UInt8>, _ start: Int) -> Int? {
        guard !held.isEmpty else { return nil }
        let seam = held + copy(chunk, start..<min(chunk.count, start + Self.length - 1))
        guard seam.count >= Self.length else { return nil }
        let last = min(held.count - 1, seam.count - Self.length)
        return (0...last).first { seam[$0..<($0 + Self.length)].elementsEqual(mark) }
    }

    private func markStart(in chunk: Span<UInt8>, _ start: Int) -> Int? {
        let mark = mark.span
        let shifts = shifts.span
        var window = start
        while window <= chunk.count - Self.length {
            let last = chunk[window + Self.length - 1]
            if last == mark[Self.length - 1] {
                var index = 0
                while index < Self.length - 1, chunk[window + index] == mark[index] { index += 1 }
                if index == Self.length - 1 { return window }
            }
            window += Int(shifts[Int(last)])
        }
        return nil
    }
}

/// A copy of the bytes in `range`.
func copy(_ bytes: Span<UInt8>, _ range: Range<Int>) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(range.count)
    for index in range { out.append(bytes[index]) }
    return out
}
