// Runs of consecutive slots as text, the way nodes.conf and CLUSTER NODES write them:
// `0-5460 5462 6000-6001`.

extension SlotSet {
    /// Adds every slot of `range`, which must lie inside 0 ... 16383.
    public mutating func insert(_ range: ClosedRange<Int>) {
        for index in range {
            if let slot = Slot(index) { insert(slot) }
        }
    }

    /// The set's ranges separated by spaces; empty for the empty set.
    public var rangeText: String {
        ranges.map { range in
            range.count == 1
                ? String(range.lowerBound) : "\(range.lowerBound)-\(range.upperBound)"
        }.joined(separator: " ")
    }
}
