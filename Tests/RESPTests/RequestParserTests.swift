// The request parser against every split of its input, the reference's error texts, and noise.
import Base
import RESP
import Testing

/// All commands in `bytes` as text, and how the parser stopped. `step` feeds the input in pieces
/// of that size, each time parsing again from the unfinished command as a session does.
private func parse(
    _ bytes: [UInt8], step: Int = .max, limits: ParseLimits = ParseLimits()
) -> (commands: [[String]], failure: ProtocolError?) {
    var commands: [[String]] = []
    var arguments = ArgumentList()
    var held: [UInt8] = []
    var fed = 0
    var needed = 1
    while fed < bytes.count {
        let piece = min(step, bytes.count - fed)
        held += bytes[fed..<(fed + piece)]
        fed += piece
        guard held.count >= needed else { continue }
        var consumed = 0
        var failure: ProtocolError?
        held.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            var parser = RequestParser(base, buffer.count)
            while true {
                arguments.truncate(to: 0)
                let result = parser.next(into: &arguments, limits: limits)
                needed = result == .incomplete ? parser.needed : 1
                if result == .empty { continue }
                guard result == .command else { break }
                commands.append((0..<arguments.count).map { arguments.base[$0].string })
            }
            consumed = parser.position
            failure = parser.failure
        }
        held.removeFirst(consumed)
        if failure != nil { return (commands, failure) }
    }
    return (commands, nil)
}

private func parse(_ text: String, step: Int = .max) -> [[String]] {
    parse(Array(text.utf8), step: step).commands
}

@Suite struct RequestParserTests {
    @Test func multibulk() {
        #expect(parse("*2\r\n$3\r\nGET\r\n$1\r\na\r\n") == [["GET", "a"]])
        #expect(parse("*1\r\n$0\r\n\r\n") == [[""]])
        #expect(parse("*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n") == [["PING"]])
    }

    @Test func inlineWordsAndQuotes() {
        #expect(parse("PING\r\n") == [["PING"]])
        #expect(parse("  set  a 'b c' \"d\\x41\\n\"\n") == [["set", "a", "b c", "dA\n"]])
        #expect(parse("\r\n\n PING\n") == [["PING"]])
        #expect(parse("echo 'it\\'s'\n") == [["echo", "it's"]])
        #expect(parse("echo \"\" ''\n") == [["echo", "", ""]])
        #expect(parse("GET\0k\r\n\0\n") == [["GET"]])
    }

    @Test(arguments: [1, 2, 3, 5, 7, 11])
    func everySplit(step: Int) {
        var text = ""
        var expected: [[String]] = []
        for count in [1, 3, 20, 64] {
            let words = (0..<count).map { String(repeating: "x", count: $0 * 7) }
            expected.append(words)
            text += "*\(count)\r\n"
            for word in words { text += "$\(word.utf8.count)\r\n\(word)\r\n" }
        }
        text += "INLINE a b\r\n"
        expected.append(["INLINE", "a", "b"])
        #expect(parse(text, step: step) == expected)
    }

    @Test func manyArgumentsAreNotParsedAgainForEachByte() {
        let count = 20_000
        var bytes = Array("*\(count)\r\n".utf8)
        for _ in 0..<count { bytes += Array("$1\r\na\r\n".utf8) }
        let outcome = parse(bytes, step: 64)
        #expect(outcome.commands.first?.count == count)
    }

    @Test(arguments: [
        ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'"),
        ("*1\r\n$blabla\r\n", "invalid bulk length"),
        ("*1\r\n$-5\r\n", "invalid bulk length"),
        ("*1\r\n$600000000\r\n", "invalid bulk length"),
        ("*blabla\r\n", "invalid multibulk length"),
        ("*9999999999\r\n", "invalid multibulk length"),
        ("set \"a\r\n", "unbalanced quotes in request"),
        ("set 'a'b\r\n", "unbalanced quotes in request"),
    ])
    func errors(input: String, text: String) {
        #expect(parse(Array(input.utf8)).failure?.text == text)
    }

    @Test func longLinesAreRefused() {
        let long = [UInt8](repeating: 97, count: RequestParser.lineLimit + 1)
        #expect(parse(long).failure == .bigInlineRequest)
        #expect(parse(Array("*".utf8) + long).failure == .bigMultibulkCount)
        #expect(parse(Array("*1\r\n$".utf8) + long).failure == .bigBulkCount)
    }

    @Test func littleIsReadBeforeAuthentication() {
        let limits = ParseLimits(authenticated: false)
        #expect(
            parse(Array("*11\r\n".utf8), limits: limits).failure
                == .unauthenticatedMultibulkLength)
        #expect(
            parse(Array("*1\r\n$16385\r\n".utf8), limits: limits).failure
                == .unauthenticatedBulkLength)
    }

    @Test(arguments: 0..<200 as Range<UInt64>)
    func noise(seed: UInt64) {
        var random = Prng(seed: seed)
        let alphabet = Array("*$\r\n0123456789-+ab\"'\\ x".utf8)
        let bytes = (0..<random.below(400)).map { _ in alphabet[random.below(alphabet.count)] }
        let whole = parse(bytes)
        // However it arrives, it means the same, as far as it was understood.
        let pieces = parse(bytes, step: 1 + random.below(9))
        #expect(whole.commands == pieces.commands)
    }

    @Test(arguments: [
        ("*2\r\n$4\r\nECHO\r\n$10\r\nabc", 4, 3), ("*2\r\n$10\r\nabc", 0, 3),
        ("*2\r\n$4\r\nECHO\r\n$1", 4, 2), ("*2\r", 0, 3), ("*2\r\n", 0, 0),
        ("SET k v", 0, 7), ("", 0, 0), ("*2\r\nnonsense", 0, 8), ("*x\r\n", 0, 4),
        ("*2\r\n$-5\r\nabc", 0, 8),
    ])
    func unfinishedRequests(text: String, arguments: Int, rest: Int) {
        let found = text.withBytes { $0.unfinishedRequest }
        #expect(found.arguments == arguments)
        #expect(found.rest == rest)
    }
}
