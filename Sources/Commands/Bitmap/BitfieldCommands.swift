// BITFIELD and BITFIELD_RO: several reads and writes of integers inside one string. The arguments
// are read twice, first to find mistakes and the last bit that is written, then to be carried out,
// so that nothing is allocated and a mistake changes nothing.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerBitfieldCommands() {
        command(
            "bitfield", since: "3.2.0", arity: -2, [.write, .denyOOM], acl: [.bitmap],
            keys: [
                .range(1, [.RW, .update, .access, .variableFlags],
                    notes: "This command allows both access and modification of the key"),
            ],
            syntax: """
            key [operation: GET <encoding_offset: encoding offset:integer>|<write: [OVERFLOW \
            <wrap_sat_fail: WRAP|SAT|FAIL>] <write_operation: SET <encoding_offset_value: encoding \
            offset:integer value:integer>|INCRBY <encoding_offset_increment: encoding \
            offset:integer increment:integer>>>]...
            """,
            summary: "Perform arbitrary bitfield integer operations on strings",
            complexity: "O(1) for each subcommand specified",
            finder: bitfieldKeys
        ) { bitfield(Call($0)) }

        command(
            "bitfield_ro", since: "6.0.0", arity: -2, [.readonly, .fast], acl: [.bitmap],
            keys: [.range(1, [.RO, .access])],
            syntax: "key [GET... <encoding_offset: encoding offset:integer>]",
            summary: """
            Perform arbitrary bitfield integer operations on strings. Read-only variant of \
            BITFIELD
            """,
            complexity: "O(1) for each subcommand specified"
        ) { bitfieldReadOnly(Call($0)) }
    }
}

// MARK: Reading the arguments

private struct BitfieldOperation {
    enum Kind { case get, set, increment }
    let kind: Kind
    let type: BitFieldType
    let offset: Int
    let operand: Int64
    let overflow: BitOverflow
    var lastBit: Int { offset &+ type.width &- 1 }
}

/// Walks through the operations of a call.
private struct BitfieldReader {
    let call: Call
    var position = 2
    var overflow = BitOverflow.wrap

    init(_ call: Call) { self.call = call }

    enum Step {
        case operation(BitfieldOperation)
        case end
        /// An error was replied.
        case refused
    }

    mutating func next() -> Step {
        while position < call.count {
            let word = call[position]
            let left = call.count - position - 1
            if word.matches("overflow"), left >= 1 {
                guard let chosen = BitOverflow(call[position + 1]) else {
                    call.reply.error(ErrorReply("ERR Invalid OVERFLOW type specified"))
                    return .refused
                }
                overflow = chosen
                position += 2
                continue
            }
            if word.matches("get"), left >= 2 { return operation(.get) }
            if word.matches("set"), left >= 3 { return operation(.set) }
            if word.matches("incrby"), left >= 3 { return operation(.increment) }
            call.reply.error(.syntax)
            return .refused
        }
        return .end
    }

    private mutating func operation(_ kind: BitfieldOperation.Kind) -> Step {
        guard let type = BitFieldType(call[position + 1]) else {
            call.reply.error(
                ErrorReply(
                    """
                    ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not \
                    supported but i64 is.
                    """))
            return .refused
        }
        guard let offset = call.bitOffsetOrReply(position + 2, fieldWidth: type.width) else {
            return .refused
        }
        var operand: Int64 = 0
        if kind != .get {
            guard let value = call.integerOrReply(position + 3) else { return .refused }
            operand = value
        }
        position += kind == .get ? 3 : 4
        return .operation(
            BitfieldOperation(
                kind: kind, type: type, offset: offset, operand: operand, overflow: overflow))
    }
}

/// Whether BITFIELD only reads its key depends on the arguments.
private func bitfieldKeys(_ arguments: UnsafePointer<Bytes>, _ count: Int) -> [KeyPosition]? {
    guard count > 1 else { return nil }
    let writes = KeyPosition(index: 1, flags: [.RW, .access, .update])
    var index = 2
    while index < count {
        let left = count - index - 1
        if arguments[index].matches("get"), left >= 2 {
            index += 3
        } else if arguments[index].matches("overflow"), left >= 1 {
            index += 2
        } else {
            return [writes]
        }
    }
    return [KeyPosition(index: 1, flags: [.RO, .access])]
}

// MARK: Carrying them out

private func bitfield(_ call: Call) { run(call, mayWrite: true) }

private func bitfieldReadOnly(_ call: Call) { run(call, mayWrite: false) }

private func run(_ call: Call, mayWrite: Bool) {
    var count = 0
    var lastWritten = -1
    var reader = BitfieldReader(call)
    reading: while true {
        switch reader.next() {
        case .refused: return
        case .end: break reading
        case .operation(let operation):
            count += 1
            if operation.kind != .get { lastWritten = max(lastWritten, operation.lastBit) }
        }
    }
    guard lastWritten >= 0 else {
        read(call, count)
        return
    }
    guard mayWrite else {
        call.reply.error(ErrorReply("ERR BITFIELD_RO only supports the GET subcommand"))
        return
    }
    write(call, count, lastWritten)
}

private func read(_ call: Call, _ count: Int) {
    guard let entry = call.lookupRead(call.key(1)) else {
        execute(call, count, .empty)
        return
    }
    guard let string = call.stringOrReply(entry) else { return }
    withBytes(of: string) { execute(call, count, $0) }
}

private func execute(_ call: Call, _ count: Int, _ bytes: Bytes) {
    call.reply.array(count)
    var reader = BitfieldReader(call)
    while case .operation(let operation) = reader.next() {
        invariant(operation.kind == .get, "a write among reads")
        get(call, operation, bytes)
    }
}

@inline(__always)
private func get(_ call: Call, _ operation: BitfieldOperation, _ bytes: Bytes) {
    let type = operation.type
    let bits = readBits(bytes.base, bytes.count, at: operation.offset, width: type.width)
    call.reply.integer(type.value(bits))
}

private func write(_ call: Call, _ count: Int, _ lastBit: Int) {
    let key = call.key(1)
    guard let (bytes, grew) = call.growForBitOrReply(key, last: lastBit) else { return }
    guard let entry = call.keyspace.find(key) else { unreachable("the string was just made") }
    let length = entry.stringLength
    invariant(lastBit < length &<< 3, "the string is too short")
    call.reply.array(count)
    var changes: Int64 = 0
    var reader = BitfieldReader(call)
    while case .operation(let operation) = reader.next() {
        if operation.kind == .get {
            get(call, operation, Bytes(UnsafePointer(bytes), length))
        } else if change(call, operation, bytes, length) || grew {
            // A string that grew has changed, even if no value in it has: replicas need it too.
            changes += 1
        }
    }
    guard changes > 0 else { return }
    call.signal(.string, "setbit", key)
    call.executor.pointee.dirty &+= changes
}

/// Carries out SET or INCRBY and answers; true when the field has another value now.
private func change(
    _ call: Call, _ operation: BitfieldOperation, _ bytes: UnsafeMutablePointer<UInt8>,
    _ length: Int
) -> Bool {
    let type = operation.type
    let old = type.value(
        readBits(UnsafePointer(bytes), length, at: operation.offset, width: type.width))
    let isSet = operation.kind == .set
    let new =
        isSet
        ? type.fitted(operation.operand, operation.overflow)
        : type.sum(old, operation.operand, operation.overflow)
    guard let new else {
        call.reply.null()
        return false
    }
    writeBits(bytes, at: operation.offset, width: type.width, type.bits(new))
    call.reply.integer(isSet ? old : new)
    return new != old
}
