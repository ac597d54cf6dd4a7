// Numeric addresses: CLUSTER MEET takes nothing else, and stores them in one spelling (that of
// inet_ntop), so that two spellings do not make two nodes.

package enum IPAddress {
    /// The address in its usual spelling, or nil when `text` is no IPv4 or IPv6 address.
    package static func normalized(_ text: String) -> String? {
        let bytes = Array(text.utf8)
        if let four = version4(bytes[...]) {
            return four.map { String($0) }.joined(separator: ".")
        }
        return version6(bytes).map(format)
    }

    private static func version4(_ bytes: ArraySlice<UInt8>) -> [UInt8]? {
        var out: [UInt8] = []
        for part in bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
            guard (1...3).contains(part.count), let first = part.first else { return nil }
            if part.count > 1, first == UInt8(ascii: "0") { return nil }
            var value = 0
            for byte in part {
                guard byte >= 48, byte <= 57 else { return nil }
                value = value * 10 + Int(byte - 48)
            }
            guard value <= 255 else { return nil }
            out.append(UInt8(value))
        }
        return out.count == 4 ? out : nil
    }

    /// Eight groups.
    private static func version6(_ bytes: [UInt8]) -> [UInt16]? {
        let colon = UInt8(ascii: ":")
        var gap: Int?
        for index in 0..<max(0, bytes.count - 1)
        where bytes[index] == colon && bytes[index + 1] == colon {
            if gap != nil { return nil }
            gap = index
        }
        guard let gap else {
            let all = groups(bytes[...])
            return all?.count == 8 ? all : nil
        }
        guard let head = groups(bytes[..<gap], mayBeEmpty: true),
            let tail = groups(bytes[(gap + 2)...], mayBeEmpty: true), head.count + tail.count <= 7
        else { return nil }
        return head + [UInt16](repeating: 0, count: 8 - head.count - tail.count) + tail
    }

    private static func groups(_ bytes: ArraySlice<UInt8>, mayBeEmpty: Bool = false) -> [UInt16]? {
        if bytes.isEmpty { return mayBeEmpty ? [] : nil }
        let parts = bytes.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        var out: [UInt16] = []
        for (index, part) in parts.enumerated() {
            if index == parts.count - 1, part.contains(UInt8(ascii: ".")) {
                guard let four = version4(part) else { return nil }
                out.append((UInt16(four[0]) &<< 8) | UInt16(four[1]))
                out.append((UInt16(four[2]) &<< 8) | UInt16(four[3]))
                continue
            }
            guard (1...4).contains(part.count),
                let value = UInt16(String(decoding: part, as: UTF8.self), radix: 16),
                part.first != UInt8(ascii: "+")
            else { return nil }
            out.append(value)
        }
        return out
    }

    /// The longest run of at least two zero groups becomes `::`.
    private static func format(_ groups: [UInt16]) -> String {
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > max(1, best.count) { best = start..<end }
            start = max(end, start + 1)
        }
        let isMapped = groups[0..<5].allSatisfy { $0 == 0 } && groups[5] == 0xFFFF
        if isMapped {
            let four = [groups[6] &>> 8, groups[6] & 255, groups[7] &>> 8, groups[7] & 255]
            return "::ffff:" + four.map { String($0) }.joined(separator: ".")
        }
        let text = { (range: Range<Int>) in
            groups[range].map { String($0, radix: 16) }.joined(separator: ":")
        }
        if best.isEmpty { return text(0..<8) }
        return text(0..<best.lowerBound) + "::" + text(best.upperBound..<8)
    }
}
