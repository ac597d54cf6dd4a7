// What to do with the end of an append-only file that is not whole. A process that died in the
// middle of a write leaves a part of a command; a host that lost power leaves blocks of zeros or
// torn ones, because what was not synced may be there in any mixture. Cutting such an end loses
// nothing that was ever promised to be safe, so it is done, within a bound, aside into a file, and
// reported. What looks different (sense behind the damage, more than the bound) was not made by a
// crash: then somebody who knows must decide, and the start is refused.
import Base

public enum TailRepair {
    /// How a file ends when it is not whole.
    public enum Finding: Sendable, Equatable {
        /// In the middle of a command, or between MULTI and EXEC.
        case truncated
        /// Nothing but zeros from the damage on.
        case zeroFilled
        /// Bytes that are no command, and no command behind them.
        case torn
        /// Bytes that are no command, but commands behind them.
        case damagedInside
    }

    public struct Cut: Sendable, Equatable {
        public var finding: Finding
        /// The file is whole up to here.
        public var offset: Int64
        /// Bytes behind it.
        public var bytes: Int64
        /// Commands of which something is among these bytes, as far as one can tell.
        public var commands: Int64
    }

    public enum Verdict: Sendable, Equatable {
        case whole
        case cut(Cut)
        /// The start must not go on; a larger bound or a decision by hand is needed.
        case refuse(Cut, isBeyondBound: Bool)
    }

    /// Judges a file's end. `tail` holds the bytes from `wholeUpTo` on, all of them or as many as
    /// the caller has looked at (at least a little more than `bound`).
    public static func judge(
        _ scanner: borrowing AOFScanner, size: Int64, tail: Bytes, allowsTruncated: Bool,
        bound: Int64
    ) -> Verdict {
        let offset = scanner.wholeUpTo
        let bytes = size - offset
        invariant(bytes >= 0 && offset >= 0, "a file is whole beyond its end")
        guard bytes > 0 else { return .whole }
        let isDamaged = scanner.damage != nil
        let finding = finding(
            tail, isDamaged: isDamaged, damageAt: scanner.damage.map { Int($0.offset - offset) })
        let inTransaction = scanner.commands - scanner.wholeCommands
        let open: Int64 = isDamaged || scanner.unfinished > 0 ? 1 : 0
        let cut = Cut(
            finding: finding, offset: offset, bytes: bytes, commands: inTransaction + open)
        guard allowsTruncated else { return .refuse(cut, isBeyondBound: false) }
        switch finding {
        case .truncated:
            // One command may be as large as it likes, unless others hide in it: then a damaged
            // length has swallowed them.
            if bytes <= bound || !hidesCommands(tail) { return .cut(cut) }
            return .refuse(cut, isBeyondBound: true)
        case .zeroFilled, .torn:
            return bytes <= bound ? .cut(cut) : .refuse(cut, isBeyondBound: true)
        case .damagedInside:
            return .refuse(cut, isBeyondBound: false)
        }
    }

    private static func finding(_ tail: Bytes, isDamaged: Bool, damageAt: Int?) -> Finding {
        guard isDamaged else { return .truncated }
        let at = min(max(0, damageAt ?? 0), tail.count)
        let rest = tail[at..<tail.count]
        // Zeros may begin in the middle of an argument, before the place where it shows.
        var index = rest.count
        while index > 0, rest[index - 1] == 0 { index -= 1 }
        if index == 0, !rest.isEmpty { return .zeroFilled }
        return hidesCommands(rest) ? .damagedInside : .torn
    }

    /// Whether a whole command begins anywhere behind the first byte.
    static func hidesCommands(_ tail: Bytes) -> Bool {
        var at = 1
        while at < tail.count {
            if tail.base[at] == UInt8(ascii: "*"), at + 1 < tail.count,
                tail.base[at + 1] &- 49 < 9
            {
                var cursor = AOFScanner.Cursor(
                    bytes: tail[at..<tail.count], largestString: 512 << 20)
                if case .whole = cursor.command() { return true }
            }
            at += 1
        }
        return false
    }

    /// The file that keeps what is cut from `name`.
    public static func keptName(of name: String, offset: Int64, at wall: Int64) -> String {
        "\(name).cut-\(offset)-\(wall)"
    }
}
