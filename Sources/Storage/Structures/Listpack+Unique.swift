// Whether the members of a listpack are distinct: asked of every hash and set that comes from
// outside, since a field that is there twice would be found once and removed once.
import Base

extension Listpack {
    /// Up to so many elements are compared one with another; beyond that a table is built.
    private static let pairwiseLimit = 24

    /// True when no two elements, of every `skip` + 1-th one, have the same text.
    public func isUnique(skip: Int, _ heap: ObjectHeap) -> Bool {
        let members = count / (skip + 1)
        guard members > Listpack.pairwiseLimit else { return isUniquePairwise(skip: skip) }
        let seen = FieldTable.make(heap, reserving: members)
        var isUnique = true
        var position = first
        while let member = position, isUnique {
            isUnique = withText(of: self[member]) { seen.set($0, .empty, heap) }
            position = behind(member, skip)
        }
        while !seen.release(heap.memory, effort: .max) {}
        return isUnique
    }

    private func isUniquePairwise(skip: Int) -> Bool {
        var position = first
        while let member = position {
            guard let next = behind(member, skip) else { return true }
            let isAgain = withText(of: self[member]) { find($0, from: next, skip: skip) != nil }
            if isAgain { return false }
            position = next
        }
        return true
    }

    private func behind(_ position: Int, _ skip: Int) -> Int? {
        var at: Int? = position
        for _ in 0...skip { at = at.flatMap { next($0) } }
        return at
    }
}
