// The names of value types, as TYPE answers and SCAN takes them.
import Base
import Storage

extension ValueType {
    private static var named: [(ValueType, StaticString)] {
        [
            (.string, "string"), (.list, "list"), (.set, "set"), (.sortedSet, "zset"),
            (.hash, "hash"), (.stream, "stream"),
        ]
    }

    var name: StaticString {
        if self == .string { return "string" }
        return ValueType.named.first { $0.0 == self }?.1 ?? "module"
    }

    /// The type of this name without regard to case; nil when there is none.
    init?(name: Bytes) {
        guard let found = ValueType.named.first(where: { name.matches($0.1) }) else { return nil }
        self = found.0
    }
}
