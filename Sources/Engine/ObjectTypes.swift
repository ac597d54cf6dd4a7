// The types of values that the linked families registered: what the keyspace must do with them and
// how they are written down. Collected once by the registry; every keyspace of the node, also one
// that is being loaded beside the data in force, gets the same.
import Base
import Persistence
import Storage

public struct ObjectTypes {
    private struct Registered {
        let type: ValueType
        let operations: ObjectType
    }
    private var all: [Registered] = []
    /// For the readers and writers of RDB.
    public private(set) var formats = ObjectFormats()

    public init() {}

    mutating func insert(_ type: ValueType, _ operations: ObjectType, _ format: ObjectFormat) {
        invariant(type != .string, "strings are built in")
        invariant(operations.free != nil && operations.copy != nil, "a type without its operations")
        all.append(Registered(type: type, operations: operations))
        formats.insert(format, for: type)
    }

    /// Tells a keyspace what to do with values of these types.
    public func register(in keyspace: Keyspace) {
        for each in all { keyspace.register(each.type, each.operations) }
    }
}
