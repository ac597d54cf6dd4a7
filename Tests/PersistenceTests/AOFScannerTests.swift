// The scanner of append-only files and what is done with their ends: cut at every byte, flipped at
// every bit, filled with zeros; in pieces of any size. Whatever happens, only commands that were
// written are given out, in order, from the front.
import Base
import Persistence
import Testing

private func encode(_ words: [String]) -> [UInt8] {
    var out = "*\(words.count)\r\n"
    for word in words { out += "$\(word.utf8.count)\r\n\(word)\r\n" }
    return Array(out.utf8)
}

/// A log with everything in it, and where each command of it ends.
private func log() -> (bytes: [UInt8], commands: [[UInt8]], ends: [Int]) {
    let commands: [[String]] = [
        ["SELECT", "0"], ["SET", "k", "v"], ["SET", "a\r\n*1\r\n", ""], ["MULTI"],
        ["INCR", "n"], ["DEL", "k", "a", "b", "c"], ["EXEC"],
        ["SET", "long", String(repeating: "x", count: 300)], ["PEXPIREAT", "long", "1700000000000"],
    ]
    var bytes = Array("#TS:1700000000\r\n".utf8)
    var ends: [Int] = []
    for (index, command) in commands.enumerated() {
        bytes += encode(command)
        ends.append(bytes.count)
        if index == 1 { bytes += Array("#TS:1700000001\r\n".utf8) }
    }
    return (bytes, commands.map(encode), ends)
}

private struct Outcome {
    var commands: [[UInt8]] = []
    var annotations = 0
    var wholeUpTo: Int64 = 0
    var isWhole = false
    var isDamaged = false
    var verdict = TailRepair.Verdict.whole
}

private func scan(
    _ bytes: [UInt8], pieces: Int = .max, allows: Bool = true, bound: Int64 = 1 << 20
) -> Outcome {
    var outcome = Outcome()
    var scanner = AOFScanner()
    var at = 0
    while at < bytes.count {
        let end = min(bytes.count, pieces == .max ? bytes.count : at + pieces)
        Array(bytes[at..<end]).withBytes { piece in
            scanner.feed(piece)
            while let item = scanner.next() {
                switch item {
                case .command(_, let bytes): outcome.commands.append(bytes.array)
                case .annotation: outcome.annotations += 1
                }
            }
        }
        at = end
    }
    outcome.wholeUpTo = scanner.wholeUpTo
    outcome.isWhole = scanner.isWhole
    outcome.isDamaged = scanner.damage != nil
    Array(bytes[Int(scanner.wholeUpTo)...]).withBytes { tail in
        outcome.verdict = TailRepair.judge(
            scanner, size: Int64(bytes.count), tail: tail, allowsTruncated: allows, bound: bound)
    }
    return outcome
}

@Suite struct AOFScannerTests {
    @Test(arguments: [1, 2, 3, 7, 64, Int.max]) func piecesOfAnySizeGiveTheSame(pieces: Int) {
        let (bytes, commands, _) = log()
        let outcome = scan(bytes, pieces: pieces)
        #expect(outcome.commands == commands)
        #expect(outcome.annotations == 2)
        #expect(outcome.isWhole && outcome.verdict == .whole)
    }

    @Test func cutAtEveryByteNothingWholeIsLost() {
        let (bytes, commands, ends) = log()
        for length in 0...bytes.count {
            let outcome = scan(Array(bytes[..<length]))
            let whole = ends.count { $0 <= length }
            #expect(outcome.commands == Array(commands[..<whole]))
            // Between MULTI and EXEC the file is whole before MULTI only.
            let isOpen = (4...6).contains(whole)
            if isOpen { #expect(outcome.wholeUpTo == ends[2]) }
            #expect(!outcome.isDamaged)
            if case .refuse = outcome.verdict { Issue.record("a short file is refused: \(length)") }
            if case .cut(let cut) = outcome.verdict {
                #expect(cut.finding == .truncated && cut.offset + cut.bytes == Int64(length))
                #expect(cut.commands >= 1 || bytes[Int(cut.offset)] == UInt8(ascii: "#"))
            }
        }
    }

    @Test func zerosBehindEveryByteAreCut() {
        let (bytes, commands, ends) = log()
        for length in 0..<bytes.count {
            let outcome = scan(Array(bytes[..<length]) + [UInt8](repeating: 0, count: 4096))
            let whole = ends.count { $0 <= length }
            #expect(outcome.commands == Array(commands[..<whole]))
            guard case .cut(let cut) = outcome.verdict else {
                Issue.record("zeros behind \(length) are not cut: \(outcome.verdict)")
                continue
            }
            #expect(cut.offset <= Int64(length))
        }
    }

    @Test func flippedBitsGiveOutNothingThatWasNotWritten() {
        let (bytes, commands, ends) = log()
        for index in 0..<bytes.count {
            let before = ends.count { $0 <= index }
            for bit in 0..<8 {
                var damaged = bytes
                damaged[index] ^= 1 &<< UInt8(bit)
                let outcome = scan(damaged)
                // A flip inside an argument is a different but well-formed command; everything
                // before the flip is as it was.
                #expect(outcome.commands.prefix(before).elementsEqual(commands[..<before]))
                if outcome.isDamaged { #expect(outcome.verdict != .whole) }
            }
        }
    }

    @Test func senseBehindDamageIsNotThrownAway() {
        let (bytes, _, _) = log()
        let outcome = scan(bytes + Array("!!!".utf8) + bytes)
        guard case .refuse(let cut, false) = outcome.verdict else {
            Issue.record("damage in the middle was cut: \(outcome.verdict)")
            return
        }
        #expect(cut.finding == .damagedInside && cut.offset == Int64(bytes.count))
        // Without anything behind it, it is torn.
        guard case .cut(let torn) = scan(bytes + Array("!!!".utf8)).verdict else {
            Issue.record("a torn end was not cut")
            return
        }
        #expect(torn.finding == .torn && torn.bytes == 3)
    }

    @Test func theBoundHolds() {
        let (bytes, _, _) = log()
        let zeros = [UInt8](repeating: 0, count: 1000)
        guard case .refuse(_, true) = scan(bytes + zeros, bound: 999).verdict else {
            Issue.record("more zeros than the bound were cut")
            return
        }
        // A damaged length swallows what follows: not one unfinished command, but many lost ones.
        var swallowed = bytes
        swallowed += Array("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$99999999\r\n".utf8)
        swallowed += bytes
        guard case .refuse(_, true) = scan(swallowed, bound: 100).verdict else {
            Issue.record("commands behind a damaged length were cut")
            return
        }
        // One large unfinished value is not bounded.
        let large = Array("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$99999999\r\n".utf8)
            + [UInt8](repeating: 120, count: 5000)
        guard case .cut = scan(bytes + large, bound: 100).verdict else {
            Issue.record("a large unfinished command was refused")
            return
        }
        guard case .refuse = scan(bytes + [42], allows: false).verdict else {
            Issue.record("aof-load-truncated no was ignored")
            return
        }
    }

    @Test(arguments: [UInt64(1), 2, 3, 4]) func anyBytesAreScanned(seed: UInt64) {
        var prng = Prng(seed: seed)
        let (bytes, _, _) = log()
        for _ in 0..<500 {
            var mixed = bytes
            for _ in 0..<prng.below(6) {
                let at = prng.below(mixed.count)
                mixed[at] = UInt8(truncatingIfNeeded: prng.next())
            }
            let whole = scan(mixed)
            let pieces = scan(mixed, pieces: 1 + prng.below(40))
            #expect(whole.commands == pieces.commands)
            #expect(whole.wholeUpTo == pieces.wholeUpTo)
        }
    }
}
