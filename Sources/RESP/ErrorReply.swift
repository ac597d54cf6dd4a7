// Every error line that more than one command can give, once. Texts are the reference's; clients
// and its test suite compare them.
import Base

/// An error line without its `-` and line end.
public struct ErrorReply: Sendable {
    public let text: StaticString

    @inline(__always)
    public init(_ text: StaticString) { self.text = text }

    public static let syntax = ErrorReply("ERR syntax error")
    public static let wrongType = ErrorReply(
        "WRONGTYPE Operation against a key holding the wrong kind of value")
    public static let noSuchKey = ErrorReply("ERR no such key")
    public static let notInteger = ErrorReply("ERR value is not an integer or out of range")
    public static let notFloat = ErrorReply("ERR value is not a valid float")
    public static let outOfRange = ErrorReply("ERR index out of range")
    public static let overflow = ErrorReply("ERR increment or decrement would overflow")
    public static let notPositive = ErrorReply("ERR value is out of range, must be positive")
    public static let sameObject = ErrorReply(
        "ERR source and destination objects are the same")
    public static let dbIndex = ErrorReply("ERR DB index is out of range")
    public static let invalidDatabase = ErrorReply("ERR invalid DB index")
    public static let tooLong = ErrorReply(
        "ERR string exceeds maximum allowed size (proto-max-bulk-len)")
    public static let noAuth = ErrorReply("NOAUTH Authentication required.")
    public static let wrongPass = ErrorReply(
        "WRONGPASS invalid username-password pair or user is disabled.")
    public static let readOnly = ErrorReply("READONLY You can't write against a read only replica.")
    public static let outOfMemory = ErrorReply(
        "OOM command not allowed when used memory > 'maxmemory'.")
    public static let loading = ErrorReply("LOADING Redis is loading the dataset in memory")
    public static let masterDown = ErrorReply(
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")
    public static let noReplicas = ErrorReply(
        "NOREPLICAS Not enough good replicas to write.")
    public static let saveFailed = ErrorReply(
        """
        MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist \
        to disk. Commands that may modify the data set are disabled, because this instance is \
        configured to report errors during writes if RDB snapshotting fails \
        (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the \
        RDB error.
        """)
    public static let execAbort = ErrorReply(
        "EXECABORT Transaction discarded because of previous errors.")
    public static let busyKey = ErrorReply("BUSYKEY Target key name already exists.")
    public static let noProto = ErrorReply("NOPROTO unsupported protocol version")
    public static let clusterDisabled = ErrorReply(
        "ERR This instance has cluster support disabled")
    public static let crossSlot = ErrorReply(
        "CROSSSLOT Keys in request don't hash to the same slot")
    public static let tryAgain = ErrorReply(
        "TRYAGAIN Multiple keys request during rehashing of slot")
    public static let clusterDown = ErrorReply("CLUSTERDOWN The cluster is down")
    public static let clusterDownUnbound = ErrorReply("CLUSTERDOWN Hash slot not served")
    public static let clusterDownReadOnly = ErrorReply(
        "CLUSTERDOWN The cluster is down and only accepts read commands")
}

extension ReplyWriter {
    @inline(never)
    public func error(_ reply: ErrorReply) { error(reply.text) }

    /// An error line from its text, code first.
    @inline(never)
    public func error(_ text: StaticString) {
        out.pointee.append(UInt8(ascii: "-"))
        out.pointee.append(Bytes(text))
        out.pointee.append("\r\n")
    }

    /// As above; line ends inside `text` become spaces, for they would break the protocol.
    @inline(never)
    @_disfavoredOverload
    public func error(_ text: String) { error(Array(text.utf8)) }

    /// As above for text that repeats a client's bytes, which need not be UTF-8.
    @inline(never)
    public func error(_ text: [UInt8]) {
        out.pointee.append(UInt8(ascii: "-"))
        for byte in text {
            out.pointee.append(byte == 13 || byte == 10 ? 32 : byte)
        }
        out.pointee.append("\r\n")
    }
}
