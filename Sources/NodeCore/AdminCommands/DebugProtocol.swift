// DEBUG ERROR and DEBUG PROTOCOL: a sample of every kind of reply, for tests of clients.
import Base
import Engine
import RESP

/// False when the subcommand is another.
func debugReplies(_ call: Call) -> Bool {
    switch (call[1].string.lowercased(), call.count) {
    case ("error", 3): call.reply.error(call[2].string)
    case ("protocol", 3): debugProtocol(call)
    default: return false
    }
    return true
}

private func debugProtocol(_ call: Call) {
    let reply = call.reply
    switch call[2].string.lowercased() {
    case "string": reply.bulk("Hello World")
    case "integer": reply.integer(12345)
    case "double": reply.double(3.141)
    case "bignum": reply.bigNumber("1234567999999999999999999999999999999")
    case "null": reply.null()
    case "true": reply.boolean(true)
    case "false": reply.boolean(false)
    case "verbatim": reply.verbatim("This is a verbatim\nstring")
    case "array":
        reply.array(3)
        for number in 0..<3 { reply.integer(number) }
    case "set":
        reply.set(3)
        for number in 0..<3 { reply.integer(number) }
    case "map":
        reply.map(3)
        for number in 0..<3 {
            reply.integer(number)
            reply.boolean(number == 1)
        }
    case "attrib":
        if reply.version >= 3 {
            reply.attribute(1)
            reply.bulk("key-popularity")
            reply.array(2)
            reply.bulk("key:123")
            reply.integer(90)
        }
        // An attribute is no reply: one must follow.
        reply.bulk("Some real reply following the attribute")
    case "push":
        guard reply.version >= 3 else {
            return reply.error("ERR RESP2 is not supported by this command" as StaticString)
        }
        reply.push(2)
        reply.bulk("server-cpu-usage")
        reply.integer(42)
        reply.bulk("Some real reply following the push reply")
    default:
        reply.error(
            """
            ERR Wrong protocol type name. Please use one of the following: \
            string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false
            """ as StaticString)
    }
}
