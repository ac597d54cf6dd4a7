// Taking elements from the ends: LPOP, RPOP, LMPOP, and BLPOP, BRPOP, BLMPOP, which wait until
// there is one. A pop that waited is propagated as the plain pop that it became.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerListPopCommands() {
        command(
            "lpop", since: "1.0.0", arity: -2, [.write, .fast], acl: [.list],
            keys: [.range(1, [.RW, .access, .delete])],
            syntax: "key [count:integer]{6.2.0}",
            summary: "Remove and get the first elements in a list",
            complexity: "O(N) where N is the number of elements returned",
            history: "6.2.0 Added the `count` argument."
        ) { lpop(Call($0)) }

        command(
            "rpop", since: "1.0.0", arity: -2, [.write, .fast], acl: [.list],
            keys: [.range(1, [.RW, .access, .delete])],
            syntax: "key [count:integer]{6.2.0}",
            summary: "Remove and get the last elements in a list",
            complexity: "O(N) where N is the number of elements returned",
            history: "6.2.0 Added the `count` argument."
        ) { rpop(Call($0)) }

        command(
            "lmpop", since: "7.0.0", arity: -4, [.write], acl: [.list],
            keys: [
                KeySpec(.index(1), .keyNumber(at: 0, first: 1, step: 1), [.RW, .access, .delete]),
            ],
            syntax: "numkeys:integer key... <where: LEFT|RIGHT> [COUNT count:integer]",
            summary: "Pop elements from a list",
            complexity: """
            O(N+M) where N is the number of provided keys and M is the number of elements \
            returned.
            """
        ) { lmpop(Call($0)) }

        command(
            "blpop", since: "2.0.0", arity: -3, [.write, .noScript, .blocking], acl: [.list],
            keys: [.range(1, [.RW, .access, .delete], last: -2)],
            syntax: "key... timeout:double",
            summary: """
            Remove and get the first element in a list, or block until one is available
            """,
            complexity: "O(N) where N is the number of provided keys.",
            history: "6.0.0 `timeout` is interpreted as a double instead of an integer."
        ) { blpop(Call($0)) }

        command(
            "brpop", since: "2.0.0", arity: -3, [.write, .noScript, .blocking], acl: [.list],
            keys: [.range(1, [.RW, .access, .delete], last: -2)],
            syntax: "key... timeout:double",
            summary: """
            Remove and get the last element in a list, or block until one is available
            """,
            complexity: "O(N) where N is the number of provided keys.",
            history: "6.0.0 `timeout` is interpreted as a double instead of an integer."
        ) { brpop(Call($0)) }

        command(
            "blmpop", since: "7.0.0", arity: -5, [.write, .blocking], acl: [.list],
            keys: [
                KeySpec(.index(2), .keyNumber(at: 0, first: 1, step: 1), [.RW, .access, .delete]),
            ],
            syntax: """
            timeout:double numkeys:integer key... <where: LEFT|RIGHT> [COUNT count:integer]
            """,
            summary: "Pop elements from a list, or block until one is available",
            complexity: """
            O(N+M) where N is the number of provided keys and M is the number of elements \
            returned.
            """
        ) { blmpop(Call($0)) }
    }
}

// MARK: LPOP, RPOP

private func lpop(_ call: Call) { pop(call, atFront: true) }
private func rpop(_ call: Call) { pop(call, atFront: false) }

private func pop(_ call: Call, atFront: Bool) {
    guard call.count <= 3 else { return call.refuseArity() }
    let takesCount = call.count == 3
    var wanted = 1
    if takesCount {
        guard let count = call.integerOrReply(2, .notPositive) else { return }
        guard count >= 0 else { return call.reply.error(.notPositive) }
        wanted = Int(count)
    }
    let key = call.key(1)
    guard let entry = call.lookupWrite(key) else {
        return takesCount ? call.reply.nullArray() : call.reply.null()
    }
    guard let list = call.listOrReply(entry) else { return }
    if wanted == 0 { return call.reply.array(0) }
    if takesCount {
        call.takeRange(list, key, wanted, atFront: atFront)
    } else {
        call.takeOne(list, key, atFront: atFront)
    }
}

extension Call {
    /// Answers with the element at an end and removes it.
    func takeOne(_ found: ListObject, _ key: KeyRef, atFront: Bool) {
        guard let value = found[atFront ? 0 : -1] else { unreachable("a key with an empty list") }
        reply.element(value)
        let list = willChange(found, key)
        list.pop(atFront: atFront)
        tookElements(list, key, 1, atFront: atFront)
    }

    /// Answers with up to `wanted` elements from an end, outermost first, and removes them.
    /// Returns how many there were.
    @discardableResult
    func takeRange(_ found: ListObject, _ key: KeyRef, _ wanted: Int, atFront: Bool) -> Int {
        let length = found.count
        let number = min(wanted, length)
        invariant(number > 0, "nothing is taken")
        reply.array(number)
        var elements = found.iterate(from: atFront ? 0 : length - 1, isReverse: !atFront)
        for _ in 0..<number {
            guard let value = elements.next() else { unreachable("a list lost elements") }
            reply.element(value)
        }
        let list = willChange(found, key)
        list.remove(from: atFront ? 0 : length - number, count: number)
        tookElements(list, key, number, atFront: atFront)
        return number
    }

    /// What follows the removal of elements at an end: events, the end of an empty list.
    func tookElements(_ list: ListObject, _ key: KeyRef, _ number: Int, atFront: Bool) {
        executor.pointee.dirty &+= Int64(number)
        let isEmpty = list.count == 0
        if !isEmpty { list.didShrink() }
        signal(.list, atFront ? "lpop" : "rpop", key)
        if isEmpty { removeEmptied(key) }
    }
}

// MARK: From the first of several keys

private func lmpop(_ call: Call) {
    guard let request = PopRequest(call, keyCountAt: 1) else { return }
    if !popRange(call, request) { call.reply.nullArray() }
}

private func blmpop(_ call: Call) {
    guard let request = PopRequest(call, keyCountAt: 2),
        let deadline = call.timeoutOrReply(1, .seconds)
    else { return }
    if popRange(call, request) { return }
    wait(call, request.keys, deadline)
}

/// The arguments of LMPOP: keys, an end, a count.
private struct PopRequest {
    let keys: Range<Int>
    let atFront: Bool
    var wanted = 1

    /// nil after an error reply.
    init?(_ call: Call, keyCountAt place: Int) {
        let badCount = ErrorReply("ERR numkeys should be greater than 0")
        guard let number = call.integerOrReply(place, badCount) else { return nil }
        guard number > 0 else {
            call.reply.error(badCount)
            return nil
        }
        guard number < Int64(call.count - place - 1) else {
            call.reply.error(.syntax)
            return nil
        }
        keys = (place + 1)..<(place + 1 + Int(number))
        guard let atFront = call.listEndOrReply(keys.upperBound) else { return nil }
        self.atFront = atFront
        var index = keys.upperBound + 1
        var hasCount = false
        while index < call.count {
            guard !hasCount, call[index].matches("count"), index + 1 < call.count else {
                call.reply.error(.syntax)
                return nil
            }
            let error = ErrorReply("ERR count should be greater than 0")
            guard let count = call.integerOrReply(index + 1, error) else { return nil }
            guard count > 0 else {
                call.reply.error(error)
                return nil
            }
            wanted = Int(count)
            hasCount = true
            index += 2
        }
    }
}

/// Takes from the first key that has a list; false when none has. An error is an answer too.
private func popRange(_ call: Call, _ request: PopRequest) -> Bool {
    for index in request.keys {
        let key = call.key(index)
        guard let entry = call.lookupWrite(key) else { continue }
        guard let list = call.listOrReply(entry) else { return true }
        call.reply.array(2)
        call.reply.bulk(call[index])
        let number = call.takeRange(list, key, request.wanted, atFront: request.atFront)
        call.rewrite(3) {
            $0.argument(Bytes(request.atFront ? "LPOP" : "RPOP"))
            $0.argument(call[index])
            $0.argument(decimal: Int64(number))
        }
        return true
    }
    return false
}

// MARK: BLPOP, BRPOP

private func blpop(_ call: Call) { blockingPop(call, atFront: true) }
private func brpop(_ call: Call) { blockingPop(call, atFront: false) }

private func blockingPop(_ call: Call, atFront: Bool) {
    let keys = 1..<(call.count - 1)
    guard let deadline = call.timeoutOrReply(call.count - 1, .seconds) else { return }
    for index in keys {
        let key = call.key(index)
        guard let entry = call.lookupWrite(key) else { continue }
        guard let list = call.listOrReply(entry) else { return }
        call.reply.array(2)
        call.reply.bulk(call[index])
        call.takeOne(list, key, atFront: atFront)
        call.rewrite(2) {
            $0.argument(Bytes(atFront ? "LPOP" : "RPOP"))
            $0.argument(call[index])
        }
        return
    }
    wait(call, keys, deadline)
}

/// Nothing there: waits, or answers at once where that is impossible.
private func wait(_ call: Call, _ keys: Range<Int>, _ deadline: BlockDeadline) {
    if call.mayNotBlock { return call.reply.nullArray() }
    call.block(on: keys, holding: .list, until: deadline)
}
