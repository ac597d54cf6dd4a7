// Reading lists of either form without changing them: LLEN, LINDEX, LRANGE, LPOS.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerListReadCommands() {
        command(
            "llen", since: "1.0.0", arity: 2, [.readonly, .fast], acl: [.list],
            keys: [.range(1, [.RO])],
            syntax: "key",
            summary: "Get the length of a list",
            complexity: "O(1)"
        ) { llen(Call($0)) }

        command(
            "lindex", since: "1.0.0", arity: 3, [.readonly], acl: [.list],
            keys: [.range(1, [.RO, .access])],
            syntax: "key index:integer",
            summary: "Get an element from a list by its index",
            complexity: """
            O(N) where N is the number of elements to traverse to get to the element at index. \
            This makes asking for the first or the last element of the list O(1).
            """
        ) { lindex(Call($0)) }

        command(
            "lrange", since: "1.0.0", arity: 4, [.readonly], acl: [.list],
            keys: [.range(1, [.RO, .access])],
            syntax: "key start:integer stop:integer",
            summary: "Get a range of elements from a list",
            complexity: """
            O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest \
            end (HEAD or TAIL) for large lists; and N is the number of elements in the specified \
            range.
            """
        ) { lrange(Call($0)) }

        command(
            "lpos", since: "6.0.6", arity: -3, [.readonly], acl: [.list],
            keys: [.range(1, [.RO, .access])],
            syntax: """
            key element [RANK rank:integer] [COUNT num-matches:integer] [MAXLEN len:integer]
            """,
            summary: "Return the index of matching elements on a list",
            complexity: """
            O(N) where N is the number of elements in the list, for the average case. When \
            searching for elements near the head or the tail of the list, or when the MAXLEN \
            option is provided, the command may run in constant time.
            """
        ) { lpos(Call($0)) }
    }
}

private func llen(_ call: Call) {
    guard let entry = call.lookupRead(call.key(1)) else { return call.reply.integer(0) }
    guard let list = call.listOrReply(entry) else { return }
    call.reply.integer(list.count)
}

private func lindex(_ call: Call) {
    guard let entry = call.lookupRead(call.key(1)) else { return call.reply.null() }
    guard let list = call.listOrReply(entry), let index = call.integerOrReply(2) else { return }
    guard let value = list[Int(index)] else { return call.reply.null() }
    call.reply.element(value)
}

private func lrange(_ call: Call) {
    guard let start = call.integerOrReply(2), let stop = call.integerOrReply(3) else { return }
    guard let entry = call.lookupRead(call.key(1)) else { return call.reply.array(0) }
    guard let list = call.listOrReply(entry) else { return }
    guard let range = listRange(start, stop, length: list.count) else {
        return call.reply.array(0)
    }
    let reply = call.reply
    reply.array(range.count)
    var elements = list.iterate(from: range.lowerBound)
    for _ in range {
        guard let value = elements.next() else { unreachable("a list lost elements") }
        reply.element(value)
    }
}

// MARK: LPOS

/// The options of LPOS.
private struct PositionRequest {
    /// Which match is the first that counts.
    var rank = 1
    var fromEnd = false
    /// How many matches; nil when the option is not given, 0 for all.
    var count: Int?
    /// How many elements are looked at; 0 for all.
    var length = 0

    /// nil after an error reply.
    init?(_ call: Call) {
        var index = 3
        while index < call.count {
            guard index + 1 < call.count else {
                call.reply.error(.syntax)
                return nil
            }
            guard parse(call, index) else { return nil }
            index += 2
        }
    }

    private mutating func parse(_ call: Call, _ index: Int) -> Bool {
        let option = call[index]
        if option.matches("rank") {
            guard let value = call.integerOrReply(index + 1) else { return false }
            if value == .min {
                call.reply.error(
                    "ERR value is out of range, value must between -9223372036854775807 and "
                        + "9223372036854775807")
                return false
            }
            if value == 0 {
                call.reply.error(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the "
                        + "second ... or use negative to start from the end of the list")
                return false
            }
            rank = Int(value.magnitude)
            fromEnd = value < 0
            return true
        }
        let error: ErrorReply
        if option.matches("count") {
            error = ErrorReply("ERR COUNT can't be negative")
        } else if option.matches("maxlen") {
            error = ErrorReply("ERR MAXLEN can't be negative")
        } else {
            call.reply.error(.syntax)
            return false
        }
        guard let value = call.integerOrReply(index + 1, error) else { return false }
        guard value >= 0 else {
            call.reply.error(error)
            return false
        }
        if option.matches("count") { count = Int(value) } else { length = Int(value) }
        return true
    }
}

private func lpos(_ call: Call) {
    guard let request = PositionRequest(call) else { return }
    guard let entry = call.lookupRead(call.key(1)) else {
        return request.count == nil ? call.reply.null() : call.reply.array(0)
    }
    guard let list = call.listOrReply(entry) else { return }
    // The number of matches is known at the end only.
    let scratch = call.executor.pointee.scratch
    let found = findPositions(list, Needle(call[2]), request, into: scratch)
    if request.count != nil {
        call.reply.array(found)
        call.reply.raw(scratch.pointee.bytes)
    } else if found == 0 {
        call.reply.null()
    } else {
        call.reply.raw(scratch.pointee.bytes)
    }
    scratch.pointee.removeAll()
}

/// Writes the positions that are asked for as integer replies; returns how many.
private func findPositions(
    _ list: ListObject, _ needle: Needle, _ request: PositionRequest,
    into out: UnsafeMutablePointer<Buffer>
) -> Int {
    let reply = ReplyWriter(out, version: 2)
    let length = list.count
    let wanted = request.count ?? 1
    let most = request.length == 0 ? length : min(length, request.length)
    var elements = list.iterate(
        from: request.fromEnd ? length - 1 : 0, isReverse: request.fromEnd)
    var matches = 0
    var found = 0
    for index in 0..<most {
        guard let value = elements.next() else { unreachable("a list lost elements") }
        guard needle.matches(value) else { continue }
        matches += 1
        guard matches >= request.rank else { continue }
        reply.integer(request.fromEnd ? length - 1 - index : index)
        found += 1
        if wanted > 0, found >= wanted { break }
    }
    return found
}
