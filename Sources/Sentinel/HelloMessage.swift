// Hello messages: how sentinels of the same primary find each other and pass on a new
// configuration. They travel through the monitored instances, where anybody may publish, so this
// sentinel believes less of them than the reference does:
//
// * A hello introduces a sentinel, but moves nothing until that sentinel, reached at the address
//   that it gives, says that its ID is the one in the message (SENTINEL MYID).
// * A sentinel that is connected and has said who it is keeps its address and its ID, whatever a
//   message says; one that really moved loses its connection first.
// * A newer configuration with another address is confirmed by the sentinel that is named as its
//   source, over the connection to it, before it takes effect. That costs one round trip.
import Base

struct HelloMessage: Sendable, Equatable {
    var ip: String
    var port: Int
    var runID: String
    var currentEpoch: UInt64
    var primaryName: String
    var primaryHost: String
    var primaryPort: Int
    var configEpoch: UInt64

    /// nil for what no sentinel would send.
    init?(_ bytes: [UInt8]) {
        guard bytes.count <= 2048 else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        let parts = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 8, let port = Int(parts[1]), (1...65535).contains(port),
            let primaryPort = Int(parts[6]), (1...65535).contains(primaryPort),
            let currentEpoch = UInt64(parts[3]), let configEpoch = UInt64(parts[7]),
            Self.isID(parts[2]), Self.isHost(parts[0]), Self.isHost(parts[5]),
            configEpoch <= currentEpoch
        else { return nil }
        ip = parts[0]
        self.port = port
        runID = parts[2]
        self.currentEpoch = currentEpoch
        primaryName = parts[4]
        primaryHost = parts[5]
        self.primaryPort = primaryPort
        self.configEpoch = configEpoch
    }

    static func isID(_ text: String) -> Bool {
        text.utf8.count == 40
            && text.utf8.allSatisfy { ($0 >= 48 && $0 <= 57) || ($0 >= 97 && $0 <= 102) }
    }

    /// Nothing that could not be a host: it ends up in the configuration file.
    static func isHost(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 255
            && text.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != 34 && $0 != 39 && $0 != 92 }
    }
}

/// A newer configuration that a sentinel is said to have.
struct Claim: Sendable, Equatable {
    var hello: HelloMessage
    /// It gave the address itself; its epoch is still to come.
    var addressIsConfirmed = false
    var askedAt: Instant?
}

extension SentinelState {
    /// How far ahead of ours an epoch may be. Each attempt of a failover takes one, so nothing
    /// honest comes near; what lies beyond would use up the numbers.
    static var epochReach: UInt64 { 1 << 32 }

    func isPlausible(_ epoch: UInt64) -> Bool {
        epoch <= currentEpoch || epoch - currentEpoch <= Self.epochReach
    }

    // MARK: Sending

    mutating func sendHello(_ id: InstanceID) {
        let record = self[id]
        let link = self[link: record.link]
        guard let connection = link.command, let open = connections[connection] else { return }
        let ip = settings.announceIP.isEmpty ? open.localAddress : settings.announceIP
        guard !ip.isEmpty else { return }
        let primary = self[primary: record.owner]
        let address = currentAddress(record.owner)
        let port = settings.announcePort == 0 ? settings.port : settings.announcePort
        let message =
            "\(ip),\(port),\(myID),\(currentEpoch),\(primary.name),\(announced(address)),"
            + "\(address.port),\(primary.configEpoch)"
        if open.awaited.contains(where: { $0.instance == id && $0.purpose == .publish }) { return }
        askDurably(
            id, .publish, [[name(of: "PUBLISH", for: id), Self.helloChannel, message]])
    }

    /// Tells everybody at once, not when the period says so.
    mutating func forceHello(_ primary: InstanceID) {
        let members = self[primary: primary].replicas + self[primary: primary].sentinels
        let past = Instant(
            microseconds: instant.microseconds - (times.publishPeriod.count + 1) * 1000)
        for id in [primary] + members {
            self[id].lastPublished = min(self[id].lastPublished, past)
            if !self[link: self[id].link].isDisconnected { sendHello(id) }
        }
    }

    // MARK: Receiving

    mutating func takeHello(_ bytes: [UInt8]) {
        guard let hello = HelloMessage(bytes), hello.runID != myID,
            let primary = byName[hello.primaryName]
        else { return }
        guard isPlausible(hello.currentEpoch) else {
            return note(
                .warning,
                "Ignoring a hello of \(hello.runID) for \(hello.primaryName) with the epoch "
                    + "\(hello.currentEpoch), ours is \(currentEpoch)")
        }
        guard let sentinel = find(hello, primary) ?? meet(hello, primary) else { return }
        self[sentinel].lastHello = instant
        consider(hello, from: sentinel)
    }

    private func find(_ hello: HelloMessage, _ primary: InstanceID) -> InstanceID? {
        self[primary: primary].sentinels.first { id in
            self[id].runID == hello.runID && self[id].address.port == hello.port
                && isHost(hello.ip, of: self[id].address)
        }
    }

    /// A sentinel that is new, or new at this address.
    private mutating func meet(_ hello: HelloMessage, _ primary: InstanceID) -> InstanceID? {
        let known = self[primary: primary].sentinels
        let same = known.first { self[$0].runID == hello.runID }
        let neighbour = known.first { id in
            self[id].runID != hello.runID && self[id].address.port == hello.port
                && isHost(hello.ip, of: self[id].address)
        }
        for id in [same, neighbour].compactMap({ $0 }) where isProven(id) {
            note(
                .verbose,
                "Ignoring a hello of \(hello.runID) at \(hello.ip):\(hello.port): sentinel "
                    + "\(self[id].name) is connected and says otherwise")
            return nil
        }
        if let same {
            event(
                .notice, "+sentinel-address-switch", primary,
                " ip \(hello.ip) port \(hello.port) for \(hello.runID)")
            removeMember(same)
        } else if let neighbour {
            event(.notice, "+sentinel-invalid-addr", neighbour)
            let old = self[neighbour].runID
            for id in records.keys
            where exists(id) && self[id].kind == .sentinel && self[id].runID == old {
                removeMember(id)
            }
        }
        guard let new = try? createSentinel(of: primary, hello.runID, hello.ip, hello.port) else {
            return nil
        }
        if same == nil { event(.notice, "+sentinel", new) } else { moveTwins(of: new) }
        save()
        return new
    }

    /// The process at the address of `id` has said that it is `id`, and still answers.
    private func isProven(_ id: InstanceID) -> Bool {
        let link = self[link: self[id].link]
        return link.isVerified && !link.isDisconnected && !self[id].isDown
    }

    /// The same sentinel under other primaries moves along.
    private mutating func moveTwins(of id: InstanceID) {
        let record = self[id]
        closeConnections(record.link)
        var moved = 0
        for twin in records.keys
        where twin != id && self[twin].kind == .sentinel && self[twin].runID == record.runID {
            closeConnections(self[twin].link)
            self[twin].address = record.address
            moved += 1
        }
        if moved > 0 {
            event(
                .notice, "+sentinel-address-update", id,
                " \(moved) additional matching instances")
        }
    }

    /// What a hello of a known sentinel says about epochs and the primary.
    private mutating func consider(_ hello: HelloMessage, from id: InstanceID) {
        guard self[link: self[id].link].isVerified else {
            // Looked at again when it has said who it is.
            self[id].claim = Claim(hello: hello)
            return
        }
        let primary = self[id].owner
        adopt(epoch: hello.currentEpoch, about: primary)
        // Where a shard's primary is, the cluster knows.
        if cluster(of: primary) != nil { return }
        let monitored = self[primary: primary]
        let address = self[primary].address
        let isSameAddress =
            hello.primaryPort == address.port && isHost(hello.primaryHost, of: address)
        if hello.configEpoch == monitored.configEpoch, monitored.step == .none, !isSameAddress {
            return reportMismatch(hello, id)
        }
        self[id].mismatchReported = false
        guard hello.configEpoch > monitored.configEpoch else { return }
        if isSameAddress {
            self[primary: primary].configEpoch = hello.configEpoch
            return save()
        }
        confirm(hello, with: id)
    }

    /// A later epoch is adopted, whoever it came from.
    mutating func adopt(epoch: UInt64, about primary: InstanceID) {
        guard epoch > currentEpoch, isPlausible(epoch) else { return }
        currentEpoch = epoch
        save()
        plainEvent(.warning, "+new-epoch", about: primary, "\(currentEpoch)")
    }

    /// Two sentinels that were told to monitor different primaries under one name.
    private mutating func reportMismatch(_ hello: HelloMessage, _ id: InstanceID) {
        guard !self[id].mismatchReported else { return }
        self[id].mismatchReported = true
        let mine = self[self[id].owner].address
        note(
            .warning,
            "Sentinel \(hello.runID) at \(hello.ip):\(hello.port) monitors "
                + "\(hello.primaryName) at \(hello.primaryHost):\(hello.primaryPort), this one at "
                + "\(announced(mine)):\(mine.port), and neither is newer (config epoch "
                + "\(hello.configEpoch)): check their 'sentinel monitor' lines")
    }

    // MARK: Confirming

    private mutating func confirm(_ hello: HelloMessage, with id: InstanceID) {
        if let claim = self[id].claim, let asked = claim.askedAt, claim.hello == hello,
            instant - asked < Milliseconds(1000)
        {
            return
        }
        self[id].claim = Claim(hello: hello, askedAt: instant)
        let command = name(of: "SENTINEL", for: id)
        ask(id, .claimedAddress, [command, "GET-MASTER-ADDR-BY-NAME", hello.primaryName])
        ask(id, .claimedState, [command, "MASTER", hello.primaryName])
    }

    mutating func takeIdentity(_ reply: Reply, _ id: InstanceID) {
        let number = self[id].link
        guard let text = reply.text, text == self[id].runID else {
            if let text = reply.text {
                note(
                    .warning,
                    "The sentinel at \(announced(self[id].address)):\(self[id].address.port) is "
                        + "\(text), not \(self[id].name)")
            }
            return
        }
        self[link: number].isVerified = true
        for user in self[link: number].users {
            guard let claim = self[user].claim, claim.askedAt == nil else { continue }
            self[user].claim = nil
            consider(claim.hello, from: user)
        }
    }

    mutating func takeClaimedAddress(_ reply: Reply, _ id: InstanceID) {
        guard let claim = self[id].claim, case .array(let parts) = reply, parts.count == 2,
            let host = parts[0].text, let port = parts[1].text.flatMap({ Int($0) })
        else { return }
        let isSame = host.lowercased() == claim.hello.primaryHost.lowercased()
        if isSame, port == claim.hello.primaryPort { self[id].claim?.addressIsConfirmed = true }
    }

    mutating func takeClaimedState(_ reply: Reply, _ id: InstanceID) {
        guard let claim = self[id].claim, claim.askedAt != nil else { return }
        self[id].claim = nil
        guard claim.addressIsConfirmed, case .array(let parts) = reply else { return }
        var epoch: UInt64 = 0
        for index in stride(from: 0, to: parts.count - 1, by: 2)
        where parts[index].text == "config-epoch" {
            epoch = parts[index + 1].text.flatMap { UInt64($0) } ?? 0
        }
        guard epoch >= claim.hello.configEpoch else { return }
        adopt(claim.hello, from: id)
    }

    /// The primary is another one, by the word of the sentinel that made it so.
    private mutating func adopt(_ hello: HelloMessage, from id: InstanceID) {
        let primary = self[id].owner
        guard hello.configEpoch > self[primary: primary].configEpoch,
            let new = try? address(hello.primaryHost, hello.primaryPort)
        else { return }
        self[primary: primary].configEpoch = hello.configEpoch
        save()
        let old = self[primary].address
        event(.warning, "+config-update-from", id)
        plainEvent(
            .warning, "+switch-master", about: primary,
            "\(hello.primaryName) \(announced(old)) \(old.port) "
                + "\(hello.primaryHost) \(hello.primaryPort)")
        reset(primary, movingTo: new)
        reconfigureClients(primary, role: "observer", from: old, to: self[primary].address)
    }
}
