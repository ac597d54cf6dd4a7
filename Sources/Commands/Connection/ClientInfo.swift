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

/// The letters of `flags=`, in the reference's order.
private func flagLetters(_ session: UnsafeMutablePointer<Session>) -> String {
    let flags = session.pointee.flags
    let tracking = session.pointee.tracking?.pointee.options ?? []
    var out = ""
    if flags.contains(.replica) { out += flags.contains(.monitor) ? "O" : "S" }
    if flags.contains(.monitor), !flags.contains(.replica) { out += "O" }
    for (flag, letter) in [
        (.fromPrimary, "M"), (.pubsub, "P"), (.multi, "x"), (.blocked, "b"), (.tracking, "t"),
    ] as [(SessionFlags, String)] where flags.contains(flag) {
        out += letter
    }
    if tracking.contains(.brokenRedirect) { out += "R" }
    if tracking.contains(.broadcast) { out += "B" }
    let letters: [(SessionFlags, String)] = [
        (.dirtyWatch, "d"), (.closeAfterReply, "c"), (.closeNow, "A"), (.unixSocket, "U"),
        (.readOnly, "r"), (.noEvict, "e"), (.noTouch, "T"),
    ]
    for (flag, letter) in letters where flags.contains(flag) { out += letter }
    return out.isEmpty ? "N" : out
}

/// One line of CLIENT LIST, without its end.
func clientLine(_ session: UnsafeMutablePointer<Session>, _ call: Call) -> String {
    let isCaller = session == call.session
    return call.executor.clientLine(session, running: isCaller ? call.command.pointee.id : nil)
}

extension ExecutorPointer {
    /// What CLIENT LIST says of a session; `running` is the command that it runs just now.
    public func clientLine(
        _ session: UnsafeMutablePointer<Session>, running: UInt16? = nil
    ) -> String {
        let now = pointee.now.instant
        let state = ClientNumbers(session)
        let last = Int(running ?? session.pointee.lastCommand)
        let isKnown = last < pointee.commands.pointee.count
        let command = isKnown ? pointee.commands.pointee.declarations[last].fullName : "NULL"
        let idle =
            running != nil ? 0 : (now - session.pointee.lastInteraction).count / 1000
        let user =
            session.pointee.flags.contains(.fromPrimary) ? "(superuser)" : session.pointee.user
        var out = "id=\(session.pointee.id) addr=\(session.pointee.peerAddress)"
        out += " laddr=\(session.pointee.localAddress) fd=\(session.pointee.shownDescriptor)"
        out += " name=\(session.pointee.name)"
        out += " age=\((now - session.pointee.createdAt).count / 1000) idle=\(max(0, idle))"
        out += " flags=\(flagLetters(session)) db=\(session.pointee.database)"
        out += " sub=\(session.subscriptions(.channel)) psub=\(session.subscriptions(.pattern))"
        out += " ssub=\(session.subscriptions(.shardChannel)) multi=\(state.queued)"
        out += " qbuf=\(state.input) qbuf-free=\(state.inputFree) argv-mem=\(state.arguments)"
        out += " multi-mem=\(state.transaction) rbs=\(state.replyBuffer) rbp=\(state.replyBuffer)"
        out += " obl=\(state.replyInline) oll=\(state.replyBlocks) omem=\(state.replyMemory)"
        out += " tot-mem=\(state.total) events=r cmd=\(command) user=\(user)"
        out += " redir=\(redirection(of: session))"
        out += " resp=\(session.pointee.protocolVersion)"
        out += " lib-name=\(session.pointee.libraryName) lib-ver=\(session.pointee.libraryVersion)"
        return out
    }
}

/// The sizes in a line of CLIENT LIST. A reply buffer counts as the client's static one up to
/// 16 KB, and above as a list of such blocks, which is what readers of these fields expect.
struct ClientNumbers {
    static let block = 16 * 1024
    let queued: Int
    let input: Int
    let inputFree: Int
    let arguments: Int
    let transaction: Int
    let replyBuffer: Int
    let replyInline: Int
    let replyBlocks: Int
    let replyMemory: Int
    let total: Int

    init(_ session: UnsafeMutablePointer<Session>) {
        let input = session.pointee.input
        let output = session.pointee.output
        let isQueueing = session.pointee.flags.contains(.multi)
        queued = isQueueing ? (session.pointee.transaction?.pointee.commands.count ?? 0) : -1
        transaction = session.pointee.transaction?.pointee.memory ?? 0
        // While its commands run the arguments are views into the input, which may be lent to it.
        let isRunning = session.pointee.flags.contains(.running)
        let request = isRunning ? (0, input.pointee.count) : input.pointee.bytes.unfinishedRequest
        arguments = request.0
        self.input = request.1
        inputFree = isRunning ? 0 : max(0, input.pointee.capacity - input.pointee.count)
        let reply = output.pointee.count
        replyBuffer = min(output.pointee.capacity, Self.block)
        replyInline = min(reply, Self.block)
        replyBlocks = (max(0, reply - Self.block) + Self.block - 1) / Self.block
        replyMemory = max(0, output.pointee.capacity - Self.block)
        total = session.memory
    }
}
