// What a key costs. With `FOOTPRINT=keys` in the environment: prints counted and resident bytes per
// key of 16-byte keys and values, plain, with an expiry, and in slot tables; without it the same
// bounds are checked on fewer keys. Resident sizes are true only in an optimised process that runs
// one case, named by `FOOTPRINT_CASE`.
import Base
import Glibc
import Storage
import Testing

private func residentBytes() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 128)
    guard fgets(&line, 128, file) != nil else { return 0 }
    let text = String(decoding: line.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return (Int(text.split(separator: " ")[1]) ?? 0) * 4096
}

private struct Footprint {
    var counted: Double
    var resident: Double
    var nanoseconds: Double
}

private func measure(_ count: Int, slotted: Bool, spread: Int) -> Footprint {
    let before = residentBytes()
    let keyspace = Keyspace(databases: 1, slotted: slotted, sipKey: SipKey(1, 2))
    let empty = keyspace.memory.used
    var prng = Prng(seed: 9)
    var name = Array("key:000000000000".utf8)
    var start = timespec()
    clock_gettime(CLOCK_MONOTONIC, &start)
    for number in 0..<count {
        var rest = number
        for position in stride(from: 15, through: 4, by: -1) {
            name[position] = UInt8(48 + rest % 10)
            rest /= 10
        }
        name.withBytes { bytes in
            let expiry: ExpiryChange =
                spread == 0 ? .clear : .at(1_700_000_000_000 + Int64(prng.below(spread)))
            _ = keyspace.setString(
                keyspace.key(bytes, database: 0),
                Bytes("value of 16 byte"),
                expiry: expiry
            )
        }
    }
    var end = timespec()
    clock_gettime(CLOCK_MONOTONIC, &end)
    while keyspace.rehashSlice(buckets: 1 << 20) {}
    let time = Double((end.tv_sec - start.tv_sec) * 1_000_000_000 + end.tv_nsec - start.tv_nsec)
    let result = Footprint(
        counted: Double(keyspace.memory.used - empty) / Double(count),
        resident: Double(residentBytes() - before) / Double(count),
        nanoseconds: time / Double(count)
    )
    keyspace.destroy()
    return result
}

@Suite(.serialized) struct FootprintTests {
    @Test(arguments: [
        ("plain", false, 0), ("expiring, random times", false, 86_400_000),
        ("expiring, one time", false, 1), ("slotted", true, 0),
        ("slotted, expiring", true, 86_400_000),
    ])
    func bytesPerKey(name: String, slotted: Bool, spread: Int) {
        let wanted = getenv("FOOTPRINT").flatMap { Int(String(cString: $0)) }
        // Memory that an earlier case left behind would hide what this one takes.
        if let only = getenv("FOOTPRINT_CASE"), String(cString: only) != name { return }
        // 100,000 keys would leave most of the 16384 slot tables with a bucket of six keys.
        let count = wanted ?? 1 << (slotted ? 17 : 16)
        let found = measure(count, slotted: slotted, spread: spread)
        if wanted != nil {
            let line =
                "\(name): \(count) keys, counted \(found.counted) resident \(found.resident) "
                + "bytes, \(found.nanoseconds) ns per key\n"
            line.withBytes { _ = write(STDERR_FILENO, $0.base, $0.count) }
        }
        #expect(found.counted < (spread == 0 ? 68 : 84), "\(name)")
    }
}
