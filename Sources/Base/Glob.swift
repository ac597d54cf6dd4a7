// Glob patterns over bytes, as KEYS, SCAN, PSUBSCRIBE and CONFIG GET take them: `*`, `?`, `[abc]`,
// `[^a-z]` and `\` to take the next byte as it is. Behaves as the reference's matcher also where
// patterns are damaged: a class without its bracket ends with the pattern. Patterns come from
// clients, so that the work is bounded: once the rest of a pattern behind a `*` matches nowhere, no
// earlier `*` is tried further, and nothing recurses.

extension Bytes {
    /// True when all of these bytes match `pattern`.
    public func matches(glob pattern: Bytes, ignoringCase: Bool = false) -> Bool {
        var text = 0
        var place = 0
        // The last `*` met and the first byte that it has not swallowed: where to go on when the
        // bytes after it do not fit. An earlier `*` never needs another try.
        var star: (place: Int, text: Int)?
        while text < count {
            if place < pattern.count, pattern.base[place] == UInt8(ascii: "*") {
                star = (place + 1, text)
                place += 1
                continue
            }
            if place < pattern.count,
                let next = step(text, pattern, place, ignoringCase: ignoringCase)
            {
                place = next
                text += 1
                continue
            }
            guard let last = star else { return false }
            place = last.place
            text = last.text + 1
            star = (last.place, text)
        }
        while place < pattern.count, pattern.base[place] == UInt8(ascii: "*") { place += 1 }
        return place == pattern.count
    }

    /// Where the pattern goes on when its element at `place` takes the byte at `text`; else nil.
    private func step(_ text: Int, _ pattern: Bytes, _ place: Int, ignoringCase: Bool) -> Int? {
        let byte = folded(base[text], ignoringCase)
        switch pattern.base[place] {
        case UInt8(ascii: "?"):
            return place + 1
        case UInt8(ascii: "["):
            return stepClass(byte, pattern, place + 1, ignoringCase: ignoringCase)
        case UInt8(ascii: "\\") where place + 1 < pattern.count:
            return byte == folded(pattern.base[place + 1], ignoringCase) ? place + 2 : nil
        default:
            return byte == folded(pattern.base[place], ignoringCase) ? place + 1 : nil
        }
    }

    /// A class whose content begins at `start`; `byte` is folded already.
    private func stepClass(
        _ byte: UInt8,
        _ pattern: Bytes,
        _ start: Int,
        ignoringCase: Bool
    ) -> Int? {
        var place = start
        let isNegated = place < pattern.count && pattern.base[place] == UInt8(ascii: "^")
        if isNegated { place += 1 }
        var isMember = false
        while place < pattern.count, pattern.base[place] != UInt8(ascii: "]") {
            let left = pattern.count - place
            if pattern.base[place] == UInt8(ascii: "\\"), left >= 2 {
                if byte == folded(pattern.base[place + 1], ignoringCase) { isMember = true }
                place += 2
            } else if left >= 3, pattern.base[place + 1] == UInt8(ascii: "-") {
                let a = folded(pattern.base[place], ignoringCase)
                let b = folded(pattern.base[place + 2], ignoringCase)
                if byte >= Swift.min(a, b), byte <= Swift.max(a, b) { isMember = true }
                place += 3
            } else {
                if byte == folded(pattern.base[place], ignoringCase) { isMember = true }
                place += 1
            }
        }
        guard isMember != isNegated else { return nil }
        return Swift.min(place + 1, pattern.count)
    }

    @inline(__always)
    private func folded(_ byte: UInt8, _ ignoringCase: Bool) -> UInt8 {
        ignoringCase ? lowercased(byte) : byte
    }
}
