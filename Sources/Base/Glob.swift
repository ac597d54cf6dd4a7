// Glob patterns as KEYS, SCAN MATCH, PSUBSCRIBE, CONFIG GET and ACL use them: `*`, `?`, sets with
// ranges and `^`, backslash to quote. The results, also for odd patterns (an open set, a backslash
// at the end, a reversed range), are the reference's. The search never backs up behind the last
// star, since what an earlier star could match, the last one can match as well: the time is at
// most pattern × text, where a naive recursion is exponential.

/// A pattern, borrowed like the bytes that it is made from.
public struct Glob {
    private let pattern: Bytes
    private let ignoresCase: Bool

    @inline(__always)
    public init(_ pattern: Bytes, ignoringCase: Bool = false) {
        self.pattern = pattern
        ignoresCase = ignoringCase
    }

    /// True for `*`, which need not look at the text.
    public var matchesAll: Bool { pattern.count == 1 && pattern.base[0] == Glob.star }

    private static let star = UInt8(ascii: "*")
    private static let backslash = UInt8(ascii: "\\")

    /// True when the whole of `text` matches.
    public func matches(_ text: Bytes) -> Bool {
        // In the reference no pattern but `*` matches the empty text, not even two stars.
        if text.isEmpty { return pattern.isEmpty || matchesAll }
        var p = 0
        var t = 0
        // Behind the last star seen, and where in the text its match ends so far.
        var retryPattern = -1
        var retryText = 0
        while t < text.count {
            if p < pattern.count, pattern.base[p] == Glob.star {
                while p < pattern.count, pattern.base[p] == Glob.star { p &+= 1 }
                if p == pattern.count { return true }
                retryPattern = p
                retryText = t
                continue
            }
            if p < pattern.count, let next = step(p, text.base[t]) {
                p = next
                t &+= 1
                continue
            }
            guard retryPattern >= 0 else { return false }
            retryText &+= 1
            t = retryText
            p = retryPattern
        }
        while p < pattern.count, pattern.base[p] == Glob.star { p &+= 1 }
        return p == pattern.count
    }

    /// Matches one element at `position`, which is no star, with `byte`; returns what follows.
    @inline(__always)
    private func step(_ position: Int, _ byte: UInt8) -> Int? {
        switch pattern.base[position] {
        case UInt8(ascii: "?"): return position &+ 1
        case UInt8(ascii: "["): return stepSet(position &+ 1, byte)
        case Glob.backslash where position &+ 1 < pattern.count:
            return fold(pattern.base[position &+ 1]) == fold(byte) ? position &+ 2 : nil
        case let literal:
            return fold(literal) == fold(byte) ? position &+ 1 : nil
        }
    }

    @inline(__always)
    private func fold(_ byte: UInt8) -> UInt8 { ignoresCase ? lowercased(byte) : byte }

    /// A set whose first byte is at `start`. Without its bracket it ends with the pattern.
    private func stepSet(_ start: Int, _ byte: UInt8) -> Int? {
        var p = start
        let isNegated = p < pattern.count && pattern.base[p] == UInt8(ascii: "^")
        if isNegated { p &+= 1 }
        var isMember = false
        while p < pattern.count, pattern.base[p] != UInt8(ascii: "]") {
            if pattern.base[p] == Glob.backslash, p &+ 1 < pattern.count {
                // A quoted byte is compared with regard to case, as in the reference.
                if pattern.base[p &+ 1] == byte { isMember = true }
                p &+= 2
            } else if p &+ 2 < pattern.count, pattern.base[p &+ 1] == UInt8(ascii: "-") {
                if isInRange(pattern.base[p], pattern.base[p &+ 2], byte) { isMember = true }
                p &+= 3
            } else {
                if fold(pattern.base[p]) == fold(byte) { isMember = true }
                p &+= 1
            }
        }
        if p < pattern.count { p &+= 1 }
        return isMember != isNegated ? p : nil
    }

    /// The ends of a range may come in either order. Bytes are ordered as C's signed characters,
    /// except that the C library's `tolower` makes them positive, all but the highest.
    private func isInRange(_ first: UInt8, _ last: UInt8, _ byte: UInt8) -> Bool {
        let isReversed = Int8(bitPattern: first) > Int8(bitPattern: last)
        let value = rank(byte)
        return rank(isReversed ? last : first) <= value && value <= rank(isReversed ? first : last)
    }

    private func rank(_ byte: UInt8) -> Int {
        if ignoresCase, byte != 255 { return Int(lowercased(byte)) }
        return Int(Int8(bitPattern: byte))
    }
}

extension Bytes {
    /// True when all of these bytes match `pattern`.
    @inline(__always)
    public func matches(glob pattern: Bytes, ignoringCase: Bool = false) -> Bool {
        Glob(pattern, ignoringCase: ignoringCase).matches(self)
    }
}
