// Reading nodes.conf. Anything that no redis-server and no node of ours writes is an error with a
// line number.
import Base
import HashSlots

extension NodesConf {
    private typealias Words = [String]

    /// The parsed file; nil for an empty one, which a server creates only to lock it.
    public static func parse(_ bytes: [UInt8]) throws(NodesConfError) -> NodesConf? {
        if bytes.isEmpty { return nil }
        guard bytes.last == UInt8(ascii: "\n") else {
            throw NodesConfError(line: 0, reason: "the last line has no end")
        }
        var conf = NodesConf()
        var hasVars = false
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() where !line.isEmpty {
            let number = index + 1
            if hasVars {
                throw NodesConfError(line: number, reason: "text after the line of variables")
            }
            let words = line.split(separator: UInt8(ascii: " "))
                .map { String(decoding: $0, as: UTF8.self) }
            if words.first?.lowercased() == "vars" {
                try conf.parseVars(words, number)
                hasVars = true
            } else {
                try conf.parseNode(words, number)
            }
        }
        guard hasVars else {
            throw NodesConfError(line: 0, reason: "the line of variables is missing")
        }
        try conf.checkReferences()
        return conf
    }

    private mutating func parseVars(_ words: Words, _ line: Int) throws(NodesConfError) {
        guard words.count % 2 == 1 else {
            throw NodesConfError(line: line, reason: "a variable has no value")
        }
        var found: [String: String] = [:]
        for index in stride(from: 1, to: words.count, by: 2) {
            found[words[index].lowercased()] = words[index + 1]
        }
        func epoch(_ name: String) throws(NodesConfError) -> UInt64? {
            guard let text = found[name.lowercased()] else { return nil }
            guard let value = UInt64(text), value <= BusLayout.largestEpoch else {
                throw NodesConfError(line: line, reason: "\(name) is no epoch")
            }
            return value
        }
        guard let current = try epoch("currentEpoch"), let vote = try epoch("lastVoteEpoch") else {
            throw NodesConfError(line: line, reason: "the variables are not complete")
        }
        currentEpoch = current
        lastVoteEpoch = vote
        voterPromise = try epoch("voterPromise") ?? 0
        guard let text = found["voterversion"] else { return }
        guard let version = UInt64(text), let members = found["voters"],
            let set = VoterSet(version: version, text: members)
        else { throw NodesConfError(line: line, reason: "the voters are not complete") }
        voters = set
    }

    private mutating func parseNode(_ words: Words, _ line: Int) throws(NodesConfError) {
        func fail(_ reason: String) -> NodesConfError { NodesConfError(line: line, reason: reason) }
        guard words.count >= 8 else { throw fail("a node needs at least eight fields") }
        guard let id = NodeID(words[0]) else { throw fail("\(words[0]) is no node ID") }
        if entries.contains(where: { $0.id == id }) { throw fail("node \(id) is listed twice") }
        var entry = Entry(id: id)
        try entry.parseAddress(words[1], line)
        for word in words[2].split(separator: ",") where word != "noflags" {
            guard let flag = NodeFlags.words.first(where: { $0.1 == word.lowercased() }) else {
                throw fail("unknown flag \(word)")
            }
            entry.flags.insert(flag.0)
        }
        if words[3] != "-" {
            guard let primary = NodeID(words[3]) else { throw fail("\(words[3]) is no node ID") }
            entry.primary = primary
        }
        guard let ping = Int64(words[4]), let pong = Int64(words[5]) else {
            throw fail("ping and pong must be times")
        }
        guard let epoch = UInt64(words[6]), epoch <= BusLayout.largestEpoch else {
            throw fail("\(words[6]) is no epoch")
        }
        guard words[7] == "connected" || words[7] == "disconnected" else {
            throw fail("\(words[7]) is no link state")
        }
        entry.pingSent = ping
        entry.pongReceived = pong
        entry.configEpoch = epoch
        entry.isConnected = words[7] == "connected"
        for word in words[8...] { try entry.parseSlots(word, line) }
        entries.append(entry)
    }

    private func checkReferences() throws(NodesConfError) {
        func fail(_ reason: String) -> NodesConfError { NodesConfError(line: 0, reason: reason) }
        let mine = entries.filter { $0.flags.contains(.myself) }
        guard mine.count == 1 else { throw fail("exactly one node must be \"myself\"") }
        var ids = SortedTable<NodeID, Bool>()
        for entry in entries { ids[entry.id] = true }
        var owned = SlotSet()
        for entry in entries {
            let mentioned = entry.migrating.values + entry.importing.values
            for id in mentioned + (entry.primary.map { [$0] } ?? []) where !ids.contains(id) {
                throw fail("node \(id) is mentioned but not listed")
            }
            if entry.primary == entry.id { throw fail("node \(entry.id) replicates itself") }
            if entry.flags.isSuperset(of: [.primary, .replica]) {
                throw fail("node \(entry.id) is both primary and replica")
            }
            let isOpen = !entry.migrating.isEmpty || !entry.importing.isEmpty
            if isOpen, !entry.flags.contains(.myself) { throw fail("only myself has open slots") }
            for slot in entry.slots.slots where !owned.insert(slot) {
                throw fail("slot \(slot) has two owners")
            }
        }
    }
}

extension NodesConf.Entry {
    /// `ip:port[@busport][,hostname[,name=value]*]`
    fileprivate mutating func parseAddress(_ text: String, _ line: Int) throws(NodesConfError) {
        func fail(_ reason: String) -> NodesConfError { NodesConfError(line: line, reason: reason) }
        let fields = text.split(separator: ",", omittingEmptySubsequences: false)
        let address = fields.first ?? ""
        guard let colon = address.lastIndex(of: ":") else { throw fail("the address has no port") }
        ip = String(address[..<colon])
        guard ip.utf8.count < BusLayout.ipSize else { throw fail("the address is too long") }
        let ports = address[address.index(after: colon)...].split(
            separator: "@", omittingEmptySubsequences: false)
        guard let first = ports.first, let number = Self.port(first) else {
            throw fail("the port is no port")
        }
        port = number
        busPort = number + 10000
        if ports.count > 1 {
            guard ports.count == 2, let bus = Self.port(ports[1]) else {
                throw fail("the bus port is no port")
            }
            busPort = bus
        }
        if fields.count > 1 { hostname = String(fields[1]) }
        for field in fields.dropFirst(2) { try parseAuxiliary(field, line) }
    }

    private mutating func parseAuxiliary(
        _ field: Substring, _ line: Int
    ) throws(NodesConfError) {
        func fail(_ reason: String) -> NodesConfError { NodesConfError(line: line, reason: reason) }
        let parts = field.split(separator: "=", omittingEmptySubsequences: false)
        guard parts.count == 2 else { throw fail("field \(field) is no name=value") }
        guard parts[1].utf8.allSatisfy({ isAuxiliaryByte($0) }) else {
            throw fail("field \(parts[0]) holds an illegal character")
        }
        switch parts[0] {
        case "shard-id":
            guard let id = NodeID(String(parts[1])) else { throw fail("shard-id is no ID") }
            shard = id
        case "nodename": humanName = String(parts[1])
        case "tcp-port":
            guard let number = Self.port(parts[1]) else { throw fail("tcp-port is no port") }
            tcpPort = number
        case "tls-port":
            guard let number = Self.port(parts[1]) else { throw fail("tls-port is no port") }
            tlsPort = number
        default: throw fail("unknown field \(parts[0])")
        }
    }

    private static func port(_ text: Substring) -> Int? {
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }),
            let value = Int(text), value <= 65535
        else { return nil }
        return value
    }

    /// `5`, `0-99`, `[5->-target]` or `[5-<-source]`.
    fileprivate mutating func parseSlots(_ word: String, _ line: Int) throws(NodesConfError) {
        func fail(_ reason: String) -> NodesConfError { NodesConfError(line: line, reason: reason) }
        if word.hasPrefix("[") {
            let parts = word.dropFirst().dropLast().split(
                separator: "-", omittingEmptySubsequences: false)
            guard word.hasSuffix("]"), parts.count == 3, let number = Int(parts[0]),
                let slot = Slot(number), let node = NodeID(String(parts[2]))
            else { throw fail("\(word) is no open slot") }
            switch parts[1] {
            case ">": migrating[slot] = node
            case "<": importing[slot] = node
            default: throw fail("\(word) is no open slot")
            }
            return
        }
        let bounds = word.split(separator: "-", omittingEmptySubsequences: false)
        guard let first = bounds.first.flatMap({ Int($0) }), bounds.count <= 2,
            let last = bounds.count == 2 ? Int(bounds[1]) : first,
            first >= 0, first <= last, last < Slot.count
        else { throw fail("\(word) is no slot or range of slots") }
        slots.insert(first...last)
    }
}
