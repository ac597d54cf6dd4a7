// DEBUG DIGEST: a hash of the dataset that does not depend on the order of keys, byte for byte the
// reference's, so that a node of either kind can be compared with one of the other. Keys and values
// are hashed with SHA-1 and the hashes combined by exclusive or.
import Base

/// Twenty bytes that hashes are mixed into, in memory that the caller owns.
public struct DigestMixer {
    public let bytes: UnsafeMutablePointer<UInt8>
    public static let size = 20

    @inline(__always)
    public init(_ bytes: UnsafeMutablePointer<UInt8>) { self.bytes = bytes }

    public func reset() { clearBytes(bytes, count: DigestMixer.size) }

    /// Adds data whose order does not matter.
    public func add(_ data: Bytes) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: DigestMixer.size) { room in
            guard let hash = room.baseAddress else { return }
            SHA1.hash(data, to: hash)
            for index in 0..<DigestMixer.size { bytes[index] ^= hash[index] }
        }
    }

    /// Adds data whose order matters.
    public func mix(_ data: Bytes) {
        add(data)
        SHA1.hash(Bytes(bytes, DigestMixer.size), to: bytes)
    }

    /// Mixes a number in as four bytes, highest first.
    public func mix(_ number: UInt32) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 4) { room in
            for index in 0..<4 {
                room[index] = UInt8(truncatingIfNeeded: number &>> UInt32(24 - index * 8))
            }
            guard let start = room.baseAddress else { return }
            mix(Bytes(start, 4))
        }
    }
}

extension Keyspace {
    /// The digest of all databases (DEBUG DIGEST), 20 bytes at `out`.
    public func digest(to out: UnsafeMutablePointer<UInt8>) {
        let total = DigestMixer(out)
        total.reset()
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: DigestMixer.size) { room in
            guard let start = room.baseAddress else { return }
            let one = DigestMixer(start)
            for index in 0..<databaseCount where count(database: index) > 0 {
                total.mix(UInt32(truncatingIfNeeded: index))
                forEach(database: index) { entry in
                    one.reset()
                    one.mix(entry.key)
                    mixValue(entry, into: one)
                    total.add(Bytes(start, DigestMixer.size))
                }
            }
        }
    }

    /// The digest of one value with its type and whether it expires (DEBUG DIGEST-VALUE).
    public func digestValue(_ entry: Entry, to out: UnsafeMutablePointer<UInt8>) {
        let mixer = DigestMixer(out)
        mixer.reset()
        mixValue(entry, into: mixer)
    }

    private func mixValue(_ entry: Entry, into mixer: DigestMixer) {
        mixer.mix(UInt32(entry.type.rawValue))
        if entry.isString {
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 24) { room in
                guard let scratch = room.baseAddress else { return }
                mixer.mix(entry.bytes(scratch: scratch))
            }
        } else {
            let descriptor = state.pointee.types[Int(entry.type.rawValue)]
            descriptor.digest?(entry.payload, entry.encoding.rawValue, mixer.bytes)
        }
        if entry.hasExpiry { mixer.add(Bytes("!!expire!!")) }
    }
}
