// Moving an element from one list to another, or around in the same: LMOVE, RPOPLPUSH, and BLMOVE,
// BRPOPLPUSH, which wait for one.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerListMoveCommands() {
        command(
            "lmove", since: "6.2.0", arity: 5, [.write, .denyOOM], acl: [.list],
            keys: [.range(1, [.RW, .access, .delete]), .range(2, [.RW, .insert])],
            syntax: """
            source:key destination:key <wherefrom: LEFT|RIGHT> <whereto: LEFT|RIGHT>
            """,
            summary: "Pop an element from a list, push it to another list and return it",
            complexity: "O(1)"
        ) { lmove(Call($0)) }

        command(
            "rpoplpush", since: "1.2.0", arity: 3, [.write, .denyOOM], acl: [.list],
            keys: [.range(1, [.RW, .access, .delete]), .range(2, [.RW, .insert])],
            syntax: "source:key destination:key",
            summary: """
            Remove the last element in a list, prepend it to another list and return it
            """,
            complexity: "O(1)",
            deprecated: "6.2.0 `LMOVE` with the `RIGHT` and `LEFT` arguments"
        ) { rpoplpush(Call($0)) }

        command(
            "blmove", since: "6.2.0", arity: 6, [.write, .denyOOM, .noScript, .blocking],
            acl: [.list], keys: [.range(1, [.RW, .access, .delete]), .range(2, [.RW, .insert])],
            syntax: """
            source:key destination:key <wherefrom: LEFT|RIGHT> <whereto: LEFT|RIGHT> \
            timeout:double
            """,
            summary: """
            Pop an element from a list, push it to another list and return it; or block until one \
            is available
            """,
            complexity: "O(1)"
        ) { blmove(Call($0)) }

        command(
            "brpoplpush", since: "2.2.0", arity: 4, [.write, .denyOOM, .noScript, .blocking],
            acl: [.list], keys: [.range(1, [.RW, .access, .delete]), .range(2, [.RW, .insert])],
            syntax: "source:key destination:key timeout:double",
            summary: """
            Pop an element from a list, push it to another list and return it; or block until one \
            is available
            """,
            complexity: "O(1)",
            history: "6.0.0 `timeout` is interpreted as a double instead of an integer.",
            deprecated: "6.2.0 `BLMOVE` with the `RIGHT` and `LEFT` arguments"
        ) { brpoplpush(Call($0)) }
    }
}

private func lmove(_ call: Call) {
    guard let fromFront = call.listEndOrReply(3), let toFront = call.listEndOrReply(4) else {
        return
    }
    move(call, fromFront: fromFront, toFront: toFront)
}

private func rpoplpush(_ call: Call) { move(call, fromFront: false, toFront: true) }

private func blmove(_ call: Call) {
    guard let fromFront = call.listEndOrReply(3), let toFront = call.listEndOrReply(4),
        let deadline = call.timeoutOrReply(5, .seconds)
    else { return }
    guard moveOrWait(call, fromFront: fromFront, toFront: toFront, deadline) else { return }
    call.propagate(as: "LMOVE", call[1], call[2], call[3], call[4])
}

private func brpoplpush(_ call: Call) {
    guard let deadline = call.timeoutOrReply(3, .seconds),
        moveOrWait(call, fromFront: false, toFront: true, deadline)
    else { return }
    call.propagate(as: "RPOPLPUSH", call[1], call[2])
}

/// True when an element was moved.
private func moveOrWait(
    _ call: Call, fromFront: Bool, toFront: Bool, _ deadline: BlockDeadline
) -> Bool {
    guard call.lookupWrite(call.key(1)) == nil else {
        return move(call, fromFront: fromFront, toFront: toFront)
    }
    if call.mayNotBlock {
        call.reply.null()
    } else {
        call.block(on: 1..<2, holding: .list, until: deadline)
    }
    return false
}

/// Moves one element and answers with it. Both keys may be the same. True when there was one.
@discardableResult
private func move(_ call: Call, fromFront: Bool, toFront: Bool) -> Bool {
    let source = call.key(1)
    let target = call.key(2)
    guard let sourceEntry = call.lookupWrite(source) else {
        call.reply.null()
        return false
    }
    guard call.listOrReply(sourceEntry) != nil else { return false }
    let targetEntry = call.lookupWrite(target)
    if let targetEntry, call.listOrReply(targetEntry) == nil { return false }
    // An element of its own: the list that it is in changes while it is on its way.
    let scratch = call.executor.pointee.scratch
    call.keepEndOfList(source, atFront: fromFront, in: scratch)
    let element = scratch.pointee.bytes
    call.reply.bulk(element)

    if call[1] == call[2] {
        rotate(call, source, element, fromFront: fromFront, toFront: toFront)
    } else {
        put(call, target, element, atFront: toFront)
        guard let entry = call.keyspace.find(source) else { unreachable("the source is gone") }
        let list = call.willChange(call.list(entry), source)
        list.pop(atFront: fromFront)
        call.tookElements(list, source, 1, atFront: fromFront)
    }
    scratch.pointee.removeAll()
    return true
}

/// Adds the element to the target, which is created if need be.
private func put(_ call: Call, _ target: KeyRef, _ element: Bytes, atFront: Bool) {
    guard let list = call.listForChangeOrReply(call.keyspace.find(target), target) else {
        unreachable("the target was a list")
    }
    list.willGrow(bytes: element.count, count: 1)
    list.push(element, atFront: atFront)
    call.signal(.list, atFront ? "lpush" : "rpush", target)
}

/// From one end of a list to the other, or back to where it was. The list is never empty between.
private func rotate(
    _ call: Call, _ key: KeyRef, _ element: Bytes, fromFront: Bool, toFront: Bool
) {
    guard let entry = call.keyspace.find(key) else { unreachable("the source is gone") }
    let list = call.willChange(call.list(entry), key)
    list.pop(atFront: fromFront)
    list.willGrow(bytes: element.count, count: 1)
    list.push(element, atFront: toFront)
    call.signal(.list, toFront ? "lpush" : "rpush", key)
    call.tookElements(list, key, 1, atFront: fromFront)
}
