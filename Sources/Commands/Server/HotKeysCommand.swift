// HOTKEYS: the keys that cost the most lately. Ours: the reference can only scan for keys that are
// often used, and only under an LFU policy.
import Base
import Engine
import RESP

extension Registry {
    mutating func registerHotKeysCommand() {
        command(
            "hotkeys", since: "7.2.0", arity: -1, [.admin, .loading, .stale],
            syntax: "[RESET] [BY <order: REQUESTS|BYTES|CPU>] [COUNT count:integer]",
            summary: "Returns the keys with the most requests, bytes or processor time lately",
            complexity: "O(1)",
            tips: """
            request_policy:all_nodes
            nondeterministic_output
            """
        ) { hotKeys(Call($0)) }
    }
}

private func hotKeys(_ call: Call) {
    if call.count == 2, call[1].matches("reset") {
        call.executor.pointee.hotKeys.reset(at: call.executor.pointee.now.instant)
        return call.reply.ok()
    }
    var order = HotKeyOrder.requests
    var count = 10
    var index = 1
    while index < call.count {
        guard index + 1 < call.count else { return call.reply.error(.syntax) }
        if call[index].matches("by") {
            guard let chosen = HotKeyOrder(word: call[index + 1]) else {
                return call.reply.error("ERR BY should be one of REQUESTS, BYTES, CPU")
            }
            order = chosen
        } else if call[index].matches("count") {
            guard let given = call.integerOrReply(index + 1) else { return }
            guard given > 0 else { return call.reply.error("ERR COUNT should be greater than 0") }
            count = Int(clamping: given)
        } else {
            return call.reply.error(.syntax)
        }
        index += 2
    }
    reply(call, order, count)
}

extension HotKeyOrder {
    fileprivate init?(word: Bytes) {
        if word.matches("requests") {
            self = .requests
        } else if word.matches("bytes") {
            self = .bytes
        } else if word.matches("cpu") {
            self = .time
        } else {
            return nil
        }
    }
}

private func reply(_ call: Call, _ order: HotKeyOrder, _ count: Int) {
    let executor = call.executor
    let keys = executor.pointee.hotKeys.hottest(
        order, count: count, at: executor.pointee.now.instant)
    call.reply.array(keys.count)
    for key in keys {
        call.reply.map(6)
        call.reply.bulk("key")
        call.reply.bulk(key.key)
        call.reply.bulk("db")
        call.reply.integer(key.database)
        call.reply.bulk("requests-per-sec")
        call.reply.integer(rounded(key.requests))
        call.reply.bulk("bytes-per-sec")
        call.reply.integer(rounded(key.bytes))
        call.reply.bulk("cpu-usec-per-sec")
        call.reply.integer(rounded(key.microseconds))
        call.reply.bulk("share-percent")
        call.reply.bulk(MemoryText.fixed(key.share * 100, 1))
    }
}

private func rounded(_ value: Double) -> Int { Int(min(value, 1e18) + 0.5) }
