// GEOSEARCH, GEOSEARCHSTORE and the older GEORADIUS family: what lies within a circle or a box. The
// cells around the centre are ranges of scores; what they hold is measured exactly.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerGeoSearchCommands() {
        command(
            "geosearch", since: "6.2.0", arity: -7, [.readonly], acl: [.geo],
            keys: [.range(1, [.RO, .access])],
            syntax: """
            key <from: FROMMEMBER member|FROMLONLAT <longitude_latitude: longitude:double \
            latitude:double>> <by: <circle: BYRADIUS radius:double <unit: M|KM|FT|MI>>|<box: BYBOX \
            width:double height:double <unit: M|KM|FT|MI>>> [order: ASC|DESC] [count: COUNT \
            count:integer [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]
            """,
            summary: """
            Query a sorted set representing a geospatial index to fetch members inside an area of \
            a box or a circle.
            """,
            complexity: """
            O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area \
            around the shape provided as the filter and M is the number of items inside the shape
            """,
            history: "7.0.0 Added support for uppercase unit names."
        ) { geosearch(Call($0)) }

        command(
            "geosearchstore", since: "6.2.0", arity: -8, [.write, .denyOOM], acl: [.geo],
            keys: [.range(1, [.OW, .update]), .range(2, [.RO, .access])],
            syntax: """
            destination:key source:key <from: FROMMEMBER member|FROMLONLAT <longitude_latitude: \
            longitude:double latitude:double>> <by: <circle: BYRADIUS radius:double <unit: \
            M|KM|FT|MI>>|<box: BYBOX width:double height:double <unit: M|KM|FT|MI>>> [order: \
            ASC|DESC] [count: COUNT count:integer [ANY]] [STOREDIST]
            """,
            summary: """
            Query a sorted set representing a geospatial index to fetch members inside an area of \
            a box or a circle, and store the result in another key.
            """,
            complexity: """
            O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area \
            around the shape provided as the filter and M is the number of items inside the shape
            """,
            history: "7.0.0 Added support for uppercase unit names."
        ) { geosearchstore(Call($0)) }

        command(
            "georadius", since: "3.2.0", arity: -6, [.write, .denyOOM], acl: [.geo],
            keys: [
                .range(1, [.RO, .access]),
                KeySpec(
                    .keyword("STORE", from: 6), .range(last: 0, step: 1, limit: 0),
                    [.OW, .update]),
                KeySpec(
                    .keyword("STOREDIST", from: 6), .range(last: 0, step: 1, limit: 0),
                    [.OW, .update]),
            ],
            syntax: """
            key longitude:double latitude:double radius:double <unit: M|KM|FT|MI> [WITHCOORD] \
            [WITHDIST] [WITHHASH] [count: COUNT count:integer [ANY]{6.2.0}] [order: ASC|DESC] \
            [STORE key] [STOREDIST key]
            """,
            summary: """
            Query a sorted set representing a geospatial index to fetch members matching a given \
            maximum distance from a point
            """,
            complexity: """
            O(N+log(M)) where N is the number of elements inside the bounding box of the circular \
            area delimited by center and radius and M is the number of items inside the index.
            """,
            history: """
            6.2.0 Added the `ANY` option for `COUNT`.
            7.0.0 Added support for uppercase unit names.
            """,
            deprecated: "6.2.0 `GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument"
        ) { georadius(Call($0)) }

        command(
            "georadius_ro", since: "3.2.10", arity: -6, [.readonly], acl: [.geo],
            keys: [.range(1, [.RO, .access])],
            syntax: """
            key longitude:double latitude:double radius:double <unit: M|KM|FT|MI> [WITHCOORD] \
            [WITHDIST] [WITHHASH] [count: COUNT count:integer [ANY]{6.2.0}] [order: ASC|DESC]
            """,
            summary: "A read-only variant for GEORADIUS",
            complexity: """
            O(N+log(M)) where N is the number of elements inside the bounding box of the circular \
            area delimited by center and radius and M is the number of items inside the index.
            """,
            history: "6.2.0 Added the `ANY` option for `COUNT`.",
            deprecated: "6.2.0 `GEOSEARCH` with the `BYRADIUS` argument"
        ) { georadiusRO(Call($0)) }

        command(
            "georadiusbymember", since: "3.2.0", arity: -5, [.write, .denyOOM], acl: [.geo],
            keys: [
                .range(1, [.RO, .access]),
                KeySpec(
                    .keyword("STORE", from: 5), .range(last: 0, step: 1, limit: 0),
                    [.OW, .update]),
                KeySpec(
                    .keyword("STOREDIST", from: 5), .range(last: 0, step: 1, limit: 0),
                    [.OW, .update]),
            ],
            syntax: """
            key member radius:double <unit: M|KM|FT|MI> [WITHCOORD] [WITHDIST] [WITHHASH] [count: \
            COUNT count:integer [ANY]] [order: ASC|DESC] [STORE key] [STOREDIST key]
            """,
            summary: """
            Query a sorted set representing a geospatial index to fetch members matching a given \
            maximum distance from a member
            """,
            complexity: """
            O(N+log(M)) where N is the number of elements inside the bounding box of the circular \
            area delimited by center and radius and M is the number of items inside the index.
            """,
            history: "7.0.0 Added support for uppercase unit names.",
            deprecated: """
            6.2.0 `GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments
            """
        ) { georadiusbymember(Call($0)) }

        command(
            "georadiusbymember_ro", since: "3.2.10", arity: -5, [.readonly], acl: [.geo],
            keys: [.range(1, [.RO, .access])],
            syntax: """
            key member radius:double <unit: M|KM|FT|MI> [WITHCOORD] [WITHDIST] [WITHHASH] [count: \
            COUNT count:integer [ANY]] [order: ASC|DESC]
            """,
            summary: "A read-only variant for GEORADIUSBYMEMBER",
            complexity: """
            O(N+log(M)) where N is the number of elements inside the bounding box of the circular \
            area delimited by center and radius and M is the number of items inside the index.
            """,
            deprecated: "6.2.0 `GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"
        ) { georadiusbymemberRO(Call($0)) }
    }
}

private enum SearchKind {
    /// GEORADIUS, with or without options to store.
    case radius(stores: Bool)
    /// GEORADIUSBYMEMBER, with or without options to store.
    case radiusByMember(stores: Bool)
    case search
    case searchStore

    var isSearch: Bool {
        switch self {
        case .search, .searchStore: true
        default: false
        }
    }

    var hasStoreOption: Bool {
        switch self {
        case .radius(let stores), .radiusByMember(let stores): stores
        default: false
        }
    }
}

private enum SearchOrder {
    case none, ascending, descending
}

/// What is asked for, as it is read.
private struct SearchRequest {
    let kind: SearchKind
    let set: SortedSet?
    var center: GeoPosition?
    /// The centre was named, even if it has no position for want of a key.
    var hasCenter = false
    var centerIsMember = false
    var form: GeoShape.Form?
    var unit = 1.0
    var order = SearchOrder.none
    var count: Int64 = 0
    var takesAny = false
    var withDistance = false
    var withHash = false
    var withPosition = false
    /// The argument that names the key for the result.
    var target: Int?
    var storesDistance = false

    init(_ kind: SearchKind, _ set: SortedSet?) {
        self.kind = kind
        self.set = set
        if case .searchStore = kind { target = 1 }
    }

    // MARK: The parts that shapes are made of

    mutating func readPositionOrReply(_ call: Call, _ index: Int) -> Bool {
        guard let position = call.positionOrReply(index) else { return false }
        center = position
        hasCenter = true
        return true
    }

    mutating func readMemberOrReply(_ call: Call, _ index: Int) -> Bool {
        hasCenter = true
        centerIsMember = true
        guard let set else { return true }
        guard let score = set.score(of: call[index], call.heap) else {
            call.reply.error("ERR could not decode requested zset member")
            return false
        }
        center = GeoPosition(score: score)
        return true
    }

    mutating func readRadiusOrReply(_ call: Call, _ index: Int) -> Bool {
        guard let radius = call.scoreOrReply(index, ErrorReply("ERR need numeric radius")) else {
            return false
        }
        guard radius >= 0 else {
            call.reply.error("ERR radius cannot be negative")
            return false
        }
        guard let unit = call.unitOrReply(index + 1) else { return false }
        form = .circle(radius: radius)
        self.unit = unit
        return true
    }

    mutating func readBoxOrReply(_ call: Call, _ index: Int) -> Bool {
        guard let width = call.scoreOrReply(index, ErrorReply("ERR need numeric width")),
            let height = call.scoreOrReply(index + 1, ErrorReply("ERR need numeric height"))
        else { return false }
        guard width >= 0, height >= 0 else {
            call.reply.error("ERR height or width cannot be negative")
            return false
        }
        guard let unit = call.unitOrReply(index + 2) else { return false }
        form = .box(width: width, height: height)
        self.unit = unit
        return true
    }

    private var isBox: Bool {
        if case .box? = form { return true }
        return false
    }

    private var isCircle: Bool {
        if case .circle? = form { return true }
        return false
    }

    // MARK: Options

    /// Reads everything from argument `start` on; false after an error reply.
    mutating func readOptionsOrReply(_ call: Call, from start: Int) -> Bool {
        var index = start
        while index < call.count {
            if takeFlag(call[index]) {
                index += 1
                continue
            }
            guard let used = takeOptionOrReply(call, index) else { return false }
            index += used
        }
        return isConsistentOrReply(call)
    }

    private mutating func takeFlag(_ word: Bytes) -> Bool {
        if word.matches("withdist") {
            withDistance = true
        } else if word.matches("withhash") {
            withHash = true
        } else if word.matches("withcoord") {
            withPosition = true
        } else if word.matches("any") {
            takesAny = true
        } else if word.matches("asc") {
            order = .ascending
        } else if word.matches("desc") {
            order = .descending
        } else if case .searchStore = kind, word.matches("storedist") {
            storesDistance = true
        } else {
            return false
        }
        return true
    }

    /// Reads an option with values; returns how many arguments it takes, nil after an error reply.
    private mutating func takeOptionOrReply(_ call: Call, _ index: Int) -> Int? {
        let word = call[index]
        let values = call.count - index - 1
        if word.matches("count"), values > 0 {
            guard let count = call.integerOrReply(index + 1) else { return nil }
            guard count > 0 else {
                call.reply.error("ERR COUNT must be > 0")
                return nil
            }
            self.count = count
            return 2
        }
        if kind.hasStoreOption, values > 0, word.matches("store") || word.matches("storedist") {
            target = index + 1
            storesDistance = word.matches("storedist")
            return 2
        }
        guard kind.isSearch else {
            call.reply.error(.syntax)
            return nil
        }
        return takeShapeOrReply(call, index, values)
    }

    private mutating func takeShapeOrReply(_ call: Call, _ index: Int, _ values: Int) -> Int? {
        let word = call[index]
        if word.matches("frommember"), values > 0, !hasCenter || centerIsMember {
            return readMemberOrReply(call, index + 1) ? 2 : nil
        }
        if word.matches("fromlonlat"), values > 1, !centerIsMember {
            return readPositionOrReply(call, index + 1) ? 3 : nil
        }
        if word.matches("byradius"), values > 1, !isBox {
            return readRadiusOrReply(call, index + 1) ? 3 : nil
        }
        if word.matches("bybox"), values > 2, !isCircle {
            return readBoxOrReply(call, index + 1) ? 4 : nil
        }
        call.reply.error(.syntax)
        return nil
    }

    private func isConsistentOrReply(_ call: Call) -> Bool {
        if target != nil, withDistance || withHash || withPosition {
            let name = kind.isSearch ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS"
            call.reply.error(
                "ERR \(name) is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
            return false
        }
        if kind.isSearch, !hasCenter || form == nil {
            let missing = hasCenter ? "BYRADIUS and BYBOX" : "FROMMEMBER or FROMLONLAT"
            let text = "ERR exactly one of \(missing) can be specified for "
            call.reply.error(Array(text.utf8) + call[0].array)
            return false
        }
        if takesAny, count == 0 {
            call.reply.error("ERR the ANY argument requires COUNT argument")
            return false
        }
        return true
    }
}

/// A member within the shape.
private struct GeoMatch {
    let member: PackedValue
    let score: Double
    let position: GeoPosition
    /// In meters.
    let distance: Double
}

// MARK: The commands

private func geosearch(_ call: Call) { search(call, .search, source: 1) }

private func geosearchstore(_ call: Call) { search(call, .searchStore, source: 2) }

private func georadius(_ call: Call) { search(call, .radius(stores: true), source: 1) }

private func georadiusRO(_ call: Call) { search(call, .radius(stores: false), source: 1) }

private func georadiusbymember(_ call: Call) {
    search(call, .radiusByMember(stores: true), source: 1)
}

private func georadiusbymemberRO(_ call: Call) {
    search(call, .radiusByMember(stores: false), source: 1)
}

private func search(_ call: Call, _ kind: SearchKind, source: Int) {
    guard let set = call.positionsOrReply(call.key(source)) else { return }
    var request = SearchRequest(kind, set)
    let options: Int
    switch kind {
    case .radius:
        options = 6
        guard request.readPositionOrReply(call, 2), request.readRadiusOrReply(call, 4) else {
            return
        }
    case .radiusByMember:
        options = 5
        // Without a key there is no member to measure from, and no radius is looked at.
        if set != nil {
            guard request.readMemberOrReply(call, 2), request.readRadiusOrReply(call, 3) else {
                return
            }
        }
    case .search, .searchStore:
        options = source + 1
    }
    guard request.readOptionsOrReply(call, from: options) else { return }
    guard let set, let center = request.center, let form = request.form else {
        finishEmpty(call, request)
        return
    }
    let shape = GeoShape(center: center, form: form, unit: request.unit)
    let matches = inOrder(findMatches(set, shape, request), request)
    if let target = request.target {
        store(call, matches, request, at: call.key(target))
    } else {
        reply(call, matches, request)
    }
}

private func finishEmpty(_ call: Call, _ request: SearchRequest) {
    if let target = request.target {
        store(call, [], request, at: call.key(target))
    } else {
        call.reply.array(0)
    }
}

private func findMatches(
    _ set: SortedSet, _ shape: GeoShape, _ request: SearchRequest
) -> [GeoMatch] {
    let limit = request.takesAny ? Int(clamping: request.count) : Int.max
    var found: [GeoMatch] = []
    for cell in shape.cells where found.count < limit {
        let scores = ScoreRange(
            min: Double(cell.firstScore), max: Double(cell.endScore), excludesMax: true)
        set.forEach(in: set.ranks(scores)) { member, score in
            let position = GeoPosition(score: score)
            if let distance = shape.distance(of: position) {
                found.append(
                    GeoMatch(
                        member: member, score: score, position: position, distance: distance))
            }
            return found.count < limit
        }
    }
    return found
}

/// In the order that is asked for, and no more than that many. Equal distances keep their order.
private func inOrder(_ matches: [GeoMatch], _ request: SearchRequest) -> ArraySlice<GeoMatch> {
    var matches = matches
    let isLimited = request.count > 0 && !request.takesAny
    switch request.order {
    case .none where isLimited, .ascending: matches.sort { $0.distance < $1.distance }
    case .descending: matches.sort { $0.distance > $1.distance }
    case .none: break
    }
    return request.count > 0 ? matches.prefix(Int(clamping: request.count)) : matches[...]
}

// MARK: Results

private func reply(
    _ call: Call, _ matches: ArraySlice<GeoMatch>, _ request: SearchRequest
) {
    let reply = call.reply
    var parts = 0
    for isAsked in [request.withDistance, request.withHash, request.withPosition] where isAsked {
        parts += 1
    }
    reply.array(matches.count)
    for match in matches {
        if parts > 0 { reply.array(parts + 1) }
        reply.bulk(match.member)
        if request.withDistance { reply.distance(match.distance / request.unit) }
        if request.withHash {
            reply.integer(Int64(exactly: match.score.rounded(.towardZero)) ?? .min)
        }
        if request.withPosition { reply.position(match.position) }
    }
}

private func store(
    _ call: Call, _ matches: ArraySlice<GeoMatch>, _ request: SearchRequest, at key: KeyRef
) {
    let builder = SortedSetBuilder(call.heap, reserving: matches.count)
    for match in matches {
        let score = request.storesDistance ? match.distance / request.unit : match.score
        withText(of: match.member) { builder.merge($0, score) { $1 } }
    }
    var result = builder.finish()
    result.compact(call.limits, call.heap)
    let count = result.count
    call.storeResult(
        result, at: key, request.kind.isSearch ? "geosearchstore" : "georadiusstore")
    if count > 1 { call.executor.pointee.dirty &+= Int64(count - 1) }
}
