// HSETEX: sets fields of a hash and when they expire, all or none. The stream gets the same with an
// absolute time, or the deletion of fields whose time is over already.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerHashSetExCommand() {
        command(
            "hsetex", since: "8.0.0", arity: -6, [.write, .denyOOM, .fast], acl: [.hash],
            keys: [.range(1, [.RW, .update])],
            syntax: """
            key [condition: FNX|FXX] [expiration: EX seconds:integer|PX milliseconds:integer|\
            EXAT unix-time-seconds:unix-time|PXAT unix-time-milliseconds:unix-time|KEEPTTL] \
            FIELDS <fields: numfields:integer <data: field value>...>
            """,
            summary: """
            Set the value of one or more fields of a given hash key, and optionally set their \
            expiration.
            """,
            complexity: "O(N) where N is the number of fields being set."
        ) { hsetex(Call($0)) }
    }
}

/// What stands between the key and the fields.
private struct SetOptions {
    enum Existence { case any, none, all }
    var existence = Existence.any
    var form: FieldTimeForm?
    var timeIndex = 0
    var keepsTime = false
    /// Indexes of the fields; each value follows its field.
    var fields = stride(from: 0, to: 0, by: 2)
    var count = 0

    private var hasTime: Bool { form != nil || keepsTime }

    static func orReply(_ call: Call) -> SetOptions? {
        var options = SetOptions()
        var index = 2
        while index < call.count {
            let word = call[index]
            if word.matches("fields") { return options.readFields(call, index) ? options : nil }
            if word.matches("fnx") || word.matches("fxx") {
                guard options.existence == .any else {
                    return refuse(call, "ERR Only one of FXX or FNX arguments can be specified")
                }
                options.existence = word.matches("fnx") ? .none : .all
            } else if word.matches("keepttl") {
                guard !options.hasTime else { return refuse(call, tooManyTimes) }
                options.keepsTime = true
            } else if let form = FieldTimeForm(word: word) {
                guard !options.hasTime else { return refuse(call, tooManyTimes) }
                guard index + 1 < call.count else { return refuse(call, "ERR missing expire time") }
                options.form = form
                options.timeIndex = index + 1
                index += 1
            } else {
                call.reply.error(Array("ERR unknown argument: ".utf8) + word.array)
                return nil
            }
            index += 1
        }
        return refuse(
            call, "ERR Mandatory argument FIELDS is missing or not at the right position")
    }

    private static let tooManyTimes: StaticString =
        "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"

    private static func refuse(_ call: Call, _ error: StaticString) -> SetOptions? {
        call.reply.error(error)
        return nil
    }

    private mutating func readFields(_ call: Call, _ index: Int) -> Bool {
        guard index + 1 < call.count, let count = call[index + 1].decimal, count >= 1,
            count <= Int64(Int32.max)
        else {
            call.reply.error("ERR invalid number of fields")
            return false
        }
        guard count * 2 == Int64(call.count - index - 2) else {
            call.refuseArity()
            return false
        }
        fields = stride(from: index + 2, to: call.count, by: 2)
        self.count = Int(count)
        return true
    }

    /// Whether the fields that are there allow the change.
    func allow(_ call: Call, _ hash: HashObject?) -> Bool {
        guard existence != .any else { return true }
        for index in fields {
            let exists = hash?.find(call[index], call.heap, now: call.fieldTime) != nil
            if exists != (existence == .all) { return false }
        }
        return true
    }
}

private func hsetex(_ call: Call) {
    guard let options = SetOptions.orReply(call) else { return }
    let key = call.key(1)
    var isFine = true
    let found = call.hashToChange(key, &isFine)
    guard isFine else { return }
    var deadline: Int64?
    if let form = options.form {
        guard let time = form.deadlineOrReply(call, options.timeIndex) else { return }
        deadline = time
    }
    guard options.allow(call, found?.hash) else {
        call.reply.integer(0)
        return
    }
    call.reply.integer(1)
    if let deadline, call.isOver(deadline) {
        deleteInstead(call, options, key, found?.entry)
        return
    }
    let isDone = call.withHash(key) { hash in
        for index in options.fields {
            var time = deadline
            if options.keepsTime { time = hash.expiry(of: call[index], call.heap) }
            hash.set(call[index], call[index + 1], call.heap, call.limits)
            if let time { hash.setExpiry(call[index], at: time, call.heap) }
        }
    }
    invariant(isDone, "the hash was there a moment ago")
    call.changed(.hash, "hset", key)
    call.executor.pointee.dirty &+= Int64(options.count - 1)
    if deadline != nil { call.signal(.hash, "hexpire", key) }
    rewrite(call, options, deadline)
}

/// Fields whose time is over are not set; those that were there go.
private func deleteInstead(
    _ call: Call, _ options: SetOptions, _ key: KeyRef, _ entry: Entry?
) {
    guard let entry else { return }
    var hash = HashObject(entry)
    call.keyspace.willChange(entry, key)
    var deleted: [Int] = []
    for index in options.fields where hash.remove(call[index], call.heap) {
        deleted.append(index)
    }
    hash.store(in: entry)
    guard !deleted.isEmpty else { return }
    call.executor.pointee.dirty &+= Int64(deleted.count)
    call.signal(.hash, "hdel", key)
    call.propagateFields("HDEL", key, isPlain: true, deleted)
    call.finishHash(hash, entry, key)
}

/// The condition was met, so it is not tested again.
private func rewrite(_ call: Call, _ options: SetOptions, _ deadline: Int64?) {
    let timeWords = deadline != nil ? 2 : options.keepsTime ? 1 : 0
    call.rewrite(4 + timeWords + options.count * 2) { stream in
        stream.argument("HSETEX")
        stream.argument(call[1])
        if let deadline {
            stream.argument("PXAT")
            stream.argument(decimal: deadline)
        } else if options.keepsTime {
            stream.argument("KEEPTTL")
        }
        stream.argument("FIELDS")
        stream.argument(decimal: Int64(options.count))
        for index in options.fields {
            stream.argument(call[index])
            stream.argument(call[index + 1])
        }
    }
}
