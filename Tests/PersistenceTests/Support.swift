import Base
import Persistence

/// The bytes of hexadecimal text.
func hex(_ text: String) -> [UInt8] {
    let digits = text.utf8.filter { $0 > 32 }.map { $0 < 58 ? $0 - 48 : ($0 | 32) - 87 }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

/// An item of a stream as a line of text, so that runs can be compared.
func describe(_ item: RDBItem) -> String {
    switch item {
    case .auxiliary(let name, let value): return "aux \(name.string)=\(value.string)"
    case .selectDatabase(let index): return "db \(index)"
    case .resize(let keys, let expires): return "resize \(keys) \(expires)"
    case .functionLibrary(let source): return "function \(source.string)"
    case .end(let checksum): return "end \(checksum)"
    case .entry(let entry):
        let value =
            switch entry.value {
            case .bytes(let bytes): "'\(bytes.string)'"
            case .integer(let number): "\(number)"
            case .payload(let bytes): "payload(\(bytes.count))"
            }
        var line = "\(entry.type) '\(entry.key.string)' = \(value)"
        if entry.attributes.expireAt != -1 { line += " expires \(entry.attributes.expireAt)" }
        if entry.attributes.idleSeconds != -1 { line += " idle \(entry.attributes.idleSeconds)" }
        if entry.attributes.frequency != -1 { line += " freq \(entry.attributes.frequency)" }
        return line
    }
}

/// What a reader makes of a stream that arrives in pieces.
struct Reading: Equatable {
    var items: [String] = []
    var error: RDBError?
    var isComplete = false
    var rest: [UInt8] = []
}

func read(
    _ bytes: [UInt8],
    decoders: ObjectDecoders = ObjectDecoders(),
    acceptsFunctions: Bool = false,
    piece: () -> Int
) -> Reading {
    var reader = RDBReader(decoders: decoders, acceptsFunctions: acceptsFunctions)
    var reading = Reading()
    var position = 0
    do throws(RDBError) {
        while position < bytes.count {
            let size = min(max(1, piece()), bytes.count - position)
            Array(bytes[position..<(position + size)]).withBytes { reader.feed($0) }
            position += size
            while let item = try reader.next() { reading.items.append(describe(item)) }
        }
        reading.isComplete = reader.isComplete
        if reader.isComplete { reading.rest = reader.rest.array }
        try reader.finish()
    } catch {
        reading.error = error
    }
    return reading
}

func readAtOnce(_ bytes: [UInt8], decoders: ObjectDecoders = ObjectDecoders()) -> Reading {
    read(bytes, decoders: decoders) { bytes.count }
}

/// Files that redis-server 7.0.15 saved.
enum Vectors {
    /// Strings of every encoding, an expiry, two databases.
    static let strings = hex(
        """
        524544495330303130fa0972656469732d76657206372e302e3135fa0a72656469732d62697473c040fa056374
        696d65c23b35036bfa08757365642d6d656dc2e03a1000fa08616f662d62617365c000fe00fb0a010005696e74
        36340a353030303030303030300005696e743332c290eefeff00046c656164033030370004696e7438c0fb0004
        6c6f6e67c30b40780361626361e06902016263fc7bd8c32cbb030000000365787001760005696e743136c1e803
        0005656d7074790000c13930066e756d6b65790004746578740568656c6c6ffe03fb010000056f74686572c07f
        ffbd6437de3086444b
        """)
    static let stringItems = [
        "aux redis-ver=7.0.15", "aux redis-bits=64", "aux ctime=1795372347",
        "aux used-mem=1063648", "aux aof-base=0", "db 0", "resize 10 1",
        "0 'int64' = '5000000000'", "0 'int32' = -70000", "0 'lead' = '007'", "0 'int8' = -5",
        "0 'long' = '\(String(repeating: "abc", count: 40))'",
        "0 'exp' = 'v' expires 4102444800123", "0 'int16' = 1000", "0 'empty' = ''",
        "0 '12345' = 'numkey'", "0 'text' = 'hello'", "db 3", "resize 1 0", "0 'other' = 127",
        "end verified",
    ]
    static let frequency = hex(
        """
        524544495330303130fa0972656469732d76657206372e302e3135fa0a72656469732d62697473c040fa056374
        696d65c23b35036bfa08757365642d6d656dc230f81000fa08616f662d62617365c000fe00fb0100f905000466
        7265710176fff097f71cd2db59cf
        """)
    static let idle = hex(
        """
        524544495330303130fa0972656469732d76657206372e302e3135fa0a72656469732d62697473c040fa056374
        696d65c23b35036bfa08757365642d6d656dc230f81000fa08616f662d62617365c000fe00fb0100f880006cfd
        350004667265710176ff972c143fbadbbd56
        """)
    /// Lists, sets, hashes and sorted sets.
    static let collections = hex(
        """
        524544495330303130fa0972656469732d76657206372e302e3135fa0a72656469732d62697473c040fa056374
        696d65c23b35036bfa08757365642d6d656dc2507d1200fa08616f662d62617365c000fe00fb08001102627a14
        140000000400816102010181620283322e3504ff0b0262730e0200000003000000010002000300020173030178
        017a017912016c010210100000000300816102816202c12c02ff0b0269730c0200000002000000010002001002
        626813130000000400816602817602816702817702ff10016813130000000400816602817602816702817702ff
        11017a14140000000400816102010181620283322e3504ffffe1a63e54094e31f4
        """)
    static let function = hex(
        """
        524544495330303130fa0972656469732d76657206372e302e3135fa0a72656469732d62697473c040fa056374
        696d65c23c35036bfa08757365642d6d656dc2b8db1200fa08616f662d62617365c000f5405023216c7561206e
        616d653d6d796c69620a72656469732e72656769737465725f66756e6374696f6e282766272c2066756e637469
        6f6e286b6579732c2061726773292072657475726e203120656e6429ffd6cec560987303d7
        """)
    /// DUMP of string keys: the value and the payload.
    static let dumps: [(value: String, payload: [UInt8])] = [
        ("-5", hex("00c0fb0a0049c4c6f4d7263f68")),
        ("1000", hex("00c1e8030a0089d1478ebac4b764")),
        ("-70000", hex("00c290eefeff0a002875de7b13eb2800")),
        ("5000000000", hex("000a353030303030303030300a0069a90fd57e0ff425")),
        ("hello", hex("000568656c6c6f0a006372df766534200a")),
        ("", hex("00000a005d9b5c400f7fa2da")),
        ("007", hex("00033030370a007258e27b4c69bad9")),
        (
            String(repeating: "abc", count: 40),
            hex("00c30b40780361626361e069020162630a00c494a1702ae23e06")
        ),
    ]
}
