// CLIENT KILL, PAUSE, UNPAUSE, REPLY, NO-EVICT, NO-TOUCH and the help.
import Base
import Engine
import RESP

// MARK: Switches

/// ON or OFF at argument `index`, or nil after a syntax error.
private func switchOrReply(_ call: Call, _ index: Int) -> Bool? {
    if call[index].matches("on") { return true }
    if call[index].matches("off") { return false }
    call.reply.error(.syntax)
    return nil
}

private func set(_ call: Call, _ flag: SessionFlags) {
    guard let isOn = switchOrReply(call, 2) else { return }
    if isOn {
        call.session.pointee.flags.insert(flag)
    } else {
        call.session.pointee.flags.remove(flag)
    }
    call.reply.ok()
}

func clientNoEvict(_ call: Call) { set(call, .noEvict) }

func clientNoTouch(_ call: Call) { set(call, .noTouch) }

/// CLIENT MIN-REPLICAS-ACK [n | DEFAULT]: without a number it tells the one in force.
func clientMinReplicasAck(_ call: Call) {
    let session = call.session
    guard call.count > 2 else { return call.reply.integer(Int(session.pointee.requiredAcks)) }
    guard call.count == 3 else { return call.reply.error(.syntax) }
    if call[2].matches("default") {
        session.pointee.choseAcks = false
        session.pointee.requiredAcks = Int32(
            clamping: call.executor.pointee.settings.minReplicasAck)
        return call.reply.ok()
    }
    guard let count = call.integerOrReply(2) else { return }
    guard (0...Int64(Int32.max)).contains(count) else {
        return call.reply.error("ERR value is out of range, must be positive" as StaticString)
    }
    session.pointee.choseAcks = true
    session.pointee.requiredAcks = Int32(count)
    call.reply.ok()
}

/// CLIENT REPLY: OFF and SKIP are themselves not answered.
func clientReply(_ call: Call) {
    let session = call.session
    if call[2].matches("on") {
        session.pointee.flags.subtract([.replyOff, .replySkip])
        call.reply.ok()
    } else if call[2].matches("off") {
        session.pointee.flags.insert(.replyOff)
    } else if call[2].matches("skip") {
        if !session.pointee.flags.contains(.replyOff) { session.pointee.flags.insert(.replySkip) }
    } else {
        call.reply.error(.syntax)
    }
}

// MARK: KILL

private struct KillFilter {
    var address: Bytes?
    var localAddress: Bytes?
    var type: ClientType?
    var id: UInt64?
    var user: AccessUserPointer?
    var skipsCaller = true

    func matches(_ session: UnsafeMutablePointer<Session>, caller: Bool) -> Bool {
        if caller, skipsCaller { return false }
        if session.pointee.flags.contains(.closeNow) { return false }
        if let address, address.string != session.pointee.peerAddress { return false }
        if let localAddress, localAddress.string != session.pointee.localAddress { return false }
        if let type, ClientType(of: session) != type { return false }
        if let id, session.pointee.id != id { return false }
        if let user, user != session.pointee.user { return false }
        return true
    }
}

func clientKill(_ call: Call) {
    var filter = KillFilter()
    let isOldForm = call.count == 3
    if isOldForm {
        filter.address = call[2]
        filter.skipsCaller = false
    } else {
        guard let parsed = killFilterOrReply(call) else { return }
        filter = parsed
    }
    var victims: [UnsafeMutablePointer<Session>] = []
    for index in 0..<call.executor.pointee.sessions.count {
        let session = call.executor.pointee.sessions[index]
        if filter.matches(session, caller: session == call.session) { victims.append(session) }
    }
    for victim in victims where victim != call.session { call.executor.close(victim) }
    if !isOldForm {
        call.reply.integer(victims.count)
    } else if victims.isEmpty {
        call.reply.error("ERR No such client" as StaticString)
    } else {
        call.reply.ok()
    }
    if victims.contains(call.session) { call.session.pointee.flags.insert(.closeAfterReply) }
}

private func killFilterOrReply(_ call: Call) -> KillFilter? {
    var filter = KillFilter()
    for index in stride(from: 2, to: call.count, by: 2) {
        guard index + 1 < call.count else {
            call.reply.error(.syntax)
            return nil
        }
        let option = call[index]
        let value = call[index + 1]
        if option.matches("id") {
            guard let id = value.decimal, id > 0 else {
                call.reply.error("ERR client-id should be greater than 0" as StaticString)
                return nil
            }
            filter.id = UInt64(id)
        } else if option.matches("type") {
            guard let type = ClientType(named: value) else {
                call.reply.error("ERR Unknown client type '\(value.string)'")
                return nil
            }
            filter.type = type
        } else if option.matches("addr") {
            filter.address = value
        } else if option.matches("laddr") {
            filter.localAddress = value
        } else if option.matches("user") {
            guard let user = call.executor.pointee.access.pointee.find(value.array) else {
                call.reply.error("ERR No such user '\(value.string)'")
                return nil
            }
            filter.user = user
        } else if option.matches("skipme"), value.matches("yes") || value.matches("no") {
            filter.skipsCaller = value.matches("yes")
        } else {
            call.reply.error(.syntax)
            return nil
        }
    }
    return filter
}

// MARK: Pausing

func clientPause(_ call: Call) {
    var mode = PauseMode.all
    if call.count == 4 {
        if call[3].matches("write") {
            mode = .writes
        } else if !call[3].matches("all") {
            call.reply.error("ERR CLIENT PAUSE mode must be WRITE or ALL" as StaticString)
            return
        }
    } else if call.count > 4 {
        call.reply.error(.syntax)
        return
    }
    let error = ErrorReply("ERR timeout is not an integer or out of range")
    guard let timeout = call.integerOrReply(2, error) else { return }
    guard timeout >= 0 else {
        call.reply.error("ERR timeout is negative" as StaticString)
        return
    }
    let bounded = Milliseconds(min(timeout, Int64.max / 4000))
    call.executor.pauseClients(mode, until: call.executor.pointee.now.instant + bounded)
    call.reply.ok()
}

func clientUnpause(_ call: Call) {
    call.executor.unpauseClients()
    call.reply.ok()
}

// MARK: Help

func clientHelp(_ call: Call) {
    call.replyHelp([
        "CACHING (YES|NO)",
        "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
        "GETREDIR",
        "    Return the client ID we are redirecting to when tracking is enabled.",
        "GETNAME",
        "    Return the name of the current connection.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "KILL <ip:port>",
        "    Kill connection made from <ip:port>.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Kill connections. Options are:",
        "    * ADDR (<ip:port>|<unixsocket>:0)",
        "      Kill connections made from the specified address",
        "    * LADDR (<ip:port>|<unixsocket>:0)",
        "      Kill connections made to specified local address",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Kill connections by type.",
        "    * USER <username>",
        "      Kill connections authenticated by <username>.",
        "    * SKIPME (YES|NO)",
        "      Skip killing current connection (default: yes).",
        "MIN-REPLICAS-ACK [<n>|DEFAULT]",
        "    How many replicas must acknowledge a write of this connection before its reply.",
        "LIST [options ...]",
        "    Return information about client connections. Options:",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Return clients of specified type.",
        "UNPAUSE",
        "    Stop the current client pause, resuming traffic.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Suspend all, or just write, clients for <timeout> milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Control the replies sent to the current connection.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Tell the name and version of the client library.",
        "SETNAME <name>",
        "    Assign the name <name> to the current connection.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    Unblock the specified blocked client.",
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
        "         [OPTIN] [OPTOUT] [NOLOOP]",
        "    Control server assisted client side caching.",
        "TRACKINGINFO",
        "    Report tracking status for the current connection.",
        "NO-EVICT (ON|OFF)",
        "    Protect current client connection from eviction.",
        "NO-TOUCH (ON|OFF)",
        "    Leave the access time of the keys that this connection reads as it is.",
    ])
}
