// Members with positions: GEOADD, which is a ZADD of the scores that positions have and propagated
// as such, and GEOPOS, GEOHASH and GEODIST about members that are there.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerGeoMemberCommands() {
        command(
            "geoadd", since: "3.2.0", arity: -5, [.write, .denyOOM], acl: [.geo],
            keys: [.range(1, [.RW, .update])],
            syntax: """
            key [condition: NX|XX]{6.2.0} [change=CH]{6.2.0} <longitude_latitude_member: \
            longitude:double latitude:double member>...
            """,
            summary: """
            Add one or more geospatial items in the geospatial index represented using a sorted \
            set
            """,
            complexity: """
            O(log(N)) for each item added, where N is the number of elements in the sorted set.
            """,
            history: "6.2.0 Added the `CH`, `NX` and `XX` options."
        ) { geoadd(Call($0)) }

        command(
            "geopos", since: "3.2.0", arity: -2, [.readonly], acl: [.geo],
            keys: [.range(1, [.RO, .access])],
            syntax: "key member...",
            summary: "Returns longitude and latitude of members of a geospatial index",
            complexity: "O(N) where N is the number of members requested."
        ) { geopos(Call($0)) }

        command(
            "geohash", since: "3.2.0", arity: -2, [.readonly], acl: [.geo],
            keys: [.range(1, [.RO, .access])],
            syntax: "key member...",
            summary: "Returns members of a geospatial index as standard geohash strings",
            complexity: """
            O(log(N)) for each member requested, where N is the number of elements in the sorted \
            set.
            """
        ) { geohash(Call($0)) }

        command(
            "geodist", since: "3.2.0", arity: -4, [.readonly], acl: [.geo],
            keys: [.range(1, [.RO, .access])],
            syntax: "key member1 member2 [unit: M|KM|FT|MI]",
            summary: "Returns the distance between two members of a geospatial index",
            complexity: "O(log(N))"
        ) { geodist(Call($0)) }
    }
}

// MARK: GEOADD

private func geoadd(_ call: Call) {
    var options: SortedSetAdd = []
    var countsChanges = false
    var first = 2
    while first < call.count {
        let word = call[first]
        if word.matches("nx") {
            options.insert(.onlyNew)
        } else if word.matches("xx") {
            options.insert(.onlyExisting)
        } else if word.matches("ch") {
            countsChanges = true
        } else {
            break
        }
        first += 1
    }
    let rest = call.count - first
    guard rest > 0, rest % 3 == 0, !options.isSuperset(of: [.onlyNew, .onlyExisting]) else {
        call.reply.error(.syntax)
        return
    }
    var scores: [Int64] = []
    for index in stride(from: first, to: call.count, by: 3) {
        guard let position = call.positionOrReply(index) else { return }
        scores.append(position.score)
    }
    let hasChanged = addMembers(call, options, countsChanges, scores.count) { index in
        (Double(scores[index]), call[first + index * 3 + 2])
    }
    guard hasChanged else { return }
    call.rewrite(first + scores.count * 2) { stream in
        stream.argument("ZADD")
        for index in 1..<first { stream.argument(call[index]) }
        for (index, score) in scores.enumerated() {
            stream.argument(decimal: score)
            stream.argument(call[first + index * 3 + 2])
        }
    }
}

// MARK: Questions

private func geopos(_ call: Call) {
    forEachMember(call) { score in
        guard let score else {
            call.reply.nullArray()
            return
        }
        call.reply.position(GeoPosition(score: score))
    }
}

private func geohash(_ call: Call) {
    let globe = GeoInterval(min: -90, max: 90)
    forEachMember(call) { score in
        guard let score else {
            call.reply.null()
            return
        }
        // Scores leave out the poles; the common notation does not.
        let hash = GeoHash(
            GeoPosition(score: score), step: GeoHash.maxStep, latitudes: globe)
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 11) { room in
            guard let start = room.baseAddress else { return }
            call.reply.bulk(Bytes(start, hash.text(to: start)))
        }
    }
}

/// Answers with an array of what `body` answers for each member's score.
private func forEachMember(_ call: Call, _ body: (Double?) -> Void) {
    guard let set = call.positionsOrReply(call.key(1)) else { return }
    call.reply.array(call.count - 2)
    for index in 2..<call.count { body(set.flatMap { $0.score(of: call[index], call.heap) }) }
}

private func geodist(_ call: Call) {
    guard call.count <= 5 else {
        call.reply.error(.syntax)
        return
    }
    var unit = 1.0
    if call.count == 5 {
        guard let given = call.unitOrReply(4) else { return }
        unit = given
    }
    guard let set = call.sortedSet(call.key(1), orReply: { $0.null() }) else { return }
    guard let first = set.score(of: call[2], call.heap),
        let second = set.score(of: call[3], call.heap)
    else {
        call.reply.null()
        return
    }
    let distance = GeoPosition(score: first).distance(to: GeoPosition(score: second))
    call.reply.distance(distance / unit)
}
