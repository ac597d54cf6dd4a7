// How far a group is behind: entries added since it last read, where that can be told. Entries that
// were deleted in the middle make it unknown, as in the reference.
import Base

extension Stream {
    /// Whether a deleted entry may lie from `first` on.
    public func mayHaveDeleted(from first: StreamID) -> Bool {
        guard length > 0, !maxDeletedID.isZero, firstID <= maxDeletedID else { return false }
        return first <= maxDeletedID
    }

    /// How many entries were ever added up to `id`; nil when that cannot be told.
    public func distanceFromFirst(_ id: StreamID) -> Int64? {
        let added = Int64(bitPattern: entriesAdded)
        if added == 0 { return 0 }
        if length == 0, id <= lastID { return added }
        if id == lastID { return added }
        if id > lastID { return nil }
        guard maxDeletedID.isZero || maxDeletedID < firstID else { return nil }
        if id < firstID { return added &- Int64(length) }
        return id == firstID ? added &- Int64(length) &+ 1 : nil
    }

    /// Entries that a group has not read yet; nil when that cannot be told.
    public func lag(of group: StreamGroup) -> Int64? {
        let added = Int64(bitPattern: entriesAdded)
        if added == 0 { return 0 }
        if group.entriesRead != StreamGroup.unknown, !mayHaveDeleted(from: group.lastID) {
            return added &- group.entriesRead
        }
        return distanceFromFirst(group.lastID).map { added &- $0 }
    }

    /// Notes that `group` has read up to the entry `id`.
    public func advance(_ group: StreamGroup, to id: StreamID) {
        invariant(id > group.lastID, "a group reads forwards")
        if group.entriesRead != StreamGroup.unknown, !mayHaveDeleted(from: id) {
            group.entriesRead &+= 1
        } else if entriesAdded > 0 {
            group.entriesRead = distanceFromFirst(id) ?? StreamGroup.unknown
        }
        group.lastID = id
    }
}
