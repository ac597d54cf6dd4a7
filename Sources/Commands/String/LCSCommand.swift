// LCS: the longest common subsequence of two strings, its length, or where its runs lie in both.
// The table of all prefixes costs four bytes for each pair of positions, so that its size is held
// to the limit of a bulk string, as in the reference.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerLCSCommand() {
        command(
            "lcs", since: "7.0.0", arity: -3, [.readonly], acl: [.string],
            keys: [.range(1, [.RO, .access], last: 2)],
            syntax: """
            key1:key key2:key@0 [LEN] [IDX] [MINMATCHLEN len:integer] [WITHMATCHLEN]
            """,
            summary: "Find longest common substring",
            complexity: "O(N*M) where N and M are the lengths of s1 and s2, respectively"
        ) { lcs(Call($0)) }
    }
}

private struct LCSOptions {
    var wantsLength = false
    var wantsRuns = false
    var withLengths = false
    var shortestRun: Int64 = 0

    static func orReply(_ call: Call) -> LCSOptions? {
        var options = LCSOptions()
        var index = 3
        while index < call.count {
            let word = call[index]
            if word.matches("idx") {
                options.wantsRuns = true
            } else if word.matches("len") {
                options.wantsLength = true
            } else if word.matches("withmatchlen") {
                options.withLengths = true
            } else if word.matches("minmatchlen"), index + 1 < call.count {
                guard let least = call.integerOrReply(index + 1) else { return nil }
                options.shortestRun = max(least, 0)
                index += 1
            } else {
                call.reply.error(.syntax)
                return nil
            }
            index += 1
        }
        guard !(options.wantsLength && options.wantsRuns) else {
            call.reply.error(
                "ERR If you want both the length and indexes, please just use IDX.")
            return nil
        }
        return options
    }
}

private func lcs(_ call: Call) {
    let first = call.lookupRead(call.key(1))
    let second = call.lookupRead(call.keyspace.key(call[2], database: call.database))
    guard first?.isString ?? true, second?.isString ?? true else {
        call.reply.error("ERR The specified keys must contain string values")
        return
    }
    guard let options = LCSOptions.orReply(call) else { return }
    withBytes(ofPresent: first) { a in
        withBytes(ofPresent: second) { b in
            answer(call, a, b, options)
        }
    }
}

private func withBytes(ofPresent entry: Entry?, _ body: (Bytes) -> Void) {
    guard let entry else {
        body(.empty)
        return
    }
    withBytes(of: entry, body)
}

private func answer(_ call: Call, _ a: Bytes, _ b: Bytes, _ options: LCSOptions) {
    guard a.count < UInt32.max - 1, b.count < UInt32.max - 1 else {
        call.reply.error("ERR String too long for LCS")
        return
    }
    let cells = (a.count + 1).multipliedReportingOverflow(by: b.count + 1)
    let size = cells.partialValue.multipliedReportingOverflow(by: 4)
    guard !cells.overflow, !size.overflow,
        size.partialValue <= call.executor.pointee.settings.maxBulkLength
    else {
        call.reply.error(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
        return
    }
    guard let memory = TransientMemory.allocate(size.partialValue) else {
        call.reply.error(
            "ERR Insufficient memory, failed allocating transient memory for LCS")
        return
    }
    defer { TransientMemory.free(memory) }
    let table = LCSTable(
        a, b, memory.bindMemory(to: UInt32.self, capacity: cells.partialValue))
    if options.wantsLength {
        call.reply.integer(table.length)
    } else if options.wantsRuns {
        replyRuns(call, table, options)
    } else {
        replyText(call, table)
    }
}

/// The lengths of the longest common subsequences of all pairs of prefixes.
private struct LCSTable {
    let a: Bytes
    let b: Bytes
    private let cells: UnsafeMutablePointer<UInt32>

    init(_ a: Bytes, _ b: Bytes, _ cells: UnsafeMutablePointer<UInt32>) {
        self.a = a
        self.b = b
        self.cells = cells
        let width = b.count + 1
        cells.initialize(repeating: 0, count: width)
        var row = cells
        for i in 0..<a.count {
            let next = row + width
            next[0] = 0
            for j in 0..<b.count {
                next[j + 1] =
                    a.base[i] == b.base[j] ? row[j] + 1 : max(row[j + 1], next[j])
            }
            row = next
        }
    }

    /// For the first `i` bytes of `a` and the first `j` of `b`.
    @inline(__always)
    func at(_ i: Int, _ j: Int) -> UInt32 { cells[j &+ i &* (b.count &+ 1)] }

    var length: Int { Int(at(a.count, b.count)) }

    /// Visits the matching positions from the end to the start; nil stands for a step without a
    /// match.
    func walk(_ visit: ((Int, Int)?) -> Void) {
        var i = a.count
        var j = b.count
        while i > 0, j > 0 {
            if a.base[i - 1] == b.base[j - 1] {
                i -= 1
                j -= 1
                visit((i, j))
            } else {
                if at(i - 1, j) > at(i, j - 1) { i -= 1 } else { j -= 1 }
                visit(nil)
            }
        }
    }
}

private func replyText(_ call: Call, _ table: LCSTable) {
    var text: [UInt8] = []
    text.reserveCapacity(table.length)
    table.walk { match in
        if let (i, _) = match { text.append(table.a.base[i]) }
    }
    invariant(text.count == table.length, "the walk found another length")
    text.reverse()
    call.reply.bulk(text)
}

/// Positions that follow each other in both strings.
private struct LCSRun {
    var a: Int
    var b: Int
    var count: Int
}

/// The runs from the end to the start.
private func replyRuns(_ call: Call, _ table: LCSTable, _ options: LCSOptions) {
    var runs: [LCSRun] = []
    var current: LCSRun?
    table.walk { match in
        guard let (i, j) = match else {
            if let run = current { runs.append(run) }
            current = nil
            return
        }
        if let run = current, run.a == i + 1, run.b == j + 1 {
            current = LCSRun(a: i, b: j, count: run.count + 1)
        } else {
            if let run = current { runs.append(run) }
            current = LCSRun(a: i, b: j, count: 1)
        }
    }
    if let run = current { runs.append(run) }
    runs.removeAll { $0.count < options.shortestRun }
    let reply = call.reply
    reply.map(2)
    reply.bulk("matches")
    reply.array(runs.count)
    for run in runs {
        reply.array(options.withLengths ? 3 : 2)
        reply.array(2)
        reply.integer(run.a)
        reply.integer(run.a + run.count - 1)
        reply.array(2)
        reply.integer(run.b)
        reply.integer(run.b + run.count - 1)
        if options.withLengths { reply.integer(run.count) }
    }
    reply.bulk("len")
    reply.integer(table.length)
}
