// The name of a history of writes: 40 characters drawn at random when a primary starts one. Two
// nodes with the same ID and offset hold the same data. Replicas inherit the ID of their primary.
import Base

public struct ReplicationID: Hashable, Sendable, CustomStringConvertible {
    public static let length = 40

    /// The 40 characters.
    public let text: String

    /// No history: what the reference shows as forty zeros.
    public static let none = ReplicationID(trusted: String(repeating: "0", count: length))

    private init(trusted: String) { text = trusted }

    /// The ID in `text`; nil unless it is 40 letters and digits. IDs come from peers and end up in
    /// log lines and INFO, so nothing else is let in.
    public init?(_ text: String) {
        guard text.utf8.count == Self.length, text.utf8.allSatisfy(isLetterOrDigit) else {
            return nil
        }
        self.text = text
    }

    /// A new ID.
    public static func random(_ prng: inout Prng) -> ReplicationID {
        ReplicationID(trusted: prng.hex(length))
    }

    public var description: String { text }

    /// Equal to what a peer sent, without regard to case as in the reference.
    public func matches(_ other: String) -> Bool {
        guard other.utf8.count == Self.length else { return false }
        return zip(text.utf8, other.utf8).allSatisfy { lowercased($0) == lowercased($1) }
    }
}

private func isLetterOrDigit(_ byte: UInt8) -> Bool {
    (byte >= 48 && byte <= 57) || (byte | 0x20 >= 97 && byte | 0x20 <= 122)
}
