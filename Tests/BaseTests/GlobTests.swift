// Globs: the reference's cases, odd patterns, a naive recursive model, and patterns that take a
// naive matcher exponential time.
import Base
import Testing

private func glob(_ pattern: String, _ text: String, nocase: Bool = false) -> Bool {
    pattern.withBytes { p in text.withBytes { Glob(p, ignoringCase: nocase).matches($0) } }
}

/// The plain definition for patterns of letters, `?` and `*`.
private func naive(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Bool {
    guard let first = pattern.first else { return text.isEmpty }
    let rest = pattern.dropFirst()
    if first == 42 {
        return naive(rest, text) || (!text.isEmpty && naive(pattern, text.dropFirst()))
    }
    guard let byte = text.first, first == 63 || first == byte else { return false }
    return naive(rest, text.dropFirst())
}

@Suite struct GlobTests {
    @Test(arguments: [
        ("*", "anything"), ("*", ""), ("", ""), ("h?llo", "hello"), ("h*llo", "hllo"),
        ("h*llo", "heeello"), ("h[ae]llo", "hallo"), ("h[^e]llo", "hbllo"), ("h[a-b]llo", "hbllo"),
        ("h[b-a]llo", "hallo"), ("h\\?llo", "h?llo"), ("a**", "a"), ("*a*b*", "xxaxxbxx"),
        ("[\\]]", "]"), ("[a", "a"), ("[^", "x"), ("a\\", "a\\"), ("[a-]", "_"), ("[a-", "-"),
        ("*[0-9]", "key7"), ("foo*", "foo"),
    ])
    func matches(pattern: String, text: String) { #expect(glob(pattern, text)) }

    @Test(arguments: [
        ("", "a"), ("a", ""), ("**", ""), ("?", ""), ("h?llo", "hllo"), ("h[^e]llo", "hello"),
        ("[", "["), ("[]", "]"), ("a*b", "ac"), ("abc", "ab"), ("ab", "abc"), ("h\\?llo", "hello"),
        ("HELLO", "hello"), ("*x", "xy"),
    ])
    func differs(pattern: String, text: String) { #expect(!glob(pattern, text)) }

    @Test func caseIsIgnoredOnRequest() {
        #expect(glob("HeLLo*", "hEllO!", nocase: true))
        #expect(glob("[A-C]x", "bX", nocase: true))
        #expect(!glob("[\\A]", "a", nocase: true))
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func agreesWithTheDefinition(seed: UInt64) {
        var prng = Prng(seed: seed)
        for _ in 0..<5000 {
            let letters = Array("ab*?".utf8)
            let pattern = (0..<prng.below(8)).map { _ in letters[prng.below(4)] }
            let text = (0..<1 + prng.below(8)).map { _ in letters[prng.below(2)] }
            let found = pattern.withBytes { p in text.withBytes { Glob(p).matches($0) } }
            #expect(found == naive(pattern[...], text[...]), "\(pattern) \(text)")
        }
    }

    @Test func hostilePatternsEnd() {
        let pattern = String(repeating: "a*", count: 2000) + "b"
        #expect(!glob(pattern, String(repeating: "a", count: 4000)))
        #expect(!glob(String(repeating: "*a", count: 200), String(repeating: "a", count: 199)))
        #expect(!glob(String(repeating: "*?", count: 3000), String(repeating: "a", count: 2999)))
    }

    @Test(arguments: [5, 6, 7, 8] as [UInt64])
    func randomBytesNeverFail(seed: UInt64) {
        var prng = Prng(seed: seed)
        let letters = Array("a[]^-\\*?b".utf8) + [0, 255]
        for _ in 0..<20000 {
            let pattern = (0..<prng.below(12)).map { _ in letters[prng.below(letters.count)] }
            let text = (0..<prng.below(12)).map { _ in letters[prng.below(letters.count)] }
            let folded = prng.below(2) == 0
            maybe(
                pattern.withBytes { p in
                    text.withBytes { Glob(p, ignoringCase: folded).matches($0) }
                }
            )
        }
    }
}
