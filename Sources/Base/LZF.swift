// LZF: the small, fast compression of strings in RDB files and DUMP payloads (the stream format of
// liblzf). A control byte below 32 announces that many literals plus one; any other is a reference
// back into what was already written: three bits of length, thirteen of distance, and one more byte
// of length when the three bits are all set.
//
// The hash table is sized by the input and cleared for each one, so that equal inputs always give
// equal outputs (a simulation must repeat) and a short string does not pay for a large table.
import Glibc

private let longestLiteralRun = 32
private let farthestReference = 1 << 13
private let longestReference = (1 << 8) + (1 << 3)

public struct LZFCompressor: ~Copyable {
    private static let largestTableLog = 14

    private var table: UnsafeMutablePointer<UInt32>?

    @inline(__always)
    public init() {}

    deinit { table?.deallocate() }

    /// Compresses `input` to `out`; the length of the result, or 0 when it exceeds `room`.
    public mutating func compress(
        _ input: Bytes, to out: UnsafeMutablePointer<UInt8>, room: Int
    ) -> Int {
        guard input.count >= 4, input.count < Int(UInt32.max), room > 0 else { return 0 }
        let base = input.base
        let width = Int.bitWidth - (input.count - 1).leadingZeroBitCount
        let log = min(max(width, 8), Self.largestTableLog)
        let slots = clearedTable(log)
        var sink = LZFSink(out, room)
        var position = 0
        var literals = 0
        var misses = 0
        let last = input.count - 2
        while position < last {
            let slot = hash(base + position, log)
            let candidate = Int(slots[slot]) - 1
            slots[slot] = UInt32(truncatingIfNeeded: position + 1)
            let distance = position - candidate - 1
            guard candidate >= 0, distance < farthestReference,
                sameThree(base + candidate, base + position)
            else {
                // The longer nothing repeats, the larger the steps: incompressible data is cheap.
                position += 1 + (misses &>> 6)
                misses += 1
                continue
            }
            let longest = min(input.count - position, longestReference)
            let length = commonLength(base + candidate, base + position, atMost: longest)
            guard sink.literals(base + literals, position - literals),
                sink.reference(distance: distance, length: length)
            else { return 0 }
            position += length
            literals = position
            misses = 0
            if position < last {
                slots[hash(base + position - 1, log)] = UInt32(truncatingIfNeeded: position)
            }
        }
        guard sink.literals(base + literals, input.count - literals) else { return 0 }
        invariant(sink.written <= room, "compressed past the room")
        return sink.written
    }

    private mutating func clearedTable(_ log: Int) -> UnsafeMutablePointer<UInt32> {
        let slots =
            table ?? UnsafeMutablePointer<UInt32>.allocate(capacity: 1 &<< Self.largestTableLog)
        table = slots
        memset(slots, 0, (1 &<< log) * MemoryLayout<UInt32>.stride)
        return slots
    }

    @inline(__always)
    private func hash(_ at: UnsafePointer<UInt8>, _ log: Int) -> Int {
        let three = UInt32(at[0]) | (UInt32(at[1]) &<< 8) | (UInt32(at[2]) &<< 16)
        return Int((three &* 0x9E37_79B1) &>> UInt32(32 &- log))
    }

    /// How many bytes both places have in common, eight at a time; the first three are known to be.
    @inline(__always)
    private func commonLength(
        _ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>, atMost longest: Int
    ) -> Int {
        let left = UnsafeRawPointer(a)
        let right = UnsafeRawPointer(b)
        var length = 3
        while length &+ 8 <= longest {
            let difference =
                UInt64(littleEndian: left.loadUnaligned(fromByteOffset: length, as: UInt64.self))
                ^ UInt64(littleEndian: right.loadUnaligned(fromByteOffset: length, as: UInt64.self))
            if difference != 0 { return length &+ (difference.trailingZeroBitCount &>> 3) }
            length &+= 8
        }
        while length < longest, a[length] == b[length] { length &+= 1 }
        return length
    }

    @inline(__always)
    private func sameThree(_ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>) -> Bool {
        a[0] == b[0] && a[1] == b[1] && a[2] == b[2]
    }
}

/// Where compressed bytes go, with the room that is left.
private struct LZFSink {
    let out: UnsafeMutablePointer<UInt8>
    let room: Int
    var written = 0

    init(_ out: UnsafeMutablePointer<UInt8>, _ room: Int) {
        self.out = out
        self.room = room
    }

    /// Writes `count` literals in runs; false when the room ends.
    @inline(__always)
    mutating func literals(_ from: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        var done = 0
        while done < count {
            let run = min(count - done, longestLiteralRun)
            guard room - written >= run + 1 else { return false }
            out[written] = UInt8(truncatingIfNeeded: run - 1)
            memcpy(out + written + 1, from + done, run)
            written += run + 1
            done += run
        }
        return true
    }

    /// Writes one reference; `distance` is 0 for the byte before. False when the room ends.
    @inline(__always)
    mutating func reference(distance: Int, length: Int) -> Bool {
        guard room - written >= 3 else { return false }
        let code = length - 2
        let high = distance &>> 8
        if code < 7 {
            out[written] = UInt8(truncatingIfNeeded: (code &<< 5) | high)
            written += 1
        } else {
            out[written] = UInt8(truncatingIfNeeded: (7 &<< 5) | high)
            out[written + 1] = UInt8(truncatingIfNeeded: code - 7)
            written += 2
        }
        out[written] = UInt8(truncatingIfNeeded: distance)
        written += 1
        return true
    }
}

/// The largest size that `count` compressed bytes can stand for: a length that claims more is a
/// lie, known before any memory is taken for it.
public func lzfLargestOutput(ofCompressed count: Int) -> Int {
    count &* (longestReference / 3) &+ longestReference
}

/// Decompresses `input` to exactly `count` bytes at `out`; false when the input is damaged. Never
/// reads outside `input` nor writes outside the `count` bytes.
public func lzfDecompress(
    _ input: Bytes, to out: UnsafeMutablePointer<UInt8>, count: Int
) -> Bool {
    invariant(count >= 0, "a negative size of output")
    let base = input.base
    var read = 0
    var written = 0
    while read < input.count {
        let control = Int(base[read])
        read += 1
        if control < longestLiteralRun {
            let run = control + 1
            guard count - written >= run, input.count - read >= run else { return false }
            memcpy(out + written, base + read, run)
            read += run
            written += run
            continue
        }
        var length = control &>> 5
        if length == 7 {
            guard read < input.count else { return false }
            length += Int(base[read])
            read += 1
        }
        length += 2
        guard read < input.count else { return false }
        let from = written - ((control & 0x1F) &<< 8) - Int(base[read]) - 1
        read += 1
        guard from >= 0, count - written >= length else { return false }
        repeatBytes(out + written, from: out + from, distance: written - from, count: length)
        written += length
    }
    return written == count
}

/// Copies a reference, which may reach into its own result: what it names then repeats. Each round
/// copies all whole periods that are there already, so the pieces double.
@inline(__always)
private func repeatBytes(
    _ to: UnsafeMutablePointer<UInt8>, from: UnsafeMutablePointer<UInt8>, distance: Int, count: Int
) {
    invariant(distance > 0, "a reference looks back")
    if distance == 1 {
        memset(to, Int32(from[0]), count)
        return
    }
    var done = 0
    while done < count {
        let piece = min(distance &+ done, count &- done)
        memcpy(to + done, from, piece)
        done &+= piece
    }
}
