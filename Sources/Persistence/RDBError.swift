// What can be wrong with an RDB stream or a DUMP payload. Each case says what and where, since the
// reader of the message decides between repairing, skipping and restoring a backup.
import Base

public struct RDBError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Reason: Sendable, Equatable {
        case notAnRDB
        case unsupportedVersion(Int)
        case unknownOpcode(UInt8)
        /// A type that no decoder is registered for. The key is repaired UTF-8.
        case unsupportedType(code: UInt8, name: String, key: String)
        /// A library of functions, which need scripting.
        case functionLibrary(name: String)
        /// A library of functions that cannot be loaded, and why.
        case invalidFunctions(String)
        /// Data of a loadable module.
        case moduleData(name: String)
        case tooLarge(what: String, size: UInt64, limit: UInt64)
        case damagedString
        case damagedLength
        case damagedValue(type: UInt8, key: String)
        case invalidDatabase(UInt64)
        case invalidExpiry(Int64)
        case checksumMismatch(expected: UInt64, found: UInt64)
        /// The input ended in the middle.
        case truncated
    }

    public var reason: Reason
    /// Bytes of the stream before the item in which the damage shows.
    public var offset: Int

    public init(_ reason: Reason, at offset: Int = 0) {
        self.reason = reason
        self.offset = offset
    }

    public var description: String {
        let text =
            switch reason {
            case .notAnRDB: "Wrong signature trying to load DB from file"
            case .unsupportedVersion(let version): "Can't handle RDB format version \(version)"
            case .unknownOpcode(let code): "Unknown RDB opcode or type \(code)"
            case .unsupportedType(let code, let name, let key):
                "Key '\(key)' holds a value of type \(name) (code \(code)), which is not supported"
            case .functionLibrary(let name):
                "Function library '\(name)': functions are not supported"
            case .invalidFunctions(let problem): "Failed creating the functions: \(problem)"
            case .moduleData(let name):
                "Data of the module '\(name)', which is not loaded"
            case .tooLarge(let what, let size, let limit):
                "A \(what) of \(size) bytes is larger than the limit of \(limit)"
            case .damagedString: "A damaged string"
            case .damagedLength: "A damaged length"
            case .damagedValue(let type, let key):
                "A damaged value of type \(RDBType.name(type) ?? "\(type)") in key '\(key)'"
            case .invalidDatabase(let index): "An invalid database number \(index)"
            case .invalidExpiry(let time): "An invalid expiry time \(time)"
            case .checksumMismatch(let expected, let found):
                "RDB CRC error: wrong RDB checksum expected: (\(String(expected, radix: 16))) "
                    + "but got (\(String(found, radix: 16)))"
            case .truncated: "Unexpected EOF reading RDB file"
            }
        return "\(text) (at byte \(offset))"
    }
}
