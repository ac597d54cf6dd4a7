// SORT and SORT_RO: the elements of a list, set or sorted set in another order, by themselves or
// by keys that a pattern derives from them, and other such keys in their place. All elements are
// copied before the first look at another key, for that may expire, or be the one that is sorted.
// Text is compared byte by byte: there is no locale here.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerSortCommands() {
        command(
            "sort", since: "1.0.0", arity: -2, [.write, .denyOOM],
            acl: [.set, .sortedset, .list, .dangerous],
            keys: [
                .range(1, [.RO, .access]),
                KeySpec(.unknown, .unknown, [.RO, .access], notes: """
                    For the optional BY/GET keyword. It is marked 'unknown' because the key names \
                    derive from the content of the key we sort
                    """),
                KeySpec(.unknown, .unknown, [.OW, .update], notes: """
                    For the optional STORE keyword. It is marked 'unknown' because the keyword can \
                    appear anywhere in the argument array
                    """),
            ],
            syntax: """
            key [BY pattern:pattern@1] [LIMIT <offset_count: offset:integer count:integer>] \
            [GET... pattern:pattern@1] [order: ASC|DESC] [sorting=ALPHA] [STORE destination:key@2]
            """,
            summary: "Sort the elements in a list, set or sorted set",
            complexity: """
            O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the \
            number of returned elements. When the elements are not sorted, complexity is O(N).
            """,
            finder: sortKeys
        ) { sort(Call($0), isReadOnly: false) }

        command(
            "sort_ro", since: "7.0.0", arity: -2, [.readonly],
            acl: [.set, .sortedset, .list, .dangerous],
            keys: [
                .range(1, [.RO, .access]),
                KeySpec(.unknown, .unknown, [.RO, .access], notes: """
                    For the optional BY/GET keyword. It is marked 'unknown' because the key names \
                    derive from the content of the key we sort
                    """),
            ],
            syntax: """
            key [BY pattern:pattern@1] [LIMIT <offset_count: offset:integer count:integer>] \
            [GET... pattern:pattern@1] [order: ASC|DESC] [sorting=ALPHA]
            """,
            summary: """
            Sort the elements in a list, set or sorted set. Read-only variant of SORT.
            """,
            complexity: """
            O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the \
            number of returned elements. When the elements are not sorted, complexity is O(N).
            """,
            finder: sortedKey
        ) { sort(Call($0), isReadOnly: true) }
    }
}

/// The key itself: what a pattern makes of its elements cannot be told beforehand.
private func sortedKey(_ arguments: UnsafePointer<Bytes>, _ count: Int) -> [KeyPosition]? {
    count > 1 ? [KeyPosition(index: 1, flags: [.RO, .access])] : nil
}

/// The key itself, and the one behind the last STORE.
private func sortKeys(_ arguments: UnsafePointer<Bytes>, _ count: Int) -> [KeyPosition]? {
    guard count > 1 else { return nil }
    var keys = [KeyPosition(index: 1, flags: [.RO, .access])]
    var index = 2
    while index < count {
        let option = arguments[index]
        if option.matches("limit") {
            index += 2
        } else if option.matches("get") || option.matches("by") {
            index += 1
        } else if option.matches("store"), index + 1 < count {
            keys = [keys[0], KeyPosition(index: index + 1, flags: [.OW, .update])]
            index += 1
        }
        index += 1
    }
    return keys
}

// MARK: What is asked for

private struct SortRequest {
    var isDescending = false
    var isAlphabetic = false
    var start: Int64 = 0
    var count: Int64 = -1
    /// Index of the pattern to sort by.
    var by: Int?
    /// BY without a star: the elements stay in their order.
    var keepsOrder = false
    /// Indices of the patterns whose keys are answered in place of the elements.
    var gets: [Int] = []
    var store: Int?

    /// nil after an error reply.
    init?(_ call: Call, isReadOnly: Bool) {
        var index = 2
        while index < call.count {
            guard let used = parse(call, index, isReadOnly) else { return nil }
            index += used
        }
    }

    /// One option; how many arguments it has, or nil after an error reply.
    private mutating func parse(_ call: Call, _ index: Int, _ isReadOnly: Bool) -> Int? {
        let option = call[index]
        let left = call.count - index - 1
        let isCluster = call.executor.pointee.settings.clusterEnabled
        if option.matches("asc") || option.matches("desc") {
            isDescending = option.matches("desc")
            return 1
        }
        if option.matches("alpha") {
            isAlphabetic = true
            return 1
        }
        if option.matches("limit"), left >= 2 {
            guard let start = call.integerOrReply(index + 1),
                let count = call.integerOrReply(index + 2)
            else { return nil }
            (self.start, self.count) = (start, count)
            return 3
        }
        if option.matches("store"), !isReadOnly, left >= 1 {
            store = index + 1
            return 2
        }
        if option.matches("by"), left >= 1 {
            by = index + 1
            if starPosition(call[index + 1]) == nil {
                keepsOrder = true
            } else if isCluster {
                call.reply.error("ERR BY option of SORT denied in Cluster mode." as StaticString)
                return nil
            } else if !call.executor.mayReadAnyKey(call) {
                call.reply.error(
                    "ERR BY option of SORT denied due to insufficient ACL permissions."
                        as StaticString)
                return nil
            }
            return 2
        }
        if option.matches("get"), left >= 1 {
            if isCluster {
                call.reply.error("ERR GET option of SORT denied in Cluster mode." as StaticString)
                return nil
            }
            if !call.executor.mayReadAnyKey(call) {
                call.reply.error(
                    "ERR GET option of SORT denied due to insufficient ACL permissions."
                        as StaticString)
                return nil
            }
            gets.append(index + 1)
            return 2
        }
        call.reply.error(.syntax)
        return nil
    }

    /// The part of `length` sorted elements that is asked for.
    func range(_ length: Int) -> Range<Int> {
        let first = Int(min(max(start, 0), Int64(length)))
        let most = count < 0 ? length : Int(min(count, Int64(length)))
        return first..<min(length, first + most)
    }
}

private func starPosition(_ pattern: Bytes) -> Int? {
    for index in 0..<pattern.count where pattern[index] == UInt8(ascii: "*") { return index }
    return nil
}

// MARK: Elements

/// Copies of elements, and of what they are sorted by.
private struct SortVector: ~Copyable {
    struct Item {
        var element: Range<Int>
        /// What it is compared by, with ALPHA and BY; nil when there is no such key.
        var text: Range<Int>?
        var score: Double = 0
    }
    var items: [Item] = []
    private var bytes = Buffer()

    mutating func add(_ value: PackedValue) {
        let range = withText(of: value) { keep($0) }
        items.append(Item(element: range))
    }

    /// Copies bytes; they are found again at this range.
    mutating func keep(_ text: Bytes) -> Range<Int> {
        let start = bytes.count
        bytes.append(text)
        return start..<bytes.count
    }

    func text(_ range: Range<Int>) -> Bytes { bytes.bytes[range] }

    func element(_ index: Int) -> Bytes { text(items[index].element) }

    mutating func order(isAlphabetic: Bool, isByPattern: Bool, isDescending: Bool) {
        let all = bytes.bytes
        func precedes(_ a: Item, _ b: Item) -> Bool {
            if !isAlphabetic {
                if a.score != b.score { return a.score < b.score }
                return all[a.element] < all[b.element]
            }
            guard isByPattern else { return all[a.element] < all[b.element] }
            guard let left = a.text, let right = b.text else {
                return a.text == nil && b.text != nil
            }
            return all[left] < all[right]
        }
        if isDescending {
            items.sort { precedes($1, $0) }
        } else {
            items.sort(by: precedes)
        }
    }
}

extension Call {
    /// Copies all elements; false when the key holds something that has none.
    fileprivate func copyElements(_ entry: Entry, into vector: inout SortVector) -> Bool {
        switch entry.type {
        case .list:
            var elements = list(entry).iterate(from: 0)
            while let value = elements.next() { vector.add(value) }
        case .sortedSet:
            SortedSet(entry).forEach { member, _ in vector.add(member) }
        case .set:
            switch entry.encoding {
            case .intset:
                let set = Intset(entry.payload)
                for index in 0..<set.count { vector.add(.integer(set[index])) }
            case .listpack:
                let pack = Listpack(entry.payload)
                var position = pack.first
                while let current = position {
                    vector.add(pack[current])
                    position = pack.next(current)
                }
            default:
                FieldTable(entry.payload).forEach { vector.add(.bytes($0.key)) }
            }
        default:
            return false
        }
        return true
    }

    /// Calls `body` with the value of the key, or of the hash field, that `pattern` makes of an
    /// element; with nil when there is none. `#` is the element itself.
    fileprivate func withValue(
        _ pattern: Bytes, of element: Bytes, _ body: (Bytes?) -> Void
    ) {
        if pattern == "#" { return body(element) }
        guard let star = starPosition(pattern) else { return body(nil) }
        let arrow = fieldArrow(pattern, behind: star)
        let end = arrow ?? pattern.count
        let name =
            pattern[0..<star].array + element.array + pattern[(star + 1)..<end].array
        name.withBytes { bytes in
            guard let entry = lookupRead(keyspace.key(bytes, database: database)) else {
                return body(nil)
            }
            guard let arrow else {
                guard entry.isString else { return body(nil) }
                return withString(entry) { body($0) }
            }
            guard entry.type == .hash else { return body(nil) }
            let field = pattern[(arrow + 2)..<pattern.count]
            let found = HashObject(entry).find(field, heap, now: fieldTime)
            guard let found else { return body(nil) }
            withText(of: found) { body($0) }
        }
    }

    private func withString(_ entry: Entry, _ body: (Bytes) -> Void) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 24) { room in
            guard let scratch = room.baseAddress else { return }
            body(entry.bytes(scratch: scratch))
        }
    }
}

/// Where `->` begins behind the star, if a field's name follows.
private func fieldArrow(_ pattern: Bytes, behind star: Int) -> Int? {
    var index = star + 1
    while index + 1 < pattern.count {
        if pattern[index] == UInt8(ascii: "-"), pattern[index + 1] == UInt8(ascii: ">") {
            return index + 2 < pattern.count ? index : nil
        }
        index += 1
    }
    return nil
}

/// A text as C's strtod reads it; nil when it is no number or too large for one.
private func score(_ text: Bytes) -> Double? {
    var start = 0
    while start < text.count, text[start] == 32 || (text[start] >= 9 && text[start] <= 13) {
        start += 1
    }
    if start == text.count { return text.isEmpty ? 0 : nil }
    guard let value = text[start..<text.count].double else { return nil }
    let last = text[text.count - 1] | 0x20
    let isWord = last == UInt8(ascii: "f") || last == UInt8(ascii: "y")
    return value.isInfinite && !isWord ? nil : value
}

// MARK: The commands

private func sort(_ call: Call, isReadOnly: Bool) {
    guard var request = SortRequest(call, isReadOnly: isReadOnly) else { return }
    var vector = SortVector()
    if let entry = call.lookupRead(call.key(1)) {
        guard call.copyElements(entry, into: &vector) else {
            return call.reply.error(.wrongType)
        }
        // A set has no order that all replicas share.
        let mustBeStable = request.store != nil || call.executor.pointee.scripts.run != nil
        if request.keepsOrder, entry.type == .set, mustBeStable {
            request.keepsOrder = false
            request.isAlphabetic = true
            request.by = nil
        }
        if request.keepsOrder, request.isDescending, entry.type != .set {
            vector.items.reverse()
        }
    }
    if !request.keepsOrder {
        guard weigh(call, request, &vector) else {
            return call.reply.error(
                "ERR One or more scores can't be converted into double" as StaticString)
        }
        vector.order(
            isAlphabetic: request.isAlphabetic, isByPattern: request.by != nil,
            isDescending: request.isDescending)
    }
    let range = request.range(vector.items.count)
    if let store = request.store {
        storeSorted(call, request, vector, range, at: store)
    } else {
        replySorted(call, request, vector, range)
    }
}

/// Finds out what the elements are compared by; false when a number is missing.
private func weigh(_ call: Call, _ request: SortRequest, _ vector: inout SortVector) -> Bool {
    if request.isAlphabetic, request.by == nil { return true }
    var areNumbers = true
    for index in vector.items.indices {
        guard let by = request.by else {
            let found = score(vector.element(index))
            vector.items[index].score = found ?? 0
            areNumbers = areNumbers && found != nil
            continue
        }
        // The copy: what is found may be kept in the same buffer as the element.
        let element = vector.element(index).array
        var text: [UInt8]?
        element.withBytes { call.withValue(call[by], of: $0) { text = $0?.array } }
        guard let text else { continue }
        text.withBytes { bytes in
            if request.isAlphabetic {
                vector.items[index].text = vector.keep(bytes)
            } else {
                let found = score(bytes)
                vector.items[index].score = found ?? 0
                areNumbers = areNumbers && found != nil
            }
        }
    }
    return areNumbers
}

private func replySorted(
    _ call: Call, _ request: SortRequest, _ vector: borrowing SortVector, _ range: Range<Int>
) {
    call.reply.array(range.count * max(1, request.gets.count))
    for index in range {
        let element = vector.element(index)
        if request.gets.isEmpty { call.reply.bulk(element) }
        for get in request.gets {
            call.withValue(call[get], of: element) { value in
                if let value { call.reply.bulk(value) } else { call.reply.null() }
            }
        }
    }
}

private func storeSorted(
    _ call: Call, _ request: SortRequest, _ vector: borrowing SortVector, _ range: Range<Int>,
    at store: Int
) {
    let list = ListBuilder(call.heap, call.limits)
    for index in range {
        let element = vector.element(index)
        if request.gets.isEmpty { list.append(element) }
        for get in request.gets {
            call.withValue(call[get], of: element) { list.append($0 ?? .empty) }
        }
    }
    let key = call.key(store)
    let count = range.count * max(1, request.gets.count)
    if count > 0 {
        let (payload, encoding) = list.finish()
        call.willOverwrite(key)
        call.keyspace.replaceObject(key, .list, encoding, payload, expiry: .clear)
        call.executor.pointee.dirty &+= Int64(count)
        call.signal(.list, "sortstore", key)
    } else {
        list.discard()
        if call.keyspace.remove(key) { call.changed(.generic, "del", key) }
    }
    call.reply.integer(count)
}
