// The line that CLIENT LIST, INFO and ACL LOG have for a session.
import Base
import RESP

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

extension ExecutorPointer {
    /// What CLIENT LIST says of a session; `running` is the command that it runs just now.
    public func clientLine(
        _ session: UnsafeMutablePointer<Session>, running: UInt16? = nil
    ) -> String {
        let now = pointee.now.instant
        let state = ClientNumbers(session)
        let tracked = session.pointee.tracking
        let redirection = tracked.map { Int64(bitPattern: $0.pointee.redirect) } ?? -1
        let last = Int(running ?? session.pointee.lastCommand)
        let isKnown = last < pointee.commands.pointee.count
        let command = isKnown ? pointee.commands.pointee.declarations[last].fullName : "NULL"
        let idle =
            running != nil ? 0 : (now - session.pointee.lastInteraction).count / 1000
        let user = session.pointee.user?.pointee.nameText ?? "(superuser)"
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
        out += " redir=\(redirection)"
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
