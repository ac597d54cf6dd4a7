// CLIENT ID, GETNAME, SETNAME, SETINFO, INFO, LIST: what a session is, and the line that says so.
import Base
import Engine
import RESP

/// The classes of clients that CLIENT LIST, CLIENT KILL and the output limits know.
enum ClientType {
    case normal, replica, pubsub, primary

    init(of session: UnsafeMutablePointer<Session>) {
        let flags = session.pointee.flags
        if flags.contains(.fromPrimary) {
            self = .primary
        } else if flags.contains(.replica), !flags.contains(.monitor) {
            self = .replica
        } else {
            self = flags.contains(.pubsub) ? .pubsub : .normal
        }
    }

    init?(named name: Bytes) {
        if name.matches("normal") {
            self = .normal
        } else if name.matches("replica") || name.matches("slave") {
            self = .replica
        } else if name.matches("pubsub") {
            self = .pubsub
        } else if name.matches("master") {
            self = .primary
        } else {
            return nil
        }
    }
}

func clientID(_ call: Call) { call.reply.integer(Int64(call.session.pointee.id)) }

// MARK: Names

func clientGetName(_ call: Call) {
    let name = call.session.pointee.name
    if name.isEmpty { call.reply.null() } else { call.reply.bulk(name) }
}

/// CLIENT LIST is split at spaces: names hold printable ASCII only.
private func isPrintable(_ text: Bytes) -> Bool {
    for index in 0..<text.count where text[index] < 33 || text[index] > 126 { return false }
    return true
}

/// Names the session, or answers with an error.
func setNameOrReply(_ call: Call, _ name: Bytes) -> Bool {
    guard isPrintable(name) else {
        call.reply.error(
            "ERR Client names cannot contain spaces, newlines or special characters."
                as StaticString)
        return false
    }
    call.session.pointee.name = name.string
    return true
}

func clientSetName(_ call: Call) {
    if setNameOrReply(call, call[2]) { call.reply.ok() }
}

func clientSetInfo(_ call: Call) {
    let isName = call[2].matches("lib-name")
    guard isName || call[2].matches("lib-ver") else {
        call.reply.error("ERR Unrecognized option '\(call[2].string)'")
        return
    }
    guard isPrintable(call[3]) else {
        call.reply.error(
            "ERR \(call[2].string) cannot contain spaces, newlines or special characters.")
        return
    }
    if isName {
        call.session.pointee.libraryName = call[3].string
    } else {
        call.session.pointee.libraryVersion = call[3].string
    }
    call.reply.ok()
}

// MARK: INFO and LIST

func clientInfo(_ call: Call) {
    call.reply.verbatim(clientLine(call.session, call) + "\n")
}

func clientList(_ call: Call) {
    let sessions = call.executor.pointee.sessions.count
    if call.count == 4, call[2].matches("type") {
        guard let type = ClientType(named: call[3]) else {
            call.reply.error("ERR Unknown client type '\(call[3].string)'")
            return
        }
        var text = ""
        for index in 0..<sessions {
            let session = call.executor.pointee.sessions[index]
            if ClientType(of: session) == type { text += clientLine(session, call) + "\n" }
        }
        call.reply.verbatim(text)
    } else if call.count > 3, call[2].matches("id") {
        var text = ""
        for index in 3..<call.count {
            let error = ErrorReply("ERR Invalid client ID")
            guard let id = call.integerOrReply(index, error) else { return }
            let found = call.executor.pointee.sessions.find(id: UInt64(bitPattern: id))
            if let found { text += clientLine(found, call) + "\n" }
        }
        call.reply.verbatim(text)
    } else if call.count == 2 {
        var text = ""
        for index in 0..<sessions {
            text += clientLine(call.executor.pointee.sessions[index], call) + "\n"
        }
        call.reply.verbatim(text)
    } else {
        call.reply.error(.syntax)
    }
}

/// One line of CLIENT LIST, without its end.
func clientLine(_ session: UnsafeMutablePointer<Session>, _ call: Call) -> String {
    let isCaller = session == call.session
    return call.executor.clientLine(session, running: isCaller ? call.command.pointee.id : nil)
}
