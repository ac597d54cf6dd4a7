// Where a command's keys are, as the reference's key specifications say: how to find the first
// (`begin_search`) and how to find the rest (`find_keys`). Source: Redis documentation, "Command
// key specifications".
import Base

/// What a command does with a key (the flags of a key specification).
public struct KeyFlags: OptionSet, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    public static let RO = KeyFlags(rawValue: 1 << 0)
    public static let RW = KeyFlags(rawValue: 1 << 1)
    public static let OW = KeyFlags(rawValue: 1 << 2)
    public static let RM = KeyFlags(rawValue: 1 << 3)
    public static let access = KeyFlags(rawValue: 1 << 4)
    public static let update = KeyFlags(rawValue: 1 << 5)
    public static let insert = KeyFlags(rawValue: 1 << 6)
    public static let delete = KeyFlags(rawValue: 1 << 7)
    public static let notKey = KeyFlags(rawValue: 1 << 8)
    public static let incomplete = KeyFlags(rawValue: 1 << 9)
    public static let variableFlags = KeyFlags(rawValue: 1 << 10)

    public static let printed: [(KeyFlags, StaticString)] = [
        (.RO, "RO"), (.RW, "RW"), (.OW, "OW"), (.RM, "RM"), (.access, "access"),
        (.update, "update"), (.insert, "insert"), (.delete, "delete"), (.notKey, "not_key"),
        (.incomplete, "incomplete"), (.variableFlags, "variable_flags"),
    ]
}

public struct KeySpec: Sendable {
    public enum Begin: Sendable {
        /// The first key is argument `index`.
        case index(Int)
        /// The first key follows the word, searched from argument `from` (negative: backwards).
        case keyword(StaticString, from: Int)
        case unknown
    }
    public enum Find: Sendable {
        /// Up to `last` (relative to the first; negative from the end), every `step`-th; `limit`
        /// 2 means only half of what is left, and so on.
        case range(last: Int, step: Int, limit: Int)
        /// Argument `keyNumber` (relative) says how many; they start at `first`, every `step`-th.
        case keyNumber(at: Int, first: Int, step: Int)
        case unknown
    }

    public let begin: Begin
    public let find: Find
    public let flags: KeyFlags
    public let notes: StaticString

    public init(_ begin: Begin, _ find: Find, _ flags: KeyFlags, notes: StaticString = "") {
        self.begin = begin
        self.find = find
        self.flags = flags
        self.notes = notes
    }

    /// Keys from argument `first` to `last` (absolute; negative from the end), every `step`-th.
    public static func range(
        _ first: Int, _ flags: KeyFlags, last: Int? = nil, step: Int = 1,
        notes: StaticString = ""
    ) -> KeySpec {
        let relative = last.map { $0 < 0 ? $0 : $0 - first } ?? 0
        return KeySpec(
            .index(first), .range(last: relative, step: step, limit: 0), flags, notes: notes)
    }
}

/// A key's position and what is done with it.
public struct KeyPosition {
    public var index: Int
    public var flags: KeyFlags

    public init(index: Int, flags: KeyFlags) {
        self.index = index
        self.flags = flags
    }
}

/// A command's own way to find keys where specifications cannot say it (MIGRATE, SORT).
public typealias KeyFinder = (_ arguments: UnsafePointer<Bytes>, _ count: Int) -> [KeyPosition]?

extension KeySpec {
    /// The positions that this specification finds in `arguments`; nil when they do not fit it.
    public func positions(_ arguments: UnsafePointer<Bytes>, _ count: Int) -> [KeyPosition]? {
        guard let first = firstPosition(arguments, count) else {
            if case .keyword = begin { return [] }
            return nil
        }
        var out: [KeyPosition] = []
        switch find {
        case .range(let last, let step, let limit):
            var end = last >= 0 ? first + last : count + last
            if last < 0, limit > 1 { end = first + (count - first) / limit + last }
            guard end < count, end >= first else { return nil }
            for index in stride(from: first, through: end, by: step) {
                out.append(KeyPosition(index: index, flags: flags))
            }
        case .keyNumber(let at, let firstKey, let step):
            guard first + at < count, let number = arguments[first + at].decimal, number >= 0,
                number <= count
            else { return nil }
            let start = first + firstKey
            for i in 0..<Int(number) {
                let index = start + i * step
                guard index < count else { return nil }
                out.append(KeyPosition(index: index, flags: flags))
            }
        case .unknown:
            return []
        }
        return out
    }

    private func firstPosition(_ arguments: UnsafePointer<Bytes>, _ count: Int) -> Int? {
        switch begin {
        case .index(let index): return index < count ? index : nil
        case .keyword(let word, let from):
            let lower = "\(word)".lowercased()
            let positions =
                from > 0
                ? Array(stride(from: from, to: count, by: 1))
                : Array(stride(from: count + from, to: 0, by: -1))
            for index in positions where arguments[index].string.lowercased() == lower {
                return index + 1 < count ? index + 1 : nil
            }
            return nil
        case .unknown: return nil
        }
    }
}
