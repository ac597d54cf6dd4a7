// placeholder to be replaced
import Base
import Glibc
struct ExpiryIndex {
    var count = 0
    var sum: Int128 = 0
    var items: UnsafeMutablePointer<UnsafeMutableRawPointer>?
    var capacity = 0
    func mayHold(before now: Int64) -> Bool { count > 0 }
    mutating func first() -> Entry? {
        guard let items, count > 0 else { return nil }
        var best = 0
        for i in 1..<max(count, 1) where Entry(items[i]).expiresAt < Entry(items[best]).expiresAt {
            best = i
        }
        return Entry(items[best])
    }
    mutating func insert(_ entry: Entry) {
        if count == capacity {
            capacity = max(8, capacity * 2)
            items = realloc(items, capacity * 8)?.assumingMemoryBound(
                to: UnsafeMutableRawPointer.self)
        }
        items?[count] = entry.base
        count += 1
        sum += Int128(entry.expiresAt)
    }
    mutating func remove(_ entry: Entry) {
        guard let items else { return }
        for i in 0..<count where items[i] == entry.base {
            items[i] = items[count - 1]
            count -= 1
            sum -= Int128(entry.expiresAt)
            return
        }
    }
    mutating func removeAll() { count = 0; sum = 0; free(items); items = nil; capacity = 0 }
}
extension ExpiryIndex {
    func random(_ prng: inout Prng) -> Entry? {
        guard let items, count > 0 else { return nil }
        return Entry(items[prng.below(count)])
    }
}
extension ExpiryIndex {
    func checkInvariants() {}
}
