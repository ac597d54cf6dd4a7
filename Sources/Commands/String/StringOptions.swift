// The options of SET and GETEX, and the deadline that they name. Times are given in seconds or
// milliseconds, relative or absolute; inside and in the replication stream they are absolute
// milliseconds only. A word may be repeated; words that contradict each other are a syntax error.
import Base
import Engine
import RESP

struct StringOptions: OptionSet {
    let rawValue: UInt16
    @inline(__always)
    init(rawValue: UInt16) { self.rawValue = rawValue }

    static var nx: StringOptions { StringOptions(rawValue: 1 << 0) }
    static var xx: StringOptions { StringOptions(rawValue: 1 << 1) }
    static var get: StringOptions { StringOptions(rawValue: 1 << 2) }
    static var keepTTL: StringOptions { StringOptions(rawValue: 1 << 3) }
    static var persist: StringOptions { StringOptions(rawValue: 1 << 4) }
    static var ex: StringOptions { StringOptions(rawValue: 1 << 5) }
    static var px: StringOptions { StringOptions(rawValue: 1 << 6) }
    static var exAt: StringOptions { StringOptions(rawValue: 1 << 7) }
    static var pxAt: StringOptions { StringOptions(rawValue: 1 << 8) }

    /// Those that are followed by a time.
    static var times: StringOptions { [.ex, .px, .exAt, .pxAt] }
    static var ofSet: StringOptions { [.nx, .xx, .get, .keepTTL, .times] }
    static var ofGetEx: StringOptions { [.persist, .times] }

    /// The option of this name; empty when there is none.
    @inline(__always)
    init(_ word: Bytes) {
        switch word.count {
        case 2 where word.matches("ex"): self = .ex
        case 2 where word.matches("px"): self = .px
        case 2 where word.matches("nx"): self = .nx
        case 2 where word.matches("xx"): self = .xx
        case 3 where word.matches("get"): self = .get
        case 4 where word.matches("exat"): self = .exAt
        case 4 where word.matches("pxat"): self = .pxAt
        case 7 where word.matches("keepttl"): self = .keepTTL
        case 7 where word.matches("persist"): self = .persist
        default: self = []
        }
    }

    /// What may not stand beside this single option.
    @inline(__always)
    var excluded: StringOptions {
        if self == .nx { return .xx }
        if self == .xx { return .nx }
        if self == .get { return [] }
        let fates: StringOptions = [.keepTTL, .persist, .times]
        return fates.subtracting(self)
    }
}

/// Options that fit together, and where the time stands among the arguments.
struct ParsedStringOptions {
    var options: StringOptions = []
    var timeArgument = 0

    /// Reads the arguments from `first` on; nil after an error reply.
    @inline(__always)
    static func orReply(
        _ call: Call, from first: Int, allowed: StringOptions
    ) -> ParsedStringOptions? {
        var parsed = ParsedStringOptions()
        var index = first
        while index < call.count {
            let option = StringOptions(call[index])
            let takesTime = !option.isDisjoint(with: .times)
            guard !option.isEmpty, allowed.contains(option),
                parsed.options.isDisjoint(with: option.excluded),
                !takesTime || index + 1 < call.count
            else {
                call.reply.error(.syntax)
                return nil
            }
            parsed.options.insert(option)
            if takesTime {
                index += 1
                parsed.timeArgument = index
            }
            index += 1
        }
        return parsed
    }

    @inline(__always)
    var hasTime: Bool { !options.isDisjoint(with: .times) }

    /// The deadline in milliseconds since 1970; nil after an error reply. Only with `hasTime`.
    @inline(__always)
    func deadlineOrReply(_ call: Call) -> Int64? {
        invariant(hasTime, "there is no time to read")
        return Commands.deadlineOrReply(
            call, timeArgument,
            inSeconds: !options.isDisjoint(with: [.ex, .exAt]),
            isRelative: !options.isDisjoint(with: [.ex, .px]))
    }
}

/// The time at argument `index` as milliseconds since 1970; nil after an error reply. It must be
/// positive and may not overflow.
@inline(__always)
func deadlineOrReply(
    _ call: Call, _ index: Int, inSeconds: Bool, isRelative: Bool
) -> Int64? {
    guard let time = call.integerOrReply(index) else { return nil }
    let (milliseconds, tooLarge) = time.multipliedReportingOverflow(by: inSeconds ? 1000 : 1)
    let (deadline, tooLate) = milliseconds.addingReportingOverflow(
        isRelative ? call.now.milliseconds : 0)
    guard time > 0, !tooLarge, !tooLate, deadline > 0 else {
        call.refuseExpireTime()
        return nil
    }
    return deadline
}
