// What the engine asks about expiry: the exact next key to expire, how long until then, and the
// average time to live that INFO shows. Deleting an expired key is the engine's decision.
import Base

extension Keyspace {
    /// A key of the database whose time is over at `now` (milliseconds since 1970), earliest first;
    /// nil when there is none. Remove or change it before asking again.
    public func nextExpired(database: Int, now: Int64) -> Entry? {
        let index = self.database(database)
        guard index.pointee.expiry.mayHold(before: now) else { return nil }
        guard let entry = index.pointee.expiry.first(), entry.expiresAt < now else { return nil }
        return entry
    }

    /// When the first key of the database expires.
    public func earliestExpiry(database: Int) -> Int64? {
        self.database(database).pointee.expiry.first()?.expiresAt
    }

    /// The mean of the times that the expiring keys of the database have left, in milliseconds.
    public func averageTTL(database: Int, now: Int64) -> Int64 {
        let index = self.database(database)
        guard index.pointee.expiry.count > 0 else { return 0 }
        let mean = index.pointee.expiry.sum / Int128(index.pointee.expiry.count)
        return Int64(clamping: max(mean - Int128(now), 0))
    }
}
