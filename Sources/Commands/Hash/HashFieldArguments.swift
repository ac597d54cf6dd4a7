// What the commands about expiring fields share: the list `FIELDS numfields field ...`, deadlines
// and their limits, and what happens to a hash when times of its fields were changed.
import Base
import Engine
import RESP
import Storage

/// The fields that a command names, by the indexes of their arguments.
struct FieldArguments {
    let first: Int
    let count: Int

    var indexes: Range<Int> { first..<(first + count) }

    /// Reads `FIELDS numfields field ...`, with the word at `index` and nothing behind the fields;
    /// nil after an error reply.
    static func orReply(_ call: Call, at index: Int, badCount: StaticString) -> FieldArguments? {
        guard index + 1 < call.count, call[index].matches("fields") else {
            call.reply.error(
                "ERR Mandatory argument FIELDS is missing or not at the right position")
            return nil
        }
        guard let count = call[index + 1].decimal, count >= 1 else {
            call.reply.error(badCount)
            return nil
        }
        guard count == Int64(call.count - index - 2) else {
            call.reply.error("ERR The `numfields` parameter must match the number of arguments")
            return nil
        }
        return FieldArguments(first: index + 2, count: Int(count))
    }

    static let notPositive: StaticString = "ERR Number of fields must be a positive integer"
}

/// The forms in which a command gives a deadline.
enum FieldTimeForm {
    case seconds
    case milliseconds
    case unixSeconds
    case unixMilliseconds

    private var isInSeconds: Bool { self == .seconds || self == .unixSeconds }
    private var isRelative: Bool { self == .seconds || self == .milliseconds }

    /// The latest time that a field can have: 46 bits of milliseconds.
    static let latest: Int64 = (1 << 46) - 1

    /// The form that EX, PX, EXAT or PXAT stands for.
    init?(word: Bytes) {
        if word.matches("ex") {
            self = .seconds
        } else if word.matches("px") {
            self = .milliseconds
        } else if word.matches("exat") {
            self = .unixSeconds
        } else if word.matches("pxat") {
            self = .unixMilliseconds
        } else {
            return nil
        }
    }

    /// The argument at `index` as milliseconds since 1970; nil after an error reply.
    func deadlineOrReply(_ call: Call, _ index: Int) -> Int64? {
        guard let time = call.integerOrReply(index) else { return nil }
        guard time >= 0 else {
            call.reply.error("ERR invalid expire time, must be >= 0")
            return nil
        }
        let base = isRelative ? call.now.milliseconds : 0
        guard time <= FieldTimeForm.latest / (isInSeconds ? 1000 : 1) else {
            call.refuseExpireTime()
            return nil
        }
        let milliseconds = isInSeconds ? time * 1000 : time
        guard milliseconds <= FieldTimeForm.latest - base else {
            call.refuseExpireTime()
            return nil
        }
        return base + milliseconds
    }
}

extension Call {
    /// The live hash under `key`, for changing its fields in place; nil when there is none.
    /// `isFine` becomes false after an error reply.
    func hashToChange(_ key: KeyRef, _ isFine: inout Bool) -> (entry: Entry, hash: HashObject)? {
        guard let entry = writeHash(key) else { return nil }
        guard let hash = hashOrReply(entry) else {
            isFine = false
            return nil
        }
        return (entry, hash)
    }

    /// Puts a hash back that was changed in place, and ends its key when no field is left; to be
    /// called after the events of the change itself.
    func finishHash(_ hash: HashObject, _ entry: Entry, _ key: KeyRef) {
        guard hash.count > 0 else { return removeEmptied(key) }
        keyspace.noteFields(entry, key)
    }

    /// Puts into the stream what became of fields: `name key`, `before`, then `FIELDS n` unless
    /// `isPlain`, and the fields.
    func propagateFields(
        _ name: StaticString, _ key: KeyRef, at deadline: Int64? = nil, isPlain: Bool = false,
        _ indexes: [Int]
    ) {
        let fixed = 2 + (deadline == nil ? 0 : 1) + (isPlain ? 0 : 2)
        rewrite(fixed + indexes.count) { stream in
            stream.argument(name)
            stream.argument(key.bytes)
            if let deadline { stream.argument(decimal: deadline) }
            if !isPlain {
                stream.argument("FIELDS")
                stream.argument(decimal: Int64(indexes.count))
            }
            for index in indexes { stream.argument(self[index]) }
        }
    }
}
